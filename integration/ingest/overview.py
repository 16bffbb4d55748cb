"""What the window shows of sources and their runs; only reads, and creates nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from integration.core.clock import utc_now
from integration.core.facts import SourceFacts
from integration.core.ingest_facts import IngestRun, Rejected, RejectedGroup, SourceOverview
from integration.ingest.alarms import stale
from integration.ingest.checkpoints import read_checkpoint
from integration.ingest.errors import SourceRefused
from integration.ingest.run_rules import cursor_text
from integration.ingest.runs import find_run, last_runs, latest_with, runs_before
from integration.ingest.tables import has_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.database.reading import ReadSession
    from integration.ingest.runs import Run
    from integration.ingest.sources import Source

RUNS_SHOWN = 30
_FAILURES = ("failed", "crashed")


class _Totals(NamedTuple):
    """All runs of a source together."""

    records: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    by_status: tuple[tuple[str, int], ...] = ()


def source_overviews(session: ReadSession, sources: Sequence[Source]) -> list[SourceOverview]:
    """Each source with its last runs."""
    if not has_tables(session):
        return [_new_source(source) for source in sources]
    totals = _totals(session)
    rejected = _open_by_source(session)
    return [
        _overview(session, source, totals.get(source.name, _Totals()), rejected[source.name])
        for source in sources
    ]


def _new_source(source: Source) -> SourceOverview:
    facts = SourceFacts(name=source.name, stale=stale(None, utc_now(), source.expected_every_hours))
    return SourceOverview(name=source.name, kind=source.kind, entity=source.entity, facts=facts)


def _overview(
    session: ReadSession, source: Source, totals: _Totals, open_rejections: int
) -> SourceOverview:
    name, now = source.name, utc_now()
    runs = last_runs(session, name, RUNS_SHOWN)
    success = latest_with(session, name, ["completed"])
    failure = latest_with(session, name, _FAILURES)
    newest = runs[0] if runs else None
    lag = (now - success.started_at).total_seconds() if success and success.started_at else None
    facts = SourceFacts(
        name=name,
        status=newest.status if newest else None,
        has_succeeded=success is not None,
        refused=newest is not None and newest.error_code == SourceRefused.__name__,
        error=newest.error_detail if newest else None,
        stale=stale(success.finished_at if success else None, now, source.expected_every_hours),
        open_rejections=open_rejections,
    )
    return SourceOverview(
        name=name,
        kind=source.kind,
        entity=source.entity,
        facts=facts,
        runs=[_shown(run) for run in runs],
        records=totals.records,
        inserted=totals.inserted,
        updated=totals.updated,
        unchanged=totals.unchanged,
        rejected=totals.rejected,
        runs_by_status=totals.by_status,
        last_success=_shown(success) if success else None,
        last_failure=_shown(failure) if failure else None,
        lag_seconds=lag,
        checkpoint=cursor_text(read_checkpoint(session, name).position),
    )


def _totals(session: ReadSession) -> dict[str, _Totals]:
    rows = session.query(
        "SELECT source, status, COUNT(*), SUM(records), SUM(inserted), SUM(updated),"
        " SUM(unchanged), SUM(rejected) FROM etl_runs GROUP BY source, status"
        " ORDER BY source, status"
    )
    found: dict[str, _Totals] = {}
    for source, status, runs, *sums in rows:
        *before, by_status = found.get(source, _Totals())
        numbers = [int(one) + int(more) for one, more in zip(before, sums, strict=True)]
        found[source] = _Totals._make([*numbers, (*by_status, (status, runs))])
    return found


def _open_by_source(session: ReadSession) -> defaultdict[str, int]:
    found: defaultdict[str, int] = defaultdict(int)
    for group in rejected_groups(session):
        found[group.source] += group.records
    return found


def rejected_groups(session: ReadSession) -> list[RejectedGroup]:
    """How many records are still rejected, by source and reason, most first."""
    if not has_tables(session):
        return []
    rows = session.query(
        "SELECT r.source, x.code, x.field, COUNT(*) FROM etl_rejected x"
        " JOIN etl_runs r ON r.run_id = x.run_id WHERE x.resolved_run IS NULL"
        " GROUP BY r.source, x.code, x.field ORDER BY COUNT(*) DESC, r.source, x.code, x.field"
    )
    return [RejectedGroup(*row) for row in rows]


def ingest_runs(session: ReadSession, before: int, limit: int) -> list[IngestRun]:
    """The newest runs of all sources before the run `before`, newest first."""
    if not has_tables(session):
        return []
    return [_shown(run) for run in runs_before(session, before, limit)]


def ingest_run(session: ReadSession, run_id: int) -> IngestRun | None:
    """The run with this number."""
    run = find_run(session, run_id) if has_tables(session) else None
    return _shown(run) if run else None


def run_before(session: ReadSession, run: IngestRun) -> IngestRun | None:
    """The last completed run of the same source before this one."""
    rows = session.query(
        "SELECT MAX(run_id) FROM etl_runs WHERE source = %s AND run_id < %s"
        " AND status = 'completed' AND kind NOT IN ('retry', 'replay')",
        (run.source, run.run_id),
    )
    return ingest_run(session, rows[0][0]) if rows[0][0] is not None else None


def rejected_of_run(
    session: ReadSession, run_id: int, after: tuple[int, int], limit: int
) -> list[Rejected]:
    """The records that a run rejected, after a page and a position in it."""
    page, position = after
    rows = session.query(
        "SELECT x.page, x.position, x.source_key, x.code, x.field, x.resolved_run, d.origin"
        " FROM etl_rejected x LEFT JOIN etl_raw_data d ON d.run_id = x.run_id AND d.page = x.page"
        " WHERE x.run_id = %s AND (x.page > %s OR (x.page = %s AND x.position > %s))"
        " ORDER BY x.page, x.position LIMIT %s",
        (run_id, page, page, position, limit),
    )
    return [Rejected._make([*row[:5], row[5] is None, row[6]]) for row in rows]


def rejections_of_run(session: ReadSession, run_id: int) -> list[tuple[str, str | None, int]]:
    """Why a run rejected records: code, field, number; most first."""
    rows = session.query(
        "SELECT code, field, COUNT(*) FROM etl_rejected WHERE run_id = %s"
        " GROUP BY code, field ORDER BY COUNT(*) DESC, code, field",
        (run_id,),
    )
    return [(code, field, number) for code, field, number in rows]


def _shown(run: Run) -> IngestRun:
    seconds = run.seconds
    if run.status == "running" and run.started_at:
        seconds = (utc_now() - run.started_at).total_seconds()
    return IngestRun(
        run_id=run.run_id,
        source=run.source,
        kind=run.kind,
        status=run.status,
        started_at=run.started_at,
        finished_at=run.finished_at,
        seconds=seconds,
        pages=run.pages,
        records=run.records,
        inserted=run.inserted,
        updated=run.updated,
        unchanged=run.unchanged,
        rejected=run.rejected,
        retries=run.retries,
        missing=run.missing,
        deleted=run.deleted,
        cursor_from=run.cursor_from,
        cursor_to=run.cursor_to,
        error=run.error_detail,
        warnings=(run.warnings or "").splitlines(),
    )
