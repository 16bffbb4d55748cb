"""Journals of earlier versions, built by the statements of their time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.core.models import CALLS, Counts
from integration.delivery.new_users import email_of
from integration.journal.backlog import undelivered, unfinished, unsendable
from integration.journal.migrations import _email_key
from integration.journal.people import deliveries_to
from integration.journal.queries import count_outcomes, record_last_sent_of_crashed_runs
from integration.journal.schema import CallStatus, email_key, invalid_json, unchanged_json
from integration.journal.store import Journal
from tests.support.journals import (
    HEADER,
    assert_whole,
    completed_run,
    csv_text_of,
    emails,
    pending_emails,
    pending_users,
)
from tests.support.old_journals import Outcome, old_journal, old_user
from tests.support.users import page_view

if TYPE_CHECKING:
    from pathlib import Path

# Version 5 is the last one whose users were stored without digests.
VERSIONS = range(1, 6)
REASON = "not sent: the email has no @"
REJECTED = invalid_json(REASON)
# What the versions stored of each user; a rejected one was a failed one up to version 3.
OLD_OUTCOMES: list[Outcome] = [
    (1, "{}", 1, "{}"),  # delivered
    (1, "{}", 0, "{}"),  # profile only
    (0, '{"error":"server_error"}', 0, "{}"),
    (0, REJECTED, 0, REJECTED),
    (2, unchanged_json("unchanged"), 2, "{}"),
    (3, '{"error":"not_attempted"}', 3, "{}"),
    (None, None, 1, "{}"),  # event only
]
USERS = len(OLD_OUTCOMES) + 1  # the last one has no outcome
# Positions of a retry run, which had those of its source.
GAPS = [2, 3, 5, 999, 1000, 1001, 1002, 4000]
DELIVERED: Outcome = (1, '{"success":true}', 1, '{"success":true}')
PROFILE_ONLY: Outcome = (1, '{"success":true}', None, None)


def outcome_in(version: int, outcome: Outcome) -> Outcome:
    """An outcome as this version stored it."""
    is_rejected = version >= 4 and outcome[1] == REJECTED
    return (4, REJECTED, 4, REJECTED) if is_rejected else outcome


@pytest.mark.parametrize("positions", [range(1, USERS + 1), GAPS], ids=["dense", "gaps"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_outcomes_of_an_old_journal_stay_what_they_were(
    tmp_path: Path, version: int, positions: list[int]
) -> None:
    """Delivered, failed, rejected, unchanged, superseded and not attempted."""
    outcomes = [*(outcome_in(version, outcome) for outcome in OLD_OUTCOMES), None]
    users = [
        old_user(position, page_view(number), outcome)
        for number, (position, outcome) in enumerate(zip(positions, outcomes, strict=True), start=1)
    ]
    old_journal(tmp_path / "journal.db", version, users)

    with Journal(tmp_path / "journal.db") as journal:
        assert_whole(journal, 1)
        assert count_outcomes(journal, 1) == Counts(
            successful=1, partial_failures=2, total_failures=2, not_attempted=2, unchanged=1
        )
        assert csv_text_of(journal, 1) == "".join(user.csv_line for user in users)
        assert emails(journal, 1) == [user.email for user in users]
        assert [(user.position, user.email, user.calls) for user in pending_users(journal, 1)] == [
            (2, "user2@example.com", CALLS[1:]),
            (3, "user3@example.com", CALLS),
            (7, "user7@example.com", CALLS[:1]),
            (8, "user8@example.com", CALLS),
        ]
        backlog, rejected = undelivered(journal, None), unsendable(journal, None)
        assert backlog
        assert backlog.pending_users == 4
        assert rejected
        assert rejected.reasons == ((REASON, 1),)
        assert [(email_of(row), reason) for row, reason in journal.rejected(1)] == [
            ("user4@example.com", REASON)
        ]
        assert journal.one("SELECT users_update_status FROM user_outcomes WHERE position = 4") == (
            CallStatus.REJECTED,
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_old_journal_stored_is_what_is_sent_and_exported(
    tmp_path: Path, version: int
) -> None:
    """Byte for byte, even if the present version would make other bodies of the row."""
    views = [
        page_view(number)._replace(location='=1, "2"\n🙂\u2028\0', first_name="\\")
        for number in range(1, 4)
    ]
    users = [
        replace(
            old_user(position, view, a_field_of_that_time="é"),
            csv_line=f"{position},a line of that time\r\n",
        )
        for position, view in zip((4, 7, 8), views, strict=True)
    ]
    old_journal(tmp_path / "journal.db", version, users, status="running")

    with Journal(tmp_path / "journal.db") as journal:
        assert_whole(journal, 1)
        assert [(user.profile, user.event) for user in pending_users(journal, 1)] == [
            (user.profile, user.event) for user in users
        ]
        if version >= 4:
            assert csv_text_of(journal, 1) == "".join(user.csv_line for user in users)
        else:
            assert csv_text_of(journal, 1) == "".join(old_user(1, v).csv_line for v in views)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_run_of_thousands_of_users_keeps_each_users_outcome(
    tmp_path: Path, version: int
) -> None:
    """Over several pages with gaps; --resume sends the others, a retry numbers them from 1."""
    positions = [position for position in range(1, 4000) if position % 5]
    old_journal(
        tmp_path / "journal.db",
        version,
        [
            old_user(
                position,
                page_view(position),
                DELIVERED if position % 3 else PROFILE_ONLY if position % 2 else None,
            )
            for position in positions
        ],
        status="stopped",
    )
    open_users = [position for position in positions if position % 3 == 0]

    with Journal(tmp_path / "journal.db") as journal:
        assert_whole(journal, 1)
        assert [(user.email, user.calls) for user in pending_users(journal, 1)] == [
            (f"user{position}@example.com", CALLS[1:] if position % 2 else CALLS)
            for position in open_users
        ]
        assert emails(journal, 1) == [f"user{position}@example.com" for position in positions]
        backlog, source = unfinished(journal, None), undelivered(journal, None)
        assert backlog
        assert source
        assert backlog.pending_users == source.pending_users == len(open_users)
        retry = journal.begin_retry(replace(HEADER, run_id="retry", kind="retry"), source)
        assert_whole(journal, retry)
        assert pending_emails(journal, retry) == pending_emails(journal, 1)
        assert [(user.position, user.calls) for user in pending_users(journal, retry)] == [
            (place, CALLS[1:] if position % 2 else CALLS)
            for place, position in enumerate(open_users, start=1)
        ]


@pytest.mark.parametrize("version", VERSIONS)
def test_each_run_of_an_old_journal_keeps_its_users(tmp_path: Path, version: int) -> None:
    """An empty one, one of another project, and one whose users a newer one has."""
    path = tmp_path / "journal.db"
    old_journal(path, version, [], run=2, status="stopped")
    for run, numbers in ((3, (1, 2, 3)), (7, (2, 3, 4))):
        users = [old_user(10 * number, page_view(number)) for number in numbers]
        old_journal(path, version, users, run=run, status="stopped")

    with Journal(path) as journal:
        assert [emails(journal, run) for run in (2, 3, 7)] == [
            [f"user{number}@example.com" for number in numbers]
            for numbers in ((), (1, 2, 3), (2, 3, 4))
        ]
        backlog = unfinished(journal, None)
        assert backlog
        assert (backlog.run.number, backlog.pending_users) == (7, 3)
        for run in (2, 3, 7):
            assert_whole(journal, run)


@pytest.mark.parametrize("version", range(2, 5))
def test_what_an_old_journal_last_sent_is_sent_once_more(tmp_path: Path, version: int) -> None:
    """It was compared by other fingerprints; from then on, users that did not change are known."""
    path = tmp_path / "journal.db"
    views = [page_view(number) for number in (1, 2, 3)]
    users = [old_user(number, view, DELIVERED) for number, view in enumerate(views, start=1)]
    old_journal(path, version, users, project=HEADER.project)
    with closing(sqlite3.connect(path)) as database, database:
        rows = [(HEADER.project, user.customer_id, b"1", b"2") for user in users]
        database.executemany("INSERT INTO last_sent VALUES (?, ?, ?, ?)", rows)

    with Journal(path) as journal:
        record_last_sent_of_crashed_runs(journal)
        first = completed_run(journal, views, incremental=True)
        second = completed_run(journal, views, incremental=True)

        assert count_outcomes(journal, first).successful == 3
        assert count_outcomes(journal, second).unchanged == 3


@given(st.none() | st.text() | st.emails())
def test_an_email_of_an_old_journal_is_found_by_new_runs(email: str | None) -> None:
    """The key of a migrated user is the one of the present version."""
    assert _email_key(email) == email_key(email)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("status", ["completed", "interrupted", "stopped", "running", "loading"])
def test_the_counts_of_an_old_run_are_stored_if_it_has_ended(
    tmp_path: Path, version: int, status: str
) -> None:
    """As they are counted; the others are counted each time."""
    outcomes = [*(outcome_in(version, outcome) for outcome in OLD_OUTCOMES), None]
    users = [
        old_user(number, page_view(number), outcome)
        for number, outcome in enumerate(outcomes, start=1)
    ]
    path = tmp_path / "journal.db"
    old_journal(path, version, users, status=status)
    old_journal(path, version, [], run=2, status=status)

    with Journal(path) as journal:
        columns = "successful, partial_failures, total_failures, not_attempted, unchanged"
        has_ended = status not in {"running", "loading"}
        stored = [(1, 2, 2, 2, 1), (0, 0, 0, 0, 0)]
        assert journal.all(f"SELECT {columns} FROM runs") == (
            stored if has_ended else [(None,) * 5] * 2
        )
        journal.execute("UPDATE runs SET successful = NULL")
        assert count_outcomes(journal, 1) == Counts(*stored[0])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_users_of_an_old_journal_are_found_by_their_emails(
    tmp_path: Path, version: int
) -> None:
    """In each of its runs."""
    path = tmp_path / "journal.db"
    for run, numbers in ((1, range(1, 2503)), (2, (2502, 1))):
        users = [old_user(place, page_view(n)) for place, n in enumerate(numbers, start=1)]
        old_journal(path, version, users, run=run)

    with Journal(path) as journal:
        found = deliveries_to(journal, "USER2502@example.com")
        assert [(one.run.number, one.position) for one in found] == [(2, 1), (1, 2502)]


def test_all_pairs_of_statuses_are_counted_as_they_are_now(tmp_path: Path) -> None:
    """The step's SQL and `count_outcomes` agree."""
    statuses = (None, 0, 1, 2, 3, 4)
    outcomes: list[Outcome] = [
        (profile, "{}", event, "{}") for profile in statuses for event in statuses
    ]
    path = tmp_path / "journal.db"
    users = [old_user(n, page_view(n), outcome) for n, outcome in enumerate(outcomes, start=1)]
    for run, outcome_users in enumerate([users, *([user] for user in users)], start=1):
        old_journal(path, 5, outcome_users, run=run)

    with Journal(path) as journal:
        stored = [count_outcomes(journal, run) for run in range(1, len(users) + 2)]
        journal.execute("UPDATE runs SET successful = NULL")
        assert stored == [count_outcomes(journal, run) for run in range(1, len(users) + 2)]
