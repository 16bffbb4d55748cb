"""Which runs are deleted, on real journals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from integration.core.clock import to_iso
from integration.journal.pruning import prune
from integration.journal.queries import last_sent, recent_runs
from integration.journal.store import Journal
from tests.support.journals import AT, HEADER, completed_run
from tests.support.users import page_view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.core.models import PageView

NOW = datetime(2026, 1, 13, 14, tzinfo=UTC)
VIEWS = [page_view(number) for number in (1, 2, 3)]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def ran_days_ago(
    journal: Journal, days: float, views: list[PageView] = VIEWS, **how: object
) -> int:
    """A run that started so many days before `NOW`, by the clock of that time."""
    run = completed_run(journal, views, **how)  # type: ignore[arg-type]
    started = to_iso(NOW - timedelta(days=days))
    journal.execute("UPDATE runs SET started_at = ? WHERE run = ?", (started, run))
    return run


def kept(journal: Journal) -> list[int]:
    """The runs that are there, oldest first."""
    return sorted(run.number for run in recent_runs(journal, 100))


def test_old_runs_are_deleted_but_not_what_was_sent(journal: Journal) -> None:
    """The file does not grow forever, and --incremental keeps working."""
    ran_days_ago(journal, 40)
    ran_days_ago(journal, 32)
    ran_days_ago(journal, 29, VIEWS[:1])
    ran_days_ago(journal, 1, [])

    assert prune(journal, NOW, None) == 2

    assert kept(journal) == [3, 4]
    for table in ("users", "packed_rows", "outcomes"):
        assert journal.one(f"SELECT MIN(run) FROM {table}") == (3,)
    assert set(last_sent(journal, HEADER.project, [1, 2, 3])) == {1, 2, 3}


@pytest.mark.parametrize("status", ["completed", "stopped", "interrupted"])
def test_a_run_with_pending_users_is_kept(journal: Journal, status: str) -> None:
    """Until a later run has all of them, whatever their outcomes."""
    ran_days_ago(journal, 60, failed=[(1, "events_track")], status=status)
    ran_days_ago(journal, 0, VIEWS[1:])
    prune(journal, NOW, None)
    assert kept(journal) == [1, 2]

    ran_days_ago(journal, 0, VIEWS[:1], reached=0, status="interrupted")
    prune(journal, NOW, None)
    assert kept(journal) == [2, 3]


def test_another_projects_later_run_does_not_supersede_pending_users(journal: Journal) -> None:
    """Users pending for one project must still be sent there."""
    ran_days_ago(journal, 60, reached=1, status="interrupted")
    ran_days_ago(journal, 0, project="eu:other")
    prune(journal, NOW, None)
    assert kept(journal) == [1, 2]


def test_a_run_without_its_results_file_is_kept(journal: Journal) -> None:
    """It was killed after its last call; --resume writes the file, or a later run has one."""
    ran_days_ago(journal, 60, status="running")
    journal.execute("UPDATE runs SET last_sent_recorded = 1")
    ran_days_ago(journal, 1, VIEWS[:1], kind="limited")
    prune(journal, NOW, None)
    assert kept(journal) == [1, 2]

    ran_days_ago(journal, 0)
    prune(journal, NOW, None)
    assert kept(journal) == [2, 3]


def test_the_chosen_run_is_kept(journal: Journal) -> None:
    """Whichever it is."""
    chosen = ran_days_ago(journal, 60)
    ran_days_ago(journal, 0)
    assert prune(journal, NOW, chosen) == 0


def test_a_clock_that_is_ahead_makes_no_run_old(journal: Journal) -> None:
    """The run before the chosen one is used as a clock, too."""
    ran_days_ago(journal, 2)
    ran_days_ago(journal, 1)
    chosen = ran_days_ago(journal, -400)
    assert prune(journal, NOW + timedelta(days=400), chosen) == 0


def test_a_run_alone_is_never_old(journal: Journal) -> None:
    """There is only this one clock to compare with."""
    ran_days_ago(journal, 60)
    assert prune(journal, NOW, None) == 0


def test_a_run_that_began_while_the_clock_was_behind_is_as_old_as_its_neighbours(
    journal: Journal,
) -> None:
    """For example a machine that starts in 1970 until it has synchronized its clock."""
    ran_days_ago(journal, 2)
    ran_days_ago(journal, 20_000)
    ran_days_ago(journal, 0)
    assert prune(journal, NOW, None) == 0


def test_a_run_dated_in_the_future_does_not_stop_pruning(journal: Journal) -> None:
    """It is kept until its time is over; the others are pruned when theirs is."""
    ran_days_ago(journal, -400)
    ran_days_ago(journal, 60)
    ran_days_ago(journal, 0)
    prune(journal, NOW, None)
    assert kept(journal) == [1, 3]


def test_the_latest_run_of_a_pending_user_is_kept(journal: Journal) -> None:
    """User 1 failed and was sent newer data: without that run, a retry would send the older."""
    ran_days_ago(journal, 60, failed=[(1, "events_track"), (3, "events_track")])
    ran_days_ago(journal, 50, VIEWS[:1])
    ran_days_ago(journal, 40, VIEWS[1:2])
    ran_days_ago(journal, 0, [])

    prune(journal, NOW, None)

    assert kept(journal) == [1, 2, 4]


def test_one_newer_run_for_a_pending_user_is_enough(journal: Journal) -> None:
    """A user that is in every run does not keep all of them."""
    ran_days_ago(journal, 60, failed=[(1, "events_track"), (3, "events_track")])
    ran_days_ago(journal, 50, VIEWS[:1])
    ran_days_ago(journal, 40, VIEWS[:1])
    ran_days_ago(journal, 0, VIEWS[:1])

    prune(journal, NOW, None)

    assert kept(journal) == [1, 4]


def test_what_an_unfinished_runs_delivered_users_were_sent_since_is_kept(journal: Journal) -> None:
    """When it is resumed and ends, their older data must not count as the last sent."""
    older = ran_days_ago(journal, 60, reached=1, status="interrupted")
    ran_days_ago(journal, 50, [VIEWS[0]._replace(first_name="B")], kind="limited")
    ran_days_ago(journal, 0, [])
    before = last_sent(journal, HEADER.project, [1])

    prune(journal, NOW, None)
    journal.resume(older)
    journal.finish(older, "completed", None, AT)

    assert last_sent(journal, HEADER.project, [1]) == before


def test_a_wrong_keys_run_is_superseded_by_the_right_one(journal: Journal) -> None:
    """It belonged to no project; any later run at the address counts."""
    reason = "Iterable refused the API key: check ITERABLE_API_KEY"
    ran_days_ago(journal, 60, status="stopped", stop_reason=reason, project="us:wrong", reached=0)
    ran_days_ago(journal, 0, VIEWS[1:])
    prune(journal, NOW, None)
    assert kept(journal) == [1, 2]

    ran_days_ago(journal, 0)
    prune(journal, NOW, None)
    assert kept(journal) == [2, 3]


def test_a_run_that_never_reached_iterable_is_kept_for_its_own_project(journal: Journal) -> None:
    """A later run with another key does not supersede it, delivered or not."""
    ran_days_ago(journal, 60, status="running", reached=0, project="us:other")
    journal.execute("UPDATE runs SET last_sent_recorded = 1")
    ran_days_ago(journal, 0)
    prune(journal, NOW, None)
    assert kept(journal) == [1, 2]
