"""What `stats` shows of each source."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import orjson

from integration.core.clock import utc_now
from integration.core.facts import SourceFacts
from integration.ingest.alarms import stale
from integration.ingest.checkpoints import read_checkpoint
from integration.ingest.counts import Counts
from integration.ingest.errors import SourceRefused
from integration.ingest.rejections import count_open
from integration.ingest.run_rules import counts_text, cursor_text
from integration.ingest.runs import last_runs, latest_with
from integration.ingest.tables import has_tables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from integration.core.verdict import Verdict
    from integration.database.reading import ReadSession
    from integration.ingest.runs import Run
    from integration.ingest.sources import Source

_FAILURES = ("failed", "crashed")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatistics:
    """A run, as it is shown.

    Attributes:
        missing: how many stored records the source no longer has; None if the run cannot know.
        deleted: how many rows of those were deleted.
    """

    run: int
    kind: str
    status: str
    started_at: datetime | None
    seconds: float
    records: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    missing: int | None
    deleted: int
    error_code: str | None
    error: str | None
    warnings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatistics:
    """A source, as it is shown.

    Attributes:
        records: how many records of the source are stored.
        open_rejections: how many of its records are still rejected.
        checkpoint: where the next run continues.
        lag_seconds: since the start of the last successful run; what changed after it is missing.
        stale: a text if that run ended longer ago than expected, or there is none.
    """

    source: str
    entity: str
    kind: str
    records: int = 0
    open_rejections: int = 0
    last_run: RunStatistics | None = None
    last_success: RunStatistics | None = None
    last_failure: RunStatistics | None = None
    checkpoint: str | None = None
    lag_seconds: float | None = None
    stale: str | None = None


def statistics_of(session: ReadSession, sources: Sequence[Source]) -> list[SourceStatistics]:
    """The statistics of sources; creates no table."""
    if not has_tables(session):
        return [_of_new_source(source) for source in sources]
    return [_of_source(session, source) for source in sources]


def _of_new_source(source: Source) -> SourceStatistics:
    text = stale(None, utc_now(), source.expected_every_hours)
    return SourceStatistics(source=source.name, entity=source.entity, kind=source.kind, stale=text)


def _of_source(session: ReadSession, source: Source) -> SourceStatistics:
    name, now = source.name, utc_now()
    success = latest_with(session, name, ["completed"])
    started = success.started_at if success else None
    records = session.query("SELECT COUNT(*) FROM etl_records WHERE source = %s", (name,))
    return SourceStatistics(
        source=name,
        entity=source.entity,
        kind=source.kind,
        records=records[0][0],
        open_rejections=count_open(session, name),
        last_run=run_statistics(next(iter(last_runs(session, name, 1)), None)),
        last_success=run_statistics(success),
        last_failure=run_statistics(latest_with(session, name, _FAILURES)),
        checkpoint=cursor_text(read_checkpoint(session, name).position),
        lag_seconds=(now - started).total_seconds() if started else None,
        stale=stale(success.finished_at if success else None, now, source.expected_every_hours),
    )


def run_statistics(run: Run | None) -> RunStatistics | None:
    """A run, as it is shown."""
    if run is None:
        return None
    return RunStatistics(
        run=run.run_id,
        kind=run.kind,
        status=run.status,
        started_at=run.started_at,
        seconds=run.seconds,
        records=run.records,
        inserted=run.inserted,
        updated=run.updated,
        unchanged=run.unchanged,
        rejected=run.rejected,
        missing=run.missing,
        deleted=run.deleted,
        error_code=run.error_code,
        error=run.error_detail,
        warnings=(run.warnings or "").splitlines(),
    )


def source_facts(statistics: Sequence[SourceStatistics]) -> list[SourceFacts]:
    """The facts of the sources for the verdict."""
    return [_facts_of(one, one.last_run) for one in statistics]


def _facts_of(one: SourceStatistics, run: RunStatistics | None) -> SourceFacts:
    return SourceFacts(
        name=one.source,
        status=run.status if run else None,
        has_succeeded=one.last_success is not None,
        refused=run is not None and run.error_code == SourceRefused.__name__,
        error=run.error if run else None,
        stale=one.stale,
        open_rejections=one.open_rejections,
    )


def as_json(verdict: Verdict, statistics: Sequence[SourceStatistics]) -> str:
    """All of it, for programs."""
    answer = {"verdict": asdict(verdict), "sources": [asdict(one) for one in statistics]}
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()


def as_lines(verdict: Verdict, statistics: Sequence[SourceStatistics]) -> list[str]:
    """All of it, for people."""
    return [verdict.line, "", *(line for one in statistics for line in _lines_of(one))]


def _lines_of(one: SourceStatistics) -> list[str]:
    lines = [f"{one.source} ({one.kind}, {one.entity})"]
    lines.append(f"  stored        {one.records:,}, still rejected {one.open_rejections:,}")
    runs = {"run": one.last_run, "success": one.last_success, "failure": one.last_failure}
    lines += [f"  last {name:8} {_run_text(run)}" for name, run in runs.items()]
    lines.append(f"  checkpoint    {one.checkpoint or 'none'}")
    if one.lag_seconds is not None:
        lines.append(f"  lag           {one.lag_seconds:,.0f} s")
    return [*lines, *([f"  {one.stale}"] if one.stale else [])]


def _run_text(run: RunStatistics | None) -> str:
    if run is None:
        return "none"
    when = f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC" if run.started_at else "?"
    counts = Counts(run.records, run.inserted, run.updated, run.unchanged, run.rejected)
    text = f"{run.run} {run.status}, {when}, {run.seconds:.1f} s, {counts_text(counts)}"
    if run.missing is not None:
        text += f"; {run.missing:,} missing, {run.deleted:,} deleted"
    return f"{text}: {run.error}" if run.error else text
