"""The users that earlier runs left pending, on real journals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from integration.core.models import CALLS, Retries
from integration.journal.backlog import (
    defer_to_newer_runs,
    of_another_project,
    undelivered,
    unfinished,
    unsendable,
)
from integration.journal.queries import count_outcomes, read_run
from integration.journal.reading import JournalReader
from integration.journal.store import Journal
from tests.support.journals import (
    AT,
    FAILED,
    HEADER,
    completed_run,
    pending_emails,
    pending_users,
)
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.core.models import RunKind
    from integration.journal.backlog import Backlog

OURS = HEADER.project
VIEWS = [page_view(number) for number in (1, 2, 3)]
REFUSED: Any = {
    "reached": 0,
    "status": "stopped",
    "stop_reason": "Iterable refused the API key: check ITERABLE_API_KEY",
}
RETRY = replace(HEADER, run_id="retry", kind="retry")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def seen(backlog: Backlog | None) -> tuple[int, int] | None:
    """The run and the number of its pending users."""
    return (backlog.run.number, backlog.pending_users) if backlog else None


def found(backlog: Backlog | None) -> Backlog:
    """A backlog that must exist."""
    assert backlog
    return backlog


class TestUnfinished:
    """Users that a run did not reach."""

    @pytest.mark.parametrize("status", ["running", "stopped", "interrupted"])
    def test_the_newest_run_that_did_not_finish_is_found(
        self, journal: Journal, status: str
    ) -> None:
        """Killed, stopped or interrupted: it can be resumed."""
        completed_run(journal, VIEWS)
        completed_run(journal, [*VIEWS, page_view(4)], reached=0, status="stopped")
        run = completed_run(journal, VIEWS, reached=1, status=status)
        assert seen(unfinished(journal, OURS)) == (run, 2)

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("Moved@example.com", "moved@example.com"),
            ("moved@example.com", "MOVED@Example.com"),
            ("ÄÖ.Müller@example.com", "äö.MÜLLER@example.com"),
        ],
    )
    def test_an_email_that_moved_to_another_customer_belongs_to_the_newer_run(
        self, journal: Journal, before: str, after: str
    ) -> None:
        """A profile in Iterable is one email: older data must not overwrite newer."""
        old = [page_view(5)._replace(email=before), page_view(7)]
        run = completed_run(journal, old, reached=0, status="stopped")
        completed_run(journal, [page_view(6)._replace(email=after)])
        backlog = found(unfinished(journal, OURS))
        assert seen(backlog) == seen(undelivered(journal, OURS)) == (run, 1)
        defer_to_newer_runs(journal, backlog, AT)
        assert pending_emails(journal, run) == ["user7@example.com"]
        assert count_outcomes(journal, run).unchanged == 1

    def test_a_run_that_finished_is_not(self, journal: Journal) -> None:
        """A user that it could not deliver is a failure, not unfinished work."""
        completed_run(journal, VIEWS, failed=[(1, "events_track")])
        assert unfinished(journal, OURS) is None

    @pytest.mark.parametrize("kind", ["full", "limited", "retry"])
    def test_later_runs_supersede_it_for_the_users_they_have(
        self, journal: Journal, kind: RunKind
    ) -> None:
        """Their newer data counts, even if it failed; the others stay pending."""
        run = completed_run(journal, VIEWS, reached=0, status="interrupted")
        completed_run(journal, VIEWS[:1], kind=kind)
        assert seen(unfinished(journal, OURS)) == (run, 2)
        completed_run(journal, VIEWS[1:], failed=[(1, "users_update")], kind=kind)
        assert unfinished(journal, OURS) is None

    def test_a_user_who_left_the_list_before_the_next_run_stays_pending(
        self, journal: Journal
    ) -> None:
        """For example after seven days: no later run has them, so only this one can send them."""
        run = completed_run(journal, VIEWS, reached=2, status="running")
        completed_run(journal, VIEWS[:2])
        assert seen(unfinished(journal, OURS)) == (run, 1)

    def test_users_that_a_later_run_did_not_reach_belong_to_the_later_run(
        self, journal: Journal
    ) -> None:
        """Newest first: then there is nothing left of the older run."""
        completed_run(journal, VIEWS, reached=0, status="interrupted")
        later = completed_run(journal, VIEWS, reached=1, status="interrupted")
        assert seen(unfinished(journal, OURS)) == (later, 2)
        completed_run(journal, VIEWS[1:])
        assert unfinished(journal, OURS) is None

    def test_a_run_that_crashed_after_its_last_call_lacks_its_results_file(
        self, journal: Journal
    ) -> None:
        """No user is pending, but --resume has a file to write, until a later whole run has one."""
        run = completed_run(journal, VIEWS, status="running")
        completed_run(journal, VIEWS[:1], kind="limited")
        assert seen(unfinished(journal, OURS)) == (run, 0)
        completed_run(journal, VIEWS)
        assert unfinished(journal, OURS) is None

    def test_its_retry_has_taken_over(self, journal: Journal) -> None:
        """Resuming both would send every user twice."""
        completed_run(journal, VIEWS, reached=0, status="interrupted")
        run = journal.begin_retry(RETRY, found(undelivered(journal, OURS)))
        assert seen(unfinished(journal, OURS)) == (run, 3)

    def test_users_that_later_runs_have_are_left_to_them(self, journal: Journal) -> None:
        """A resumed run counts them as unchanged, and sends only the others."""
        run = completed_run(journal, VIEWS, reached=0, status="interrupted")
        completed_run(journal, VIEWS[:2])
        defer_to_newer_runs(journal, found(unfinished(journal, OURS)), AT)
        assert pending_emails(journal, run) == ["user3@example.com"]
        assert count_outcomes(journal, run).unchanged == 2

    def test_users_that_a_later_run_could_not_deliver_are_not_called_unchanged(
        self, journal: Journal
    ) -> None:
        """The later run supersedes it, but the results say that nothing was sent."""
        run = completed_run(journal, VIEWS, reached=0, status="interrupted")
        completed_run(journal, VIEWS[:2], failed=[(1, "events_track")], kind="limited")
        defer_to_newer_runs(journal, found(unfinished(journal, OURS)), AT)

        assert pending_emails(journal, run) == ["user3@example.com"]
        counts = count_outcomes(journal, run)
        assert (counts.unchanged, counts.not_attempted, counts.total_users) == (1, 2, 3)
        left = next(journal.outcomes(run))
        assert not left.success
        result = orjson.loads(left.users_update)
        assert (result["success"], result["error"]) == (False, "not_attempted")
        assert result["response"] == "not sent: a later run has newer data"


class TestUndelivered:
    """Users that a run could not deliver."""

    def test_a_retry_has_only_pending_users_and_only_their_pending_calls(
        self, journal: Journal
    ) -> None:
        """Delivered calls are not repeated, and are in the new results unchanged."""
        source = completed_run(journal, VIEWS, failed=[(1, "events_track"), (3, "users_update")])

        backlog = found(undelivered(journal, OURS))
        run = journal.begin_retry(RETRY, backlog)

        assert seen(backlog) == (source, 2)
        assert count_outcomes(journal, run).total_users == 2
        assert [(user.email, user.calls) for user in pending_users(journal, run)] == [
            ("user1@example.com", ("events_track",)),
            ("user3@example.com", ("users_update",)),
        ]
        first = next(journal.outcomes(run))
        assert orjson.loads(first.users_update)["success"] is True
        assert orjson.loads(first.events_track)["error"] == "not_attempted"

    def test_a_retry_skips_users_that_can_never_be_sent(self, journal: Journal) -> None:
        """An invalid record fails in the run that found it, and in no retry of it."""
        source = completed_run(
            journal, [page_view(1, "no-at-sign"), *VIEWS[1:]], failed=[(3, "events_track")]
        )

        backlog = found(undelivered(journal, OURS))
        run = journal.begin_retry(RETRY, backlog)

        assert seen(backlog) == (source, 1)
        assert pending_emails(journal, run) == ["user3@example.com"]
        assert count_outcomes(journal, run).total_users == 1

    @pytest.mark.parametrize("status", ["completed", "interrupted", "running"])
    def test_a_run_whose_only_failures_can_never_be_sent_is_not_pending(
        self, journal: Journal, status: str
    ) -> None:
        """Neither --resume nor --retry-failed would make a call."""
        completed_run(journal, [page_view(1, "no-at-sign"), page_view(2)], status=status)
        completed_run(journal, [])
        assert unfinished(journal, OURS) is None
        assert undelivered(journal, OURS) is None
        assert of_another_project(journal, "us:other") is None

    def test_users_that_can_never_be_sent_are_counted_in_the_latest_run_that_has_them(
        self, journal: Journal
    ) -> None:
        """By reason; a later run with a corrected email supersedes it."""
        assert unsendable(journal, OURS) is None
        completed_run(journal, [page_view(1, "no-at-sign"), page_view(2, ""), page_view(3, "none")])
        completed_run(journal, [page_view(1)])
        told = unsendable(journal, OURS)
        assert told
        assert told.run.number == 1
        assert told.reasons == (
            ("not sent: the customer has no email", 1),
            ("not sent: the email has no @", 1),
        )
        assert unsendable(journal, "us:other") is None

    def test_a_resumed_run_does_not_call_users_unchanged_that_it_could_never_send(
        self, journal: Journal
    ) -> None:
        """A later run delivered the corrected email; this one still failed."""
        run = completed_run(
            journal, [page_view(1, "no-at-sign"), *VIEWS[1:]], reached=0, status="interrupted"
        )
        completed_run(journal, VIEWS[:2])
        defer_to_newer_runs(journal, found(unfinished(journal, OURS)), AT)
        counts = count_outcomes(journal, run)
        assert (counts.total_failures, counts.unchanged, counts.not_attempted) == (1, 1, 1)

    def test_a_retry_keeps_the_delivery_mode_of_its_run(self, journal: Journal) -> None:
        """For one user within a short time Iterable recommends one kind of call."""
        source = completed_run(journal, VIEWS, failed=[(1, "events_track")])
        journal.set_mode(source, "bulk")
        run = journal.begin_retry(RETRY, found(undelivered(journal, OURS)))
        assert read_run(journal, run).mode == "bulk"

    def test_a_later_run_of_others_hides_no_user(self, journal: Journal) -> None:
        """`--limit 1` succeeded: users that the full run could not deliver are still pending."""
        run = completed_run(journal, VIEWS, failed=[(3, "events_track")])
        completed_run(journal, VIEWS[:1], kind="limited")
        assert seen(undelivered(journal, OURS)) == (run, 1)

    def test_a_later_call_to_the_same_user_supersedes_the_failure(self, journal: Journal) -> None:
        """A retry of the older run would send older data."""
        completed_run(journal, VIEWS, failed=[(1, "events_track"), (3, "events_track")])
        completed_run(journal, VIEWS[:1], kind="limited")

        run = journal.begin_retry(RETRY, found(undelivered(journal, OURS)))

        assert pending_emails(journal, run) == ["user3@example.com"]

    def test_users_of_a_later_run_are_left_to_it(self, journal: Journal) -> None:
        """It crashed: its call may have been in flight, and if not, it has newer data."""
        completed_run(journal, VIEWS, failed=[(3, "events_track")])
        completed_run(journal, VIEWS[2:], reached=0, status="running")
        assert undelivered(journal, OURS) is None

    def test_a_run_that_is_running_or_crashed_is_not_finished(self, journal: Journal) -> None:
        """It is left to --resume."""
        completed_run(journal, VIEWS, failed=[(1, "events_track")], status="running")
        assert undelivered(journal, OURS) is None


class TestProjects:
    """Users pending for one Iterable project are not sent to another."""

    @pytest.mark.parametrize("theirs", ["us:other", "eu:key"])
    def test_a_run_of_another_project_is_not_resumed(self, journal: Journal, theirs: str) -> None:
        """It is named, for operators who know the settings that it started with."""
        run = completed_run(journal, VIEWS, reached=1, status="interrupted", project=theirs)
        assert unfinished(journal, OURS) is None
        assert undelivered(journal, OURS) is None
        assert seen(of_another_project(journal, OURS)) == (run, 2)
        assert of_another_project(journal, theirs) is None

    def test_another_projects_later_run_supersedes_nothing(self, journal: Journal) -> None:
        """It does not show what our project has."""
        run = completed_run(journal, VIEWS, reached=1, status="interrupted")
        completed_run(journal, VIEWS, project="us:other")
        assert seen(unfinished(journal, OURS)) == (run, 2)
        assert seen(of_another_project(journal, "us:other")) == (run, 2)

    def test_a_corrected_key_resumes_the_run_of_the_wrong_one(self, journal: Journal) -> None:
        """A different key means a different project, in which nothing has been delivered yet."""
        run = completed_run(journal, VIEWS, project="us:wrong", **REFUSED)
        assert seen(unfinished(journal, OURS)) == (run, 3)
        assert of_another_project(journal, OURS) is None

    @pytest.mark.parametrize(
        ("status", "stop_reason"),
        [
            ("running", None),
            ("interrupted", "interrupted by SIGTERM"),
            ("stopped", "Iterable is unreachable: 20 consecutive calls exhausted their attempts"),
            ("completed", None),
        ],
    )
    def test_only_a_refused_key_is_a_wrong_one(
        self, journal: Journal, status: str, stop_reason: str | None
    ) -> None:
        """If anything else ended the run before it delivered anything, the key may be right."""
        project = "us:other"
        run = completed_run(
            journal, VIEWS, reached=0, status=status, stop_reason=stop_reason, project=project
        )
        assert unfinished(journal, OURS) is None
        assert undelivered(journal, OURS) is None
        assert seen(of_another_project(journal, OURS)) == (run, 3)

    def test_a_key_that_delivered_before_it_was_refused_is_not_changed(
        self, journal: Journal
    ) -> None:
        """It belongs to its project; the other key may belong to another."""
        run = completed_run(journal, VIEWS, project="us:other", **{**REFUSED, "reached": 1})
        assert unfinished(journal, OURS) is None
        assert seen(of_another_project(journal, OURS)) == (run, 2)

    def test_a_full_run_with_the_corrected_key_supersedes_it(self, journal: Journal) -> None:
        """Even when the key is changed again."""
        completed_run(journal, VIEWS, project="us:wrong", **REFUSED)
        completed_run(journal, VIEWS)
        for key in (OURS, "us:next"):
            assert unfinished(journal, key) is None
            assert of_another_project(journal, key) is None

    def test_a_run_at_a_wrong_address_is_superseded_at_the_right_one(
        self, journal: Journal
    ) -> None:
        """No user was sent. Until then its run is named, and not sent to another address."""
        run = completed_run(journal, VIEWS, reached=0, status="stopped", project="nowhere:key")
        assert unfinished(journal, OURS) is None
        assert seen(of_another_project(journal, OURS)) == (run, 3)
        completed_run(journal, VIEWS)
        assert of_another_project(journal, OURS) is None

    def test_unchanged_users_were_delivered_to_the_project_before(self, journal: Journal) -> None:
        """Therefore the key that the run started with was not wrong."""
        completed_run(journal, VIEWS)
        changed = [VIEWS[0]._replace(plan_type="free"), *VIEWS[1:]]
        run = completed_run(journal, changed, reached=0, status="stopped", incremental=True)
        assert unfinished(journal, "us:other") is None
        assert seen(of_another_project(journal, "us:other")) == (run, 1)

    def test_a_failed_call_is_no_delivery(self, journal: Journal) -> None:
        """A wrong key leaves one user whose calls were refused."""
        run = journal.begin(replace(HEADER, project="us:wrong"), map(new_user, VIEWS))
        journal.record([1], "users_update", FAILED, AT)
        journal.flush(run, Retries())
        journal.finish(run, "stopped", "Iterable refused the API key", AT)
        assert seen(unfinished(journal, OURS)) == (run, 3)


def test_users_that_failed_weeks_ago_cost_no_look_at_all_users(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few are looked up by their emails; only if one is not found, the users are collected."""
    views = [page_view(number) for number in range(1, 6)]
    collected: list[str] = []
    one = JournalReader.one

    def watch(self: JournalReader, sql: str, *parameters: Any) -> Any:
        collected.extend([sql] if "NOT (customer_id IN" in sql else [])
        return one(self, sql, *parameters)

    monkeypatch.setattr(JournalReader, "one", watch)
    completed_run(journal, views, failed=[(1, CALLS[0]), (2, CALLS[1])])
    completed_run(journal, [views[0]])
    completed_run(journal, views[1:])
    assert undelivered(journal, OURS) is None
    assert collected == []

    run = completed_run(journal, views, failed=[(1, CALLS[0]), (2, CALLS[1])])
    completed_run(journal, views[1:])
    assert seen(found(undelivered(journal, OURS))) == (run, 1)
    assert len(collected) == 1


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries for several rows, as they are made."""
    made: list[str] = []
    read = JournalReader.all

    def watch(self: JournalReader, sql: str, *parameters: Any) -> Any:
        made.append(sql)
        return read(self, sql, *parameters)

    monkeypatch.setattr(JournalReader, "all", watch)
    return made


def test_runs_without_rejected_users_cost_nothing(journal: Journal, statements: list[str]) -> None:
    """Whether all their calls succeeded or some failed."""
    first = completed_run(journal, [*VIEWS, page_view(9, "no-at-sign")])
    for number in range(20):
        completed_run(journal, VIEWS, failed=[(1, CALLS[0])] if number % 2 else [])
    statements.clear()
    found_in = unsendable(journal, None)
    assert found_in
    assert (found_in.run.number, sum(users for _, users in found_in.reasons)) == (first, 1)
    assert len([sql for sql in statements if "rejected_users" in sql]) == 2


def test_rejected_users_of_newer_runs_cost_no_look_at_all_users(
    journal: Journal, statements: list[str]
) -> None:
    """They are looked up by their emails."""
    for _ in range(5):
        completed_run(journal, [*VIEWS, page_view(9, "no-at-sign")])
    journal.execute("UPDATE outcomes SET users_update_status = 0 WHERE run = 5 AND first = 4")
    statements.clear()
    assert unsendable(journal, None) is None
    assert not [sql for sql in statements if "NOT (customer_id IN" in sql]


@pytest.mark.parametrize("status", ["completed", "running", "stopped"])
def test_rejected_users_are_found_whatever_a_run_has_stored(journal: Journal, status: str) -> None:
    """A run that crashed has no counts yet."""
    run = completed_run(journal, [*VIEWS, page_view(9, "no-at-sign")], reached=1, status=status)
    found_in = unsendable(journal, None)
    assert found_in
    assert found_in.run.number == run


def test_a_run_whose_counts_are_outdated_may_have_pending_users(journal: Journal) -> None:
    """While it is resumed, they are those of its first end."""
    run = completed_run(journal, VIEWS)
    journal.execute("UPDATE runs SET successful = NULL WHERE run = ?", (run,))
    journal.execute(
        "UPDATE outcomes SET events_track_status = 0 WHERE run = ? AND first = 1", (run,)
    )
    assert seen(undelivered(journal, OURS)) == (run, 3)
