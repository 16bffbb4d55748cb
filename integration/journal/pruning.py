"""Deleting old runs that are no longer needed. What each user was last sent outlives them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from integration.core.clock import to_iso
from integration.journal.backlog import has_pending_work, is_only_newer_run_for
from integration.journal.queries import read_run

if TYPE_CHECKING:
    from integration.journal.file import JournalFile

DAYS_KEPT = 30


def prune(file: JournalFile, now: datetime, chosen: int | None) -> int:
    """Delete the runs that are old and that nothing depends on, oldest first.

    Call it when the run to send is `chosen`: that one is kept, and so is every run with pending
    users that no later run has.

    Returns:
        How many.
    """
    before = _oldest_kept(file, now, chosen)
    runs = _begun_before(file, before, to_iso(now), chosen) if before else []
    pruned = 0
    for run in runs:
        if not _is_needed(file, run):
            _delete(file, run)
            pruned += 1
    return pruned


def _oldest_kept(file: JournalFile, now: datetime, chosen: int | None) -> str | None:
    """Runs that began before this time are old, if there was another run to tell the time by.

    A clock that is ahead would make every run an old one. So the age counts up to the start of
    the latest other run, unless the clock says less.
    """
    latest = file.one(
        "SELECT started_at FROM runs WHERE run IS NOT ? ORDER BY run DESC LIMIT 1", (chosen,)
    )
    if latest is None:
        return None
    readings = (now, datetime.fromisoformat(latest[0]))
    return to_iso(min(readings) - timedelta(days=DAYS_KEPT))


def _begun_before(file: JournalFile, before: str, now: str, chosen: int | None) -> list[int]:
    """The runs that are old by their own start and by those of all runs before them.

    Runs are numbered in the order in which they began: one with an early start that follows a
    recent one began while the clock was behind. A start in times to come says nothing.
    """
    rows = file.all(
        "SELECT run FROM runs r WHERE last_sent_recorded"
        " AND started_at < :before AND run IS NOT :chosen"
        " AND NOT EXISTS (SELECT 1 FROM runs e WHERE e.run < r.run"
        " AND e.started_at BETWEEN :before AND :now) ORDER BY run",
        {"before": before, "now": now, "chosen": chosen},
    )
    return [run for (run,) in rows]


def _is_needed(file: JournalFile, run: int) -> bool:
    if has_pending_work(file, read_run(file, run)):
        return True
    earlier = file.all("SELECT run FROM runs WHERE run < ? ORDER BY run", (run,))
    return any(is_only_newer_run_for(file, read_run(file, e), run) for (e,) in earlier)


def _delete(file: JournalFile, run: int) -> None:
    with file.transaction():
        for table in ("outcomes", "packed_rows", "email_digests", "users", "runs"):
            file.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
