"""Journals of earlier versions, built by the statements of their time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from integration.core.models import Counts
from integration.iterable.payloads import event_payload, profile_payload
from integration.journal.backlog import undelivered, unsendable
from integration.journal.migrations import FUNCTIONS, MIGRATIONS, SCHEMA_VERSION
from integration.journal.queries import count_outcomes
from integration.journal.schema import CallStatus, invalid_json, unchanged_json
from integration.journal.store import Journal
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from pathlib import Path

AT = "2026-01-13T14:30:46+00:00"
REASON = "not sent: the email has no @"
# What versions 1 to 3 stored of each user: both codes and the result of the profile call.
OLD_OUTCOMES = [
    (1, 1, "{}"),  # delivered
    (1, 0, "{}"),  # profile only
    (0, 0, '{"error":"server_error"}'),
    (0, 0, invalid_json(REASON)),
    (2, 2, unchanged_json("unchanged")),
    (3, 3, '{"error":"not_attempted"}'),
    (None, 1, None),  # event only
]
USERS = len(OLD_OUTCOMES) + 1  # the last one has no outcome


def old_journal(path: Path, version: int) -> None:
    """A journal of this version with one completed run."""
    with closing(sqlite3.connect(path)) as database, database:
        for function in FUNCTIONS:
            database.create_function(function.__name__, -1, function)
        database.executescript(";".join(MIGRATIONS[:version]))
        database.execute(f"PRAGMA user_version = {version}")
        database.execute(
            "INSERT INTO runs (run_id, started_at, status, authentication, csv_file, results_file,"
            " dry_run, total_users) VALUES ('old', ?, 'completed', 'API Key', 'a', 'b', 0, ?)",
            (AT, USERS),
        )
        for number in range(1, USERS + 1):
            row = page_view(number)
            database.execute(
                "INSERT INTO users VALUES (1, ?, ?, ?, ?, ?)",
                (number, row.id, row.email, profile_payload(row), event_payload(row)),
            )
        database.executemany(
            "INSERT INTO outcomes (run, position, at, users_update_success, events_track_success,"
            " users_update, events_track) VALUES (1, ?, ?, ?, ?, ?, '{}')",
            [(n, AT, *outcome) for n, outcome in enumerate(OLD_OUTCOMES, start=1)],
        )


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_the_outcomes_of_an_old_journal_stay_what_they_were(tmp_path: Path, version: int) -> None:
    """Delivered, failed, rejected, unchanged, superseded and not attempted."""
    old_journal(tmp_path / "journal.db", version)

    with Journal(tmp_path / "journal.db") as journal:
        assert count_outcomes(journal, 1) == Counts(
            successful=1, partial_failures=2, total_failures=2, not_attempted=2, unchanged=1
        )
        lines = [new_user(page_view(number)).csv_line for number in range(1, USERS + 1)]
        assert list(journal.csv_lines(1)) == lines
        assert [(user.position, len(user.calls)) for user in journal.pending(1)] == [
            (2, 1),
            (3, 2),
            (7, 1),
            (8, 2),
        ]
        backlog, rejected = undelivered(journal, None), unsendable(journal, None)
        assert backlog
        assert backlog.pending_users == 4
        assert rejected
        assert rejected.reasons == ((REASON, 1),)
        assert journal.one("SELECT users_update_status FROM outcomes WHERE position = 4") == (
            CallStatus.REJECTED,
        )


@pytest.mark.parametrize(
    "query",
    [
        "SELECT COUNT(*) FROM pending_users WHERE run = 1",
        "SELECT * FROM pending_users WHERE run = 1 AND position > 5 ORDER BY position LIMIT 9",
        "SELECT * FROM user_outcomes WHERE run = 1 AND position > 5 ORDER BY position LIMIT 9",
        "SELECT * FROM delivered_users WHERE run = 1 AND position > 5 ORDER BY position LIMIT 9",
        "SELECT * FROM rejected_users WHERE run = 1 ORDER BY position LIMIT 9",
        "SELECT * FROM outcome_counts WHERE run = 1",
        "SELECT customer_id FROM loaded_users WHERE run > 1 AND project GLOB '*'",
    ],
)
def test_views_are_searched_by_primary_key(tmp_path: Path, query: str) -> None:
    """SQLite goes straight to the run's rows, and sorts only the few groups of the counts."""
    with Journal(tmp_path / "journal.db") as journal:
        plan = [row[3] for row in journal.all(f"EXPLAIN QUERY PLAN {query}")]

    groups = ("USE TEMP B-TREE FOR GROUP BY", "SCAN outcome_counts")
    steps = [step for step in plan if step not in groups]
    assert any("USING PRIMARY KEY (run" in step for step in steps), plan
    assert not [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step], plan
