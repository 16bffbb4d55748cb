"""The answers as OpenAPI describes them; with examples. They document, and check nothing."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from integration.service.examples import AT, DELIVERY, DELIVERY_COUNTS, INGEST, example_of


class Envelope(BaseModel):
    """What every JSON answer has."""

    request_id: Annotated[str, Field(description="also in the header X-Request-ID")]
    api_latency_ms: Annotated[float, Field(ge=0)]


class WrongParameter(BaseModel):
    """A parameter, and what is wrong with it."""

    parameter: str
    detail: str


class ProblemDocument(Envelope):
    """An error (RFC 9457)."""

    model_config = example_of(
        type="about:blank",
        title="Unprocessable Content",
        status=422,
        detail="pages: is not a parameter of this path",
        errors=[{"parameter": "pages", "detail": "is not a parameter of this path"}],
    )
    type: str
    title: str
    status: int
    detail: str
    errors: list[WrongParameter] = []


class Live(Envelope):
    """The process answers."""

    model_config = example_of(status="live")
    status: Literal["live"]


class RunDocument(BaseModel):
    """A run of a source, or a delivery; the counts are those of its type."""

    id: str
    type: Literal["ingest", "delivery"]
    name: Annotated[str, Field(description="the source, or the run_id of the results file")]
    kind: str
    status: Annotated[str, Field(description="`crashed` for a run that was killed")]
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float
    rate: Annotated[float | None, Field(description="records read, or users sent, per second")]
    counts: dict[str, int]
    retries: int
    error: str | None


class EtlHealth(BaseModel):
    """The sources."""

    last_run: RunDocument | None
    last_success: datetime | None
    stale_sources: list[str]


class DeliveryHealth(BaseModel):
    """The deliveries."""

    last_run: RunDocument | None
    pending_users: int


class HealthDocument(Envelope):
    """The verdict, as on the page."""

    model_config = example_of(
        status="healthy",
        sentence="All is well; no users of the last delivery are pending.",
        db_connected=True,
        etl={"last_run": INGEST, "last_success": AT, "stale_sources": []},
        delivery={"last_run": DELIVERY, "pending_users": 0},
        advice=None,
        problems=[],
        unavailable=[],
    )
    status: Literal["healthy", "degraded", "unhealthy"]
    sentence: str
    db_connected: bool
    etl: EtlHealth
    delivery: DeliveryHealth
    advice: Annotated[str | None, Field(description="the one thing to do")]
    problems: list[dict[str, Any]]
    unavailable: list[dict[str, str]]


class DataPage(Envelope):
    """Rows."""

    model_config = example_of(
        items=[
            {
                "id": 1,
                "email": "ada@example.com",
                "first_name": "Ada",
                "last_name": "Lovelace",
                "plan_type": "pro",
                "candidate": None,
                "sources": ["crm"],
            }
        ],
        page=1,
        page_size=50,
        total=1,
        total_is_exact=True,
        next_cursor=None,
    )
    items: list[dict[str, Any]]
    page: int
    page_size: int
    total: Annotated[int | None, Field(description="up to 10,001; null if counting took too long")]
    total_is_exact: bool
    next_cursor: str | None


class SourceDocument(BaseModel):
    """A source."""

    source: str
    kind: str
    entity: str
    records: int
    runs: dict[str, int]
    rejected_open: int
    stale: str | None
    lag_seconds: float | None
    checkpoint: str | None
    last_success: RunDocument | None
    last_failure: RunDocument | None
    durations: Annotated[list[float], Field(description="of the last runs, newest first")]


class StatsDocument(Envelope):
    """All runs together."""

    model_config = example_of(
        total_records_processed=180,
        run_count=2,
        sources=[
            {
                "source": "crm",
                "kind": "http",
                "entity": "customers",
                "records": 120,
                "runs": {"completed": 1},
                "rejected_open": 6,
                "stale": None,
                "lag_seconds": 64.2,
                "checkpoint": "2026-11-20T14:00:00Z",
                "last_success": INGEST,
                "last_failure": None,
                "durations": [3.104],
            }
        ],
        deliveries={"runs": 1, "users": 41, "outcomes": DELIVERY_COUNTS, "retries": 0},
        unavailable=[],
    )
    total_records_processed: int | None
    run_count: int | None
    sources: list[SourceDocument]
    deliveries: dict[str, Any]
    unavailable: list[dict[str, str]]


class RunsPage(Envelope):
    """Runs, newest first."""

    model_config = example_of(
        items=[DELIVERY, INGEST], page_size=50, next_cursor=None, unavailable=[]
    )
    items: list[RunDocument]
    page_size: int
    next_cursor: str | None
    unavailable: Annotated[
        list[dict[str, str]], Field(description="what could not be read, and why")
    ]


class RunDetails(Envelope, RunDocument):
    """A run; what else there is depends on its type."""

    model_config = example_of(**DELIVERY, mode="single", reasons=[])
    reasons: Annotated[list[dict[str, Any]], Field(description="failures by reason")]


class ItemsPage(Envelope):
    """Users of a delivery, or rejected records."""

    model_config = example_of(
        items=[
            {
                "position": 1,
                "customer_id": 1,
                "email": "ada@example.com",
                "first_name": "Ada",
                "last_name": "Lovelace",
                "outcome": "successful",
                "at": AT,
                "calls": {
                    "users_update": {
                        "success": True,
                        "response": {"code": "Success"},
                        "status_code": 200,
                        "attempts": 1,
                        "error": None,
                    }
                },
            }
        ],
        page_size=50,
        next_cursor=None,
    )
    items: list[dict[str, Any]]
    page_size: int
    next_cursor: str | None


class PersonDocument(Envelope):
    """A person's story."""

    model_config = example_of(
        email="ada@example.com",
        sources=[],
        customer=DataPage.model_config["json_schema_extra"]["examples"][0]["items"][0],  # type: ignore[call-overload,index]
        views={"count": 0, "last": None, "last_qualifying": None},
        in_list={"is_listed": False, "reason": "no view of pricing or settings"},
        deliveries=[],
        story=[{"title": "Views", "lines": ["none"]}],
        unavailable=[],
    )
    email: str
    sources: list[dict[str, Any]]
    customer: dict[str, Any] | None
    views: dict[str, Any]
    in_list: dict[str, Any] | None
    deliveries: list[dict[str, Any]]
    story: Annotated[list[dict[str, Any]], Field(description="the same in words")]
    unavailable: list[dict[str, str]]


class ComparisonDocument(Envelope):
    """Two runs beside each other."""

    model_config = example_of(
        run1={**DELIVERY, "id": "delivery-6"},
        run2=DELIVERY,
        changes={"users": 0, "successful": 1, "failed": -1},
        compared="users",
        only_in_run1={"total": 0, "items": []},
        only_in_run2={"total": 0, "items": []},
    )
    run1: RunDocument
    run2: RunDocument
    changes: Annotated[dict[str, float], Field(description="run2 minus run1")]
    compared: Literal["users", "rejected records"]
    only_in_run1: dict[str, Any]
    only_in_run2: dict[str, Any]
