"""The paths that answer programs."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Path, Query, Request
from starlette.responses import Response, StreamingResponse

from integration.service import cursors, documents
from integration.service.comparison import compare
from integration.service.deliveries import ALL, DeliveryRun
from integration.service.metrics import MEDIA_TYPE, Durations, metrics_text
from integration.service.overview import Overviews
from integration.service.parameters import (
    MAX_ROWS_BY_PAGE,
    CompareParameters,
    DataFilter,
    DataParameters,
    ExportParameters,
    ListParameters,
    Parameters,
    RunsParameters,
    UsersParameters,
)
from integration.service.parts import Parts
from integration.service.people import person_document, person_facts
from integration.service.problems import answer, wrong_parameter
from integration.service.row_queries import COUNT_LIMIT
from integration.service.rows import export, row_page
from integration.service.run_documents import (
    delivery_document,
    ingest_document,
    parse_run_id,
)
from integration.service.run_lists import (
    AnyRun,
    rejected_page,
    run_details,
    run_page,
    users_page,
)
from integration.service.state_documents import health_document, stats_document

RunIdText = Annotated[
    str, Path(description="`ingest-12` or `delivery-7`", examples=["delivery-7"], max_length=64)
]
_EXPORT_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
# Parameters that do not decide what is in a list.
_NOT_FILTERS = {"cursor", "page", "page_size", "masked"}


class JsonPaths:
    """The endpoints.

    Args:
        parts: what to read.
        overviews: what `/`, `/health`, `/stats` and `/metrics` share.
        durations: of requests.
    """

    def __init__(self, parts: Parts, overviews: Overviews, durations: Durations) -> None:
        self._parts = parts
        self._overviews = overviews
        self._durations = durations

    def _is_masked(self, parameters: Parameters) -> bool:
        return self._parts.is_masked or parameters.masked

    async def live(self, request: Request) -> Response:
        """Whether this process answers; touches neither database nor journal."""
        # At once, not in a thread: all of them may be waiting for the database.
        return answer(request, {"status": "live"})

    def health(self, request: Request, _: Annotated[Parameters, Query()]) -> Response:
        """Is it well, and what is there to do? 503 if the answer is `unhealthy`."""
        overview = self._overviews.current()
        response = answer(request, health_document(overview))
        response.status_code = 503 if overview.verdict.status == "unhealthy" else 200
        return response

    def data(self, request: Request, parameters: Annotated[DataParameters, Query()]) -> Response:
        """Customers or page views in the order of their ids, filtered; read on by cursor."""
        after, page, total, skip = _place(parameters)
        found = row_page(
            self._parts,
            parameters,
            after=after,
            skip=skip,
            limit=parameters.page_size,
            total=total,
        )
        cursor = None
        if found.last_id is not None:
            known = 0 if found.total is None else found.total + 1
            cursor = cursors.encode((found.last_id, page + 1, known), _filters(parameters))
        return _page(
            request,
            parameters,
            cursor,
            items=found.items,
            page=page,
            page_size=parameters.page_size,
            total=found.total,
            total_is_exact=found.total is not None and found.total < COUNT_LIMIT,
        )

    def data_export(self, parameters: Annotated[ExportParameters, Query()]) -> Response:
        """All rows of a filter as a CSV or NDJSON file, streamed."""
        lines = export(self._parts, parameters, parameters.format)
        name = f"{parameters.entity}.{parameters.format}"
        return StreamingResponse(
            lines,
            media_type=_EXPORT_TYPES[parameters.format],
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def person(
        self,
        request: Request,
        email: Annotated[str, Path(min_length=1, max_length=320, examples=["ada@example.com"])],
        parameters: Annotated[Parameters, Query()],
    ) -> Response:
        """One person's story: source record, row, views, in the list or not and why, outcomes."""
        facts = person_facts(self._parts, email)
        return answer(request, person_document(facts, is_masked=self._is_masked(parameters)))

    def stats(self, request: Request, _: Annotated[Parameters, Query()]) -> Response:
        """Records, runs and durations of each source, and all deliveries together."""
        return answer(request, stats_document(self._overviews.current()))

    def runs(self, request: Request, parameters: Annotated[RunsParameters, Query()]) -> Response:
        """Runs of sources and deliveries, newest first; one that was killed is `crashed`."""
        before = _decoded(parameters, (ALL, ALL))
        found = run_page(self._parts, (before[0], before[1]), parameters.page_size)
        items = [run_document(run) for run in found.runs]
        return _list(request, parameters, items, found.next_keys, unavailable=found.unavailable)

    def run(
        self, request: Request, run_id: RunIdText, _: Annotated[Parameters, Query()]
    ) -> Response:
        """One run: counts, failures by reason, files."""
        return answer(request, run_details(self._parts, parse_run_id(run_id)))

    def users(
        self,
        request: Request,
        run_id: RunIdText,
        parameters: Annotated[UsersParameters, Query()],
    ) -> Response:
        """Users of a delivery in the query's order, with Iterable's answers."""
        (after,) = _decoded(parameters, (0,), run=run_id)
        found = users_page(
            self._parts,
            parse_run_id(run_id),
            parameters.outcome,
            after,
            limit=parameters.page_size,
            is_masked=self._is_masked(parameters),
        )
        return _list(request, parameters, found.items, found.next_keys, run=run_id)

    def rejected(
        self,
        request: Request,
        run_id: RunIdText,
        parameters: Annotated[ListParameters, Query()],
    ) -> Response:
        """Records that a run of a source rejected, or users that a delivery could not send."""
        page, position = _decoded(parameters, (0, 0), run=run_id)
        found = rejected_page(
            self._parts,
            parse_run_id(run_id),
            (page, position),
            limit=parameters.page_size,
            is_masked=self._is_masked(parameters),
        )
        return _list(request, parameters, found.items, found.next_keys, run=run_id)

    def compare_runs(
        self, request: Request, parameters: Annotated[CompareParameters, Query()]
    ) -> Response:
        """Two runs of the same type: counts, duration, rate, and who is in only one of them."""
        one, other = parse_run_id(parameters.run1), parse_run_id(parameters.run2)
        found = compare(self._parts, one, other, is_masked=self._is_masked(parameters))
        return answer(request, found)

    def metrics(self, _: Annotated[Parameters, Query()]) -> Response:
        """Prometheus metrics."""
        text = metrics_text(self._overviews.current(), self._durations)
        return Response(text, media_type=MEDIA_TYPE)


def run_document(run: AnyRun) -> dict[str, object]:
    """A run of either type."""
    return delivery_document(run) if isinstance(run, DeliveryRun) else ingest_document(run)


def _filters(parameters: DataFilter | ListParameters, **more: object) -> dict[str, object]:
    return {**parameters.model_dump(exclude=_NOT_FILTERS), **more}


def _decoded(parameters: ListParameters, first: tuple[int, ...], **more: object) -> tuple[int, ...]:
    """The numbers of the cursor, or those of the first page."""
    if parameters.cursor is None:
        return first
    return cursors.decode(parameters.cursor, len(first), _filters(parameters, **more))


def _place(parameters: DataParameters) -> tuple[int, int, int | None, int]:
    """After which id the page begins, its number, the total if it is known, rows to leave out."""
    if parameters.cursor is not None:
        if "page" in parameters.model_fields_set:
            raise wrong_parameter("page", "does not go together with cursor: leave it out")
        after, page, known = _decoded(parameters, (0, 0, 0))
        return after, page, known - 1 if known else None, 0
    if parameters.page * parameters.page_size > MAX_ROWS_BY_PAGE:
        raise wrong_parameter(
            "page", f"beyond {MAX_ROWS_BY_PAGE:,} rows use the cursor of the page before"
        )
    return 0, parameters.page, None, (parameters.page - 1) * parameters.page_size


def _list(
    request: Request,
    parameters: ListParameters,
    items: list[dict[str, object]],
    keys: tuple[int, ...] | None,
    *,
    run: str | None = None,
    **more: object,
) -> Response:
    filters = _filters(parameters, **({"run": run} if run else {}))
    cursor = cursors.encode(keys, filters) if keys else None
    return _page(request, parameters, cursor, items=items, page_size=parameters.page_size, **more)


def _page(
    request: Request, parameters: ListParameters, cursor: str | None, **content: object
) -> Response:
    headers: dict[str, str] = {}
    if cursor:
        given = parameters.model_dump(mode="json", exclude_unset=True, exclude={"page", "cursor"})
        query = urlencode(given | {"cursor": cursor})
        headers = {"Link": f'<{request.scope["path"]}?{query}>; rel="next"'}
    return answer(request, {**content, "next_cursor": cursor}, **headers)


# Path, endpoint, the model of its answer.
PATHS = (
    ("/live", "live", documents.Live),
    ("/health", "health", documents.HealthDocument),
    ("/data", "data", documents.DataPage),
    ("/data/export", "data_export", None),
    ("/people/{email:path}", "person", documents.PersonDocument),
    ("/stats", "stats", documents.StatsDocument),
    ("/runs", "runs", documents.RunsPage),
    ("/runs/{run_id}", "run", documents.RunDetails),
    ("/runs/{run_id}/users", "users", documents.ItemsPage),
    ("/runs/{run_id}/rejected", "rejected", documents.ItemsPage),
    ("/compare-runs", "compare_runs", documents.ComparisonDocument),
    ("/metrics", "metrics", None),
)
