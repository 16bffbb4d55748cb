"""The users of a run by outcome."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from integration.core.models import CALLS
from integration.journal.ranges import position_ranges
from integration.journal.run_users import (
    OUTCOME,
    failure_reasons,
    only_in,
    rejected_users_of_run,
    run_totals,
    users_of_run,
)
from integration.journal.schema import CallStatus, outcome_of
from integration.journal.store import Journal
from tests.support.journals import completed_run
from tests.support.users import page_view

if TYPE_CHECKING:
    from pathlib import Path

STATUSES = [None, *CallStatus]


@pytest.mark.parametrize("profile", STATUSES)
@pytest.mark.parametrize("event", STATUSES)
def test_sql_and_python_agree_on_every_outcome(
    profile: CallStatus | None, event: CallStatus | None
) -> None:
    """The lists are read by the one, and counted by the other."""
    with sqlite3.connect(":memory:") as database:
        ((found,),) = database.execute(
            f"SELECT {OUTCOME} FROM (SELECT ? AS users_update_status, ? AS events_track_status)",
            (profile, event),
        )
    database.close()
    assert found == outcome_of(profile, event)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A run of 30 users, with two partial ones and one that failed, and one of the last 20."""
    journal = Journal(tmp_path / "journal.db")
    failed = [(3, "users_update"), (7, "events_track"), *((9, call) for call in CALLS)]
    completed_run(journal, [page_view(n) for n in range(1, 31)], failed)  # type: ignore[arg-type]
    completed_run(journal, [page_view(n) for n in range(11, 32)], reached=4)
    return journal


@pytest.mark.parametrize(
    ("outcome", "positions"),
    [
        (None, range(1, 31)),
        ("successful", [n for n in range(1, 31) if n not in (3, 7, 9)]),
        ("partial_failures", [3, 7]),
        ("total_failures", [9]),
        ("not_attempted", []),
    ],
)
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_pages_of_users_have_each_user_once(
    journal: Journal, outcome: None, positions: list[int], limit: int
) -> None:
    """In the query's order, with their rows and results."""
    found, after = [], 0
    while users := users_of_run(journal, 1, outcome, after, limit):
        assert len(users) <= limit
        found += users
        after = users[-1].position
    journal.close()

    assert [user.position for user in found] == list(positions)
    assert all(user.row[1] == f"user{user.position}@example.com" for user in found)
    assert all(user.results["users_update"].attempts for user in found)


def test_runs_are_summed_and_compared(journal: Journal) -> None:
    """Reasons by call; users by customer id."""
    totals = run_totals(journal)
    assert (totals.runs, totals.counts.total_users, totals.by_status) == (2, 51, {"completed": 2})
    assert (totals.counts.successful, totals.counts.not_attempted) == (31, 17)
    assert [tuple(one) for one in failure_reasons(journal, 1)] == [
        ("users/update", "timeout", 2),
        ("events/track", "timeout", 2),
    ]
    number, rows = only_in(journal, 1, 2, 3)
    assert (number, [row[0] for row in rows]) == (10, [1, 2, 3])
    assert only_in(journal, 2, 1, 3)[0] == 1
    assert rejected_users_of_run(journal, 1, 0, 10) == []
    assert position_ranges([]) == []
    journal.close()
