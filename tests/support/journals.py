"""Journals of finished runs, and what they have of their users."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from integration.core.models import CallResult, NewRun, Retries
from integration.delivery import new_users
from integration.delivery.new_users import email_of
from integration.delivery.reports import write_csv
from integration.journal.queries import read_run, recent_runs
from tests.support.users import new_user

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.core.models import Call, PageView, PendingUser, RunKind
    from integration.journal.store import Journal

HEADER = NewRun(
    "run-1", "2026-01-13T14:30:45+00:00", "API Key", "a.csv", "a.json", False, "full", "us:key"
)
AT = "2026-01-13T14:30:46+00:00"
OK = CallResult(success=True, response={"code": "Success"}, status_code=200, attempts=1, error=None)
MANY = 1000
FAILED = CallResult(success=False, response=None, status_code=None, attempts=3, error="timeout")


def completed_run(
    journal: Journal,
    views: Sequence[PageView],
    failed: Sequence[tuple[int, Call]] = (),
    *,
    reached: int = MANY,
    status: str = "completed",
    stop_reason: str | None = None,
    kind: RunKind = "full",
    project: str = HEADER.project,
    incremental: bool = False,
) -> int:
    """A run that made the calls of the first `reached` users; the given calls failed."""
    number = len(recent_runs(journal, MANY)) + 1
    header = replace(
        HEADER, run_id=f"run-{number}", kind=kind, project=project, incremental=incremental
    )
    run = journal.begin(header, map(new_user, views))
    for user in islice(journal.pending(run), reached):
        for call in user.calls:
            result = FAILED if (user.position, call) in failed else OK
            journal.record([user.position], call, result, AT)
    journal.flush(run, Retries())
    if status != "running":
        journal.finish(run, status, stop_reason, AT)
    return run


def pending_users(journal: Journal, run: int) -> list[PendingUser]:
    """The users that a delivery of this run would send."""
    return list(new_users.pending_users(read_run(journal, run).columns, journal.pending(run)))


def pending_emails(journal: Journal, run: int) -> list[str]:
    """Their emails."""
    return [user.email for user in pending_users(journal, run)]


def emails(journal: Journal, run: int) -> list[str | None]:
    """The emails of all users of a run, in the query's order."""
    return [email_of(row) for rows in journal.rows(run) for row in rows]


def csv_text_of(journal: Journal, run: int) -> str:
    """The CSV of a run as it is written from the journal, without the header."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        write_csv(path, journal.rows(run))
        _, _, lines = path.read_bytes().decode().partition("\r\n")
    return lines


def assert_whole(journal: Journal, run: int) -> None:
    """Check that users, rows and outcomes have each position of a run exactly once."""
    (total,) = journal.one("SELECT total_users FROM runs WHERE run = ?", (run,))
    expected = list(range(1, total + 1))
    users = journal.all("SELECT position FROM users WHERE run = ? ORDER BY position", (run,))
    assert [position for (position,) in users] == expected
    for table in ("packed_rows", "outcomes"):
        ranges = journal.all(
            f"SELECT first, last FROM {table} WHERE run = ? ORDER BY first", (run,)
        )
        assert [n for first, last in ranges for n in range(first, last + 1)] == expected, table
    assert sum(map(len, journal.rows(run))) == total
