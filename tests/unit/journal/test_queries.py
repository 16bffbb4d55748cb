"""The outcomes of earlier runs and the data they sent, on real journals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from integration.core.models import CALLS, Counts, Retries
from integration.journal.queries import (
    count_outcomes,
    last_sent,
    read_run,
    record_last_sent_of_crashed_runs,
)
from integration.journal.store import Journal
from tests.support.journals import AT, HEADER, OK, completed_run
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.core.models import Call, PageView


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def unchanged(journal: Journal, views: list[PageView]) -> int:
    """How many users an incremental run would leave out."""
    run = journal.begin(replace(HEADER, run_id="probe", incremental=True), map(new_user, views))
    count = count_outcomes(journal, run).unchanged
    for table in ("runs", "users", "packed_rows", "email_digests", "outcomes"):
        journal.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
    return count


VIEWS = [page_view(number) for number in (1, 2, 3)]


def test_what_was_delivered_is_unchanged_the_next_time(journal: Journal) -> None:
    """No user is pending, every user is accounted for."""
    completed_run(journal, VIEWS)

    run = completed_run(journal, VIEWS, incremental=True)

    assert count_outcomes(journal, run).unchanged == 3
    assert list(journal.pending(run)) == []
    assert all(outcome.success for outcome in journal.outcomes(run))


def test_a_changed_plan_and_a_new_view_are_sent(journal: Journal) -> None:
    """Either change makes the user pending; the third stays unchanged."""
    completed_run(journal, VIEWS)
    changed = VIEWS[0]._replace(plan_type="enterprise")
    viewed = VIEWS[1]._replace(page="settings")

    run = completed_run(journal, [changed, viewed, VIEWS[2]], incremental=True)

    counts = count_outcomes(journal, run)
    assert (counts.successful, counts.unchanged) == (2, 1)


@pytest.mark.parametrize("call", CALLS)
def test_a_failed_call_erases_what_was_last_sent(journal: Journal, call: Call) -> None:
    """Iterable may or may not have applied it, so the user is sent again."""
    completed_run(journal, VIEWS)
    completed_run(journal, VIEWS, failed=((2, call),))

    assert unchanged(journal, VIEWS) == 2


def test_a_killed_run_erases_what_was_last_sent_to_users_it_did_not_reach(journal: Journal) -> None:
    """A call may have been in flight: A was sent, then perhaps B, so A is no longer certain."""
    completed_run(journal, VIEWS)
    changed = [view._replace(first_name="B") for view in VIEWS]
    journal.begin(replace(HEADER, run_id="killed"), map(new_user, changed))

    record_last_sent_of_crashed_runs(journal)

    assert unchanged(journal, VIEWS) == 0


def test_an_older_run_that_ends_later_does_not_change_what_is_known(journal: Journal) -> None:
    """A customer was sent newer data since: if the old data returns, it is sent again."""
    older = completed_run(journal, VIEWS, reached=1, status="interrupted")
    completed_run(journal, [VIEWS[0]._replace(first_name="B")], kind="limited")

    journal.resume(older)
    journal.finish(older, "completed", None, AT)

    assert unchanged(journal, VIEWS[:1]) == 0


def test_another_project_has_been_sent_nothing(journal: Journal) -> None:
    """A new key or address does not inherit what another one has sent."""
    completed_run(journal, VIEWS)

    assert set(last_sent(journal, "us:key", [1, 2, 3])) == {1, 2, 3}
    assert last_sent(journal, "another", [1, 2, 3]) == {}


def test_unchanged_users_stay_known(journal: Journal) -> None:
    """Day after day, as long as nothing changes."""
    completed_run(journal, VIEWS)

    for _ in range(3):
        run = completed_run(journal, VIEWS, incremental=True)
        assert count_outcomes(journal, run).unchanged == 3


def test_a_resumed_run_adds_its_repeats_to_the_earlier_ones(journal: Journal) -> None:
    """One run, one count of retries."""
    run = journal.begin(HEADER, map(new_user, VIEWS))
    journal.flush(run, Retries((("503", 2),), 3.0))

    journal.resume(run)
    journal.flush(run, Retries((("503", 1), ("timeout", 1)), 2.5))

    assert read_run(journal, run).retries == Retries((("503", 3), ("timeout", 1)), 5.5)


def test_a_resumed_run_that_is_killed_leaves_what_it_delivered_until_then(
    journal: Journal,
) -> None:
    """What was last sent is recorded at the interruption, and again by the run after the kill."""
    run = journal.begin(HEADER, map(new_user, VIEWS))
    journal.finish(run, "interrupted", "interrupted by SIGTERM", AT)
    journal.resume(run)
    for call in CALLS:
        journal.record([1], call, OK, AT)
    journal.flush(run, Retries())

    record_last_sent_of_crashed_runs(journal)

    record = read_run(journal, run)
    assert (record.status, record.stop_reason, record.finished_at) == ("running", None, None)
    assert unchanged(journal, VIEWS) == 1


def test_the_counts_of_an_ended_run_are_stored(journal: Journal) -> None:
    """They need not be counted again; those of a resumed run change, and are."""
    views = [page_view(number) for number in range(1, 11)]
    run = completed_run(journal, views, failed=[(1, CALLS[0])], reached=8, status="interrupted")
    counts = Counts(successful=7, partial_failures=1, not_attempted=2)
    journal.execute("SAVEPOINT before")
    journal.execute("DELETE FROM outcomes")
    assert count_outcomes(journal, run) == counts
    journal.execute("ROLLBACK TO before")
    journal.execute("RELEASE before")

    journal.resume(run)
    assert count_outcomes(journal, run) == counts
    journal.record([1], CALLS[0], OK, AT)
    journal.flush(run, Retries())
    assert count_outcomes(journal, run) == Counts(successful=8, not_attempted=2)
    journal.finish(run, "completed", None, AT)
    assert count_outcomes(journal, run) == Counts(successful=8, not_attempted=2)
