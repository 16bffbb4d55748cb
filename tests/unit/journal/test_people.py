"""A person is found in every run, with the outcome of both calls."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from integration.core.models import CALLS, CallResult, Retries
from integration.journal.backlog import undelivered
from integration.journal.people import deliveries_to
from integration.journal.pruning import prune
from integration.journal.reading import JournalReader
from integration.journal.store import Journal
from tests.support.journals import AT, HEADER, OK, completed_run
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT_LAST = datetime(2026, 6, 13, tzinfo=UTC)
REFUSED = CallResult(
    success=False,
    response={"code": "InvalidEmailAddressError", "msg": "Invalid email"},
    status_code=400,
    attempts=1,
    error="client_error",
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def test_every_run_of_a_person_is_found_newest_first(journal: Journal) -> None:
    """Whatever the case of the email, and at whatever position."""
    for numbers in (range(1, 1502), range(1501, 1510), range(1, 10), range(1501, 0, -1)):
        completed_run(journal, [page_view(number) for number in numbers])

    found = deliveries_to(journal, "USER1501@Example.com")

    assert [(one.run.number, one.position) for one in found] == [(4, 1), (2, 1), (1, 1501)]
    assert [one.run.number for one in deliveries_to(journal, "user1501@example.com", 2)] == [4, 2]


def test_more_runs_of_a_person_cost_no_more_statements(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement of the window checks the journal's files."""
    made: list[str] = []
    for method in ("one", "all"):

        def watch(self: JournalReader, sql: str, *values: Any, method: str = method) -> Any:
            made.append(sql)
            return getattr(JournalReader, f"{method}_unseen")(self, sql, *values)

        monkeypatch.setattr(
            JournalReader, f"{method}_unseen", getattr(JournalReader, method), raising=False
        )
        monkeypatch.setattr(JournalReader, method, watch)
    for _ in range(12):
        completed_run(journal, [page_view(1), page_view(2)], failed=[(2, CALLS[0])])
    made.clear()

    found = deliveries_to(journal, "user2@example.com")

    assert [(one.run.number, one.outcome) for one in found] == [
        (number, "partial_failures") for number in range(12, 0, -1)
    ]
    assert len(made) < 6


def test_a_person_of_no_run_is_not_found(journal: Journal) -> None:
    """Nor is one without an email."""
    assert deliveries_to(journal, "user1@example.com") == []
    completed_run(journal, [page_view(1), page_view(2, "")])

    for email in ("user3@example.com", "user", ""):
        assert deliveries_to(journal, email) == []


def test_all_others_with_the_same_digest_are_ruled_out(journal: Journal) -> None:
    """Of 150,000 users, about two have the two bytes of any email."""
    views = [page_view(number) for number in range(1, 20_001)]
    completed_run(journal, views, reached=0)
    for number in (1, 999, 1000, 1001, 20_000):
        (found,) = deliveries_to(journal, f"user{number}@example.com")
        assert found.position == number
    for number in range(20_001, 20_101):
        assert deliveries_to(journal, f"user{number}@example.com") == []


def test_the_answer_of_each_call_is_known(journal: Journal) -> None:
    """Delivered, refused, rejected before the call, unchanged, and not attempted."""
    views = [page_view(1), page_view(2), page_view(3, "no-at-sign"), page_view(4)]
    run = journal.begin(HEADER, map(new_user, views))
    for position in (1, 2):
        journal.record([position], CALLS[0], OK, AT)
        journal.record([position], CALLS[1], OK if position == 1 else REFUSED, AT)
    journal.flush(run, Retries())
    journal.finish(run, "interrupted", "interrupted by SIGTERM", AT)
    again = replace(HEADER, run_id="again", incremental=True)
    journal.begin(again, map(new_user, views[:1]))

    unchanged, delivered = deliveries_to(journal, "user1@example.com")
    (refused,) = deliveries_to(journal, "user2@example.com")
    (rejected,) = deliveries_to(journal, "no-at-sign")
    (waiting,) = deliveries_to(journal, "user4@example.com")

    assert (delivered.outcome, delivered.at) == ("successful", AT)
    assert delivered.results == {CALLS[0]: OK, CALLS[1]: OK}
    assert refused.outcome == "partial_failures"
    assert refused.results == {CALLS[0]: OK, CALLS[1]: REFUSED}
    assert rejected.outcome == "total_failures"
    assert {one.error for one in rejected.results.values()} == {"invalid_record"}
    assert unchanged.outcome == "unchanged"
    assert (waiting.outcome, waiting.at) == ("not_attempted", None)
    assert {one.error for one in waiting.results.values()} == {"not_attempted"}


def test_a_retried_person_is_found_in_both_runs(journal: Journal) -> None:
    """A retry copies its users."""
    views = [page_view(number) for number in range(1, 2502)]
    completed_run(journal, views, failed=[(1, CALLS[0])], reached=1000)
    source = undelivered(journal, None)
    assert source
    journal.begin_retry(replace(HEADER, run_id="retry", kind="retry"), source)

    for number, place in ((1, 1), (1001, 2), (2501, 1502)):
        retried, first = deliveries_to(journal, f"user{number}@example.com")
        assert (retried.position, first.position) == (place, number)


def test_a_deleted_run_leaves_no_digests(journal: Journal) -> None:
    """They are deleted with its users."""
    completed_run(journal, [page_view(1)])
    newer = replace(HEADER, run_id="newer", started_at="2026-06-13T14:30:45+00:00")
    journal.begin(newer, [new_user(page_view(2))])

    assert prune(journal, AT_LAST, None) == 1
    assert journal.all("SELECT run FROM email_digests") == [(2,)]
