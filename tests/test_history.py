"""What earlier runs mean for the next one, on real journals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from history import (
    finished_run,
    last_sent,
    past_run,
    past_runs,
    prune,
    settle_crashed_runs,
    unfinished_run,
)
from journal import Journal
from records import CALLS, CallResult, Retries, RunHeader
from tests.users import page_view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from records import Call, PageView, RunKind

HEADER = RunHeader(
    "run-1", "2026-01-13T14:30:45+00:00", "API Key", "a.csv", "a.json", False, "full", "project"
)
AT = "2026-01-13T14:30:46+00:00"
OK = CallResult(success=True, response={"code": "Success"}, status_code=200, attempts=1, error=None)
FAILED = CallResult(success=False, response=None, status_code=None, attempts=3, error="timeout")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def ran(
    journal: Journal,
    views: list[PageView],
    failed: tuple[tuple[int, Call], ...] = (),
    *,
    status: str = "completed",
    kind: RunKind = "full",
    incremental: bool = False,
) -> int:
    """A run that came to its end, in which these calls failed."""
    number = len(past_runs(journal, 1000)) + 1
    header = replace(HEADER, run_id=f"run-{number}", kind=kind)
    run = journal.begin(header, views, incremental=incremental)
    for user in journal.pending(run):
        for call in user.calls:
            result = FAILED if (user.position, call) in failed else OK
            journal.record(run, [user.position], call, result, AT)
    journal.flush(run, Retries())
    if status != "running":
        journal.finish(run, status, None, AT)
    return run


def unchanged(journal: Journal, views: list[PageView]) -> int:
    """How many users an incremental run would leave out."""
    run = journal.begin(replace(HEADER, run_id="probe"), views, incremental=True)
    count = past_run(journal, run).counts.unchanged
    journal.execute("DELETE FROM runs WHERE run = ?", (run,))
    journal.execute("DELETE FROM users WHERE run = ?", (run,))
    journal.execute("DELETE FROM outcomes WHERE run = ?", (run,))
    return count


VIEWS = [page_view(number) for number in (1, 2, 3)]


def test_what_was_delivered_is_unchanged_the_next_time(journal: Journal) -> None:
    """Nobody is open, everybody is accounted for."""
    ran(journal, VIEWS)

    run = ran(journal, VIEWS, incremental=True)

    assert past_run(journal, run).counts.unchanged == 3
    assert list(journal.pending(run)) == []
    assert all(outcome.success for outcome in journal.outcomes(run))


def test_a_changed_plan_and_a_new_view_are_sent(journal: Journal) -> None:
    """Either makes the user one to be sent; the third stays unchanged."""
    ran(journal, VIEWS)
    changed = VIEWS[0]._replace(plan_type="enterprise")
    viewed = VIEWS[1]._replace(page="settings")

    run = ran(journal, [changed, viewed, VIEWS[2]], incremental=True)

    counts = past_run(journal, run).counts
    assert (counts.successful, counts.unchanged) == (2, 1)


@pytest.mark.parametrize("call", CALLS)
def test_a_failed_call_leaves_nothing_known(journal: Journal, call: Call) -> None:
    """Its answer may be lost: Iterable may have it or not, so the user is sent again."""
    ran(journal, VIEWS)
    ran(journal, VIEWS, failed=((2, call),))

    assert unchanged(journal, VIEWS) == 2


def test_a_killed_run_leaves_nothing_known_of_those_it_did_not_reach(journal: Journal) -> None:
    """A call may have been under way: A was sent, B maybe, then A is no longer certain."""
    ran(journal, VIEWS)
    changed = [view._replace(first_name="B") for view in VIEWS]
    journal.begin(replace(HEADER, run_id="killed"), changed)

    settle_crashed_runs(journal)

    assert unchanged(journal, VIEWS) == 0


def test_another_project_has_been_sent_nothing(journal: Journal) -> None:
    """A new key or address does not inherit what another one has."""
    ran(journal, VIEWS)

    assert set(last_sent(journal, "project", [1, 2, 3])) == {1, 2, 3}
    assert last_sent(journal, "another", [1, 2, 3]) == {}


def test_unchanged_users_stay_known(journal: Journal) -> None:
    """Day after day, as long as nothing changes."""
    ran(journal, VIEWS)

    for _ in range(3):
        run = ran(journal, VIEWS, incremental=True)
        assert past_run(journal, run).counts.unchanged == 3


@pytest.mark.parametrize("status", ["running", "stopped", "interrupted"])
def test_the_newest_run_that_did_not_finish_is_found(journal: Journal, status: str) -> None:
    """Killed, stopped or interrupted: it can be gone on with."""
    ran(journal, VIEWS)
    run = ran(journal, VIEWS, status=status)

    assert unfinished_run(journal) == run


@pytest.mark.parametrize(("kind", "found"), [("full", False), ("limited", True), ("retry", True)])
def test_a_later_whole_run_makes_up_for_an_unfinished_one(
    journal: Journal, kind: RunKind, found: bool
) -> None:
    """It sent everybody newer data, which the older run must not overwrite."""
    run = ran(journal, VIEWS, status="interrupted")
    ran(journal, VIEWS, kind=kind)

    assert unfinished_run(journal) == (run if found else None)


def test_a_retry_takes_only_those_who_are_open_and_only_their_open_calls(
    journal: Journal,
) -> None:
    """What succeeded is not sent again, and stands in the new results as it was."""
    source = ran(journal, VIEWS, failed=((1, "events_track"), (3, "users_update")))

    run = journal.begin_retry(replace(HEADER, run_id="retry", kind="retry"), source)

    assert finished_run(journal) == source
    assert [(user.position, user.email, user.calls) for user in journal.pending(run)] == [
        (1, "user1@example.com", ("events_track",)),
        (2, "user3@example.com", ("users_update",)),
    ]
    first = next(journal.outcomes(run))
    assert orjson.loads(first.users_update)["success"] is True
    assert orjson.loads(first.events_track)["error"] == "not_attempted"


def test_a_retry_keeps_who_can_never_be_sent(journal: Journal) -> None:
    """An invalid record stays a failure with its reason."""
    source = ran(journal, [page_view(1, "nobody"), page_view(2)])

    run = journal.begin_retry(replace(HEADER, run_id="retry", kind="retry"), source)

    assert (journal.total_users(run), list(journal.pending(run))) == (1, [])
    assert past_run(journal, run).counts.total_failures == 1


def test_old_runs_are_forgotten_but_not_what_was_sent(journal: Journal) -> None:
    """The file does not grow for ever, and --incremental goes on working."""
    ran(journal, VIEWS)

    assert prune(journal, "2026-01-13T00:00:00+00:00") == 0
    assert prune(journal, "2026-01-14T00:00:00+00:00") == 1

    assert past_runs(journal, 10) == []
    assert journal.one("SELECT (SELECT COUNT(*) FROM users) + COUNT(*) FROM outcomes") == (0,)
    assert unchanged(journal, VIEWS) == 3


def test_a_resumed_run_adds_its_repeats_to_the_earlier_ones(journal: Journal) -> None:
    """One run, one count of retries."""
    run = journal.begin(HEADER, VIEWS)
    journal.flush(run, Retries((("503", 2),), 3.0))

    journal.resume(run)
    journal.flush(run, Retries((("503", 1), ("timeout", 1)), 2.5))

    assert past_run(journal, run).record.retries == Retries((("503", 3), ("timeout", 1)), 5.5)


def test_a_resumed_run_that_is_killed_leaves_what_it_delivered_until_then(
    journal: Journal,
) -> None:
    """It was settled when it was interrupted, and is again by the run after the kill."""
    run = journal.begin(HEADER, VIEWS)
    journal.finish(run, "interrupted", "interrupted by SIGTERM", AT)
    journal.resume(run)
    for call in CALLS:
        journal.record(run, [1], call, OK, AT)
    journal.flush(run, Retries())

    settle_crashed_runs(journal)

    record = past_run(journal, run).record
    assert (record.status, record.stop_reason, record.finished_at) == ("running", None, None)
    assert unchanged(journal, VIEWS) == 1
