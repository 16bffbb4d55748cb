"""The table etl_runs: one row for each run of a source."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

from integration.core.clock import utc_now
from integration.database.writing import to_text, to_time
from integration.ingest.counts import Counts
from integration.ingest.locks import is_running

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from integration.database.reading import ReadSession
    from integration.database.writing import WriteSession
    from integration.ingest.errors import IngestError

Status = Literal["running", "completed", "failed", "stopped", "crashed"]
ENDED: tuple[Status, ...] = ("completed", "failed", "stopped", "crashed")
# On Galera, where other nodes' locks cannot be seen.
HEARTBEAT_SECONDS = 300
_COLUMNS = (
    "run_id, source, kind, status, created_at, started_at, heartbeat_at, finished_at, cursor_from,"
    " cursor_to, pages, records, inserted, updated, unchanged, rejected, retries, seconds_waited,"
    " error_code, error_detail, warnings, missing, deleted"
)


class Run(NamedTuple):
    """A row of etl_runs; times in UTC with their zone.

    Attributes:
        missing: how many stored records the source no longer has; None if the run cannot know.
        deleted: how many rows of those were deleted.
    """

    run_id: int
    source: str
    kind: str
    status: str
    created_at: datetime | None
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None
    cursor_from: str | None
    cursor_to: str | None
    pages: int
    records: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    retries: int
    seconds_waited: float
    error_code: str | None
    error_detail: str | None
    warnings: str | None
    missing: int | None = None
    deleted: int = 0

    @property
    def counts(self) -> Counts:
        """The run's records by outcome."""
        return Counts(self.records, self.inserted, self.updated, self.unchanged, self.rejected)

    @property
    def seconds(self) -> float:
        """How long it took; 0 before its end."""
        if self.started_at is None or self.finished_at is None:
            return 0.0
        return (self.finished_at - self.started_at).total_seconds()


def start_run(
    session: WriteSession,
    source: str,
    kind: str,
    started_at: datetime,
    cursor_from: str | None = None,
) -> int:
    """Record the start of a run and return its number; earlier runs that crashed are marked so.

    The caller holds the lock of the source. `cursor_from` is None for a run that reads from the
    beginning.
    """
    now = to_text(utc_now())
    with session.transaction():
        session.execute(
            "UPDATE etl_runs SET status = 'crashed', finished_at = heartbeat_at"
            " WHERE source = %s AND status = 'running'"
            + ("" if session.shares_locks else " AND heartbeat_at < %s"),
            (source, *(() if session.shares_locks else (_oldest_heartbeat(),))),
        )
        return session.insert(
            "INSERT INTO etl_runs (source, kind, status, created_at, started_at, heartbeat_at,"
            " cursor_from) VALUES (%s, %s, 'running', %s, %s, %s, %s)",
            (source, kind, now, to_text(started_at), now, cursor_from),
        )


def add_counts(
    session: WriteSession,
    run_id: int,
    counts: Counts,
    *,
    pages: int = 1,
    retries: int = 0,
    seconds_waited: float = 0,
) -> None:
    """Add a page to a run, in the transaction of the page."""
    session.execute(
        "UPDATE etl_runs SET pages = pages + %s, records = records + %s,"
        " inserted = inserted + %s, updated = updated + %s, unchanged = unchanged + %s,"
        " rejected = rejected + %s, retries = retries + %s,"
        " seconds_waited = seconds_waited + %s, heartbeat_at = %s WHERE run_id = %s",
        (
            pages,
            counts.records,
            counts.inserted,
            counts.updated,
            counts.unchanged,
            counts.rejected,
            retries,
            seconds_waited,
            to_text(utc_now()),
            run_id,
        ),
    )


def store_missing(session: WriteSession, run_id: int, missing: int) -> None:
    """Record how many stored records the source no longer has."""
    session.execute(
        "UPDATE etl_runs SET missing = %s, heartbeat_at = %s WHERE run_id = %s",
        (missing, to_text(utc_now()), run_id),
    )


def add_deleted(session: WriteSession, run_id: int, deleted: int) -> None:
    """Add deleted rows to a run, in the transaction that deletes them."""
    session.execute(
        "UPDATE etl_runs SET deleted = deleted + %s, heartbeat_at = %s WHERE run_id = %s",
        (deleted, to_text(utc_now()), run_id),
    )


def beat(session: WriteSession, run_id: int) -> None:
    """Show that the run is alive while it waits for its source."""
    session.execute(
        "UPDATE etl_runs SET heartbeat_at = %s WHERE run_id = %s", (to_text(utc_now()), run_id)
    )


def end_run(
    session: WriteSession,
    run_id: int,
    status: Status,
    *,
    cursor_to: str | None = None,
    error: IngestError | Exception | None = None,
    warnings: Sequence[str] = (),
) -> None:
    """Record the end of a run.

    Args:
        session: the writable session.
        run_id: the run.
        status: completed; failed for an error; stopped for a signal or a limit.
        cursor_to: where the next run continues, for people.
        error: why the run failed; its message has no secrets.
        warnings: what an operator should know.
    """
    now = to_text(utc_now())
    session.execute(
        "UPDATE etl_runs SET status = %s, finished_at = %s, heartbeat_at = %s, cursor_to = %s,"
        " error_code = %s, error_detail = %s, warnings = %s WHERE run_id = %s",
        (
            status,
            now,
            now,
            cursor_to,
            type(error).__name__ if error else None,
            str(error) if error else None,
            "\n".join(warnings) or None,
            run_id,
        ),
    )


def last_runs(session: ReadSession, source: str, limit: int) -> list[Run]:
    """The latest runs of a source, newest first; one that was killed has the status `crashed`."""
    rows = session.query(
        f"SELECT {_COLUMNS} FROM etl_runs WHERE source = %s ORDER BY run_id DESC LIMIT %s",
        (source, limit),
    )
    return [_with_crash(session, _run(row)) for row in rows]


def runs_before(session: ReadSession, before: int, limit: int) -> list[Run]:
    """The latest runs of all sources before the run `before`, newest first."""
    rows = session.query(
        f"SELECT {_COLUMNS} FROM etl_runs WHERE run_id < %s ORDER BY run_id DESC LIMIT %s",
        (before, limit),
    )
    return [_with_crash(session, _run(row)) for row in rows]


def comparable_runs(
    session: WriteSession, source: str, before: int, limit: int, *, from_beginning: bool
) -> list[Run]:
    """The latest completed runs of a source before the run `before`, newest first.

    Args:
        session: the session.
        source: its name.
        before: the number of the run to compare.
        limit: the maximum number of runs.
        from_beginning: those that read from the beginning; else those that continued.
    """
    where = "IS NULL" if from_beginning else "IS NOT NULL"
    rows = session.query(
        f"SELECT {_COLUMNS} FROM etl_runs WHERE source = %s AND status = 'completed'"
        f" AND kind NOT IN ('retry', 'replay') AND cursor_from {where} AND run_id < %s"
        " ORDER BY run_id DESC LIMIT %s",
        (source, before, limit),
    )
    return [_run(row) for row in rows]


def latest_with(session: ReadSession, source: str, statuses: Sequence[str]) -> Run | None:
    """The latest run of a source that ended with one of these statuses."""
    marks = ", ".join(["%s"] * len(statuses))
    rows = session.query(
        f"SELECT {_COLUMNS} FROM etl_runs WHERE source = %s AND status IN ({marks})"
        " AND kind NOT IN ('retry', 'replay') ORDER BY run_id DESC LIMIT 1",
        (source, *statuses),
    )
    return _run(rows[0]) if rows else None


def find_run(session: ReadSession, run_id: int) -> Run | None:
    """The run with this number."""
    rows = session.query(f"SELECT {_COLUMNS} FROM etl_runs WHERE run_id = %s", (run_id,))
    return _with_crash(session, _run(rows[0])) if rows else None


def _run(row: Sequence[object]) -> Run:
    return Run(*row[:4], *(to_time(value) for value in row[4:8]), *row[8:])  # type: ignore[arg-type]


def _with_crash(session: ReadSession, run: Run) -> Run:
    """A run that is `running` without its lock was killed."""
    if run.status != "running":
        return run
    if session.shares_locks:
        alive = is_running(session, run.source)
    else:
        alive = run.heartbeat_at is not None and to_text(run.heartbeat_at) >= _oldest_heartbeat()
    return run if alive else run._replace(status="crashed")


def _oldest_heartbeat() -> str:
    return to_text(utc_now() - timedelta(seconds=HEARTBEAT_SECONDS))
