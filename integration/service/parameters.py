"""The query parameters of the paths; an unknown one is an error that names it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_PAGE_SIZE = 500
# Beyond so many rows a list is read by cursor.
MAX_ROWS_BY_PAGE = 10_000

PlanType = Literal["free", "basic", "pro", "enterprise"]
Entity = Literal["customers", "page_views"]
OutcomeName = Literal["successful", "partial", "failed", "not_attempted", "unchanged"]


def _in_utc(moment: datetime) -> datetime:
    """Without a zone, UTC."""
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("is not a time of the years 1 to 9999") from None


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL character")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]
Time = Annotated[datetime, AfterValidator(_in_utc)]


class Parameters(BaseModel):
    """What every path that shows people takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    masked: Annotated[bool, Field(description="hide names and emails")] = False


class ListParameters(Parameters):
    """What every list takes."""

    page_size: Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE, description="rows of a page")] = 50
    cursor: Annotated[
        str | None, Field(max_length=200, description="`next_cursor` of the page before")
    ] = None


class DataFilter(Parameters):
    """Which rows of the data are wanted."""

    entity: Annotated[Entity, Field(description="the table")] = "customers"
    source: Annotated[
        Text | None,
        Field(min_length=1, max_length=64, description="only records of this source"),
    ] = None
    search: Annotated[
        Text | None,
        Field(
            min_length=1,
            max_length=255,
            description="the beginning of an email, a first name or a last name",
        ),
    ] = None
    plan_type: Annotated[PlanType | None, Field(description="only customers with this plan")] = None
    updated_since: Annotated[
        Time | None,
        Field(
            description="only customers that an ingest run wrote since then, or views since then;"
            " ISO 8601, without a zone UTC"
        ),
    ] = None


class DataParameters(DataFilter, ListParameters):
    """`/data`."""

    page: Annotated[int, Field(ge=1, description="from 1; beyond 10,000 rows use `cursor`")] = 1


class ExportParameters(DataFilter):
    """`/data/export`."""

    format: Annotated[Literal["csv", "ndjson"], Field(description="of the file")] = "csv"


class RunsParameters(ListParameters):
    """`/runs`."""


class UsersParameters(ListParameters):
    """`/runs/{id}/users`."""

    outcome: Annotated[OutcomeName | None, Field(description="only users with this outcome")] = None


class CompareParameters(Parameters):
    """`/compare-runs`."""

    run1: Annotated[Text, Field(description="the id of a run", examples=["delivery-6"])]
    run2: Annotated[Text, Field(description="the id of a later one", examples=["delivery-7"])]


class FindParameters(Parameters):
    """The page's search."""

    email: Annotated[Text, Field(max_length=320, description="an email, or how a name begins")]
