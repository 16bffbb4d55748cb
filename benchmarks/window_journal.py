"""Journals with many runs: the first by the journal's own code, and copies of it by SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from benchmarks.people import people
from integration.core.models import CALLS, CallResult, NewRun, Retries
from integration.delivery.new_users import new_users
from integration.journal.store import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.core.models import NewUser

BATCH = 1_000
# The event of each user at such a position fails, in all runs.
FAILED_EVERY = 997
RUN_SECONDS = 20
_DELIVERED = CallResult(
    success=True,
    response={"successCount": BATCH, "failCount": 0},
    status_code=200,
    attempts=1,
    error=None,
)
_FAILED = CallResult(success=False, response=None, status_code=None, attempts=3, error="timeout")
_TABLES = ("users", "packed_rows", "email_digests", "outcomes")


def write_journal(path: Path, runs: int, users: int, distance: int) -> None:
    """Write a journal with a run of the same users on each of the last days.

    Args:
        path: the file.
        runs: how many.
        users: of each run.
        distance: between their ids, so that they are customers from all over the table.
    """
    newest = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    times = [newest - timedelta(days=runs - number) for number in range(1, runs + 1)]
    with Journal(path) as journal:
        _first_run(journal, times[0], users, distance)
    with closing(sqlite3.connect(path)) as database, database:
        # Nothing of it has to survive a power cut.
        database.execute("PRAGMA synchronous = OFF")
        for number, started in enumerate(times[1:], start=2):
            _copy(database, number, started)


def email_at(position: int, distance: int) -> str:
    """The email of the user at a position of every run."""
    return f"customer.{position * distance:07}@example.com"


def outcome_at(position: int) -> str:
    """The outcome of the user at a position, as the window names it."""
    return "successful" if position % FAILED_EVERY else "partial"


def _first_run(journal: Journal, started: datetime, users: int, distance: int) -> None:
    header = NewRun(
        run_id="run-1",
        started_at=started.isoformat(),
        authentication="API Key",
        csv_file="list.csv",
        results_file="results.json",
        dry_run=False,
        project="us:key",
    )
    run = journal.begin(header, _users(users, distance))
    journal.set_mode(run, "bulk")
    for first in range(1, users + 1, BATCH):
        at = (started + timedelta(seconds=RUN_SECONDS * first / users)).isoformat()
        positions = range(first, min(first + BATCH, users + 1))
        failed = [position for position in positions if position % FAILED_EVERY == 0]
        for call in CALLS:
            journal.record(positions, call, _DELIVERED, at)
        journal.record(failed, "events_track", _FAILED, at)
        journal.flush(run, Retries())
    journal.finish(run, "completed", None, _ended(started))


def _ended(started: datetime) -> str:
    return (started + timedelta(seconds=RUN_SECONDS)).isoformat()


def _users(count: int, distance: int) -> Iterator[NewUser]:
    rows = []
    for one in people(count * distance):
        if one.id % distance:
            continue
        row = (one.id, one.email, one.first_name, one.last_name, "pro", one.candidate)
        rows.append((*row, one.page, one.device, one.browser, one.location, str(one.viewed)))
        if len(rows) == BATCH:
            yield from new_users(rows)
            rows.clear()
    yield from new_users(rows)


def _copy(database: sqlite3.Connection, number: int, started: datetime) -> None:
    """Add a run like the first one, on another day."""
    changed = {
        "run": str(number),
        "run_id": f"'run-{number}'",
        "started_at": f"'{started.isoformat()}'",
        "finished_at": f"'{_ended(started)}'",
    }
    for table in ("runs", *_TABLES):
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        values = [changed.get(column, column) for column in columns]
        names = ", ".join(columns)
        database.execute(
            f"INSERT INTO {table} ({names}) SELECT {', '.join(values)} FROM {table} WHERE run = 1"
        )
    database.execute(
        "UPDATE outcomes SET at = ? WHERE run = ? AND at IS NOT NULL", (_ended(started), number)
    )
