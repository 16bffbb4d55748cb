"""The journal on real files."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections import Counter
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.core.csv_lines import csv_line
from integration.core.models import CALLS, CallResult, Counts, NewRun, NewUser, Retries
from integration.delivery.new_users import RecordError
from integration.iterable.payloads import payloads
from integration.journal.backlog import undelivered, unfinished
from integration.journal.migrations import FUNCTIONS, SCHEMA_VERSION, migrate
from integration.journal.queries import (
    count_outcomes,
    delivered_users,
    last_sent,
    read_run,
    recent_runs,
    record_last_sent_of_crashed_runs,
)
from integration.journal.schema import SQLITE_HEADER, counts_of
from integration.journal.store import Journal, JournalError
from tests.support.journals import assert_whole, csv_text_of, pending_emails
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

HEADER = NewRun("run-1", "2026-01-13T14:30:45+00:00", "API Key", "a.csv", "a.json", False)
OK = CallResult(success=True, response={"code": "Success"}, status_code=200, attempts=1, error=None)
FAILED = CallResult(
    success=False, response="bad", status_code=400, attempts=1, error="client_error"
)
AT = "2026-01-13T14:30:46+00:00"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def begin(journal: Journal, count: int) -> int:
    """A run of this many users."""
    return journal.begin(HEADER, map(new_user, map(page_view, range(1, count + 1))))


def test_a_run_keeps_its_users_in_the_order_of_the_query(journal: Journal) -> None:
    """Over several pages, no user is missing or duplicated."""
    run = begin(journal, 2500)

    assert count_outcomes(journal, run).total_users == 2500
    assert [user.position for user in journal.pending(run)] == list(range(1, 2501))


def test_a_run_whose_rows_are_interrupted_leaves_no_trace(journal: Journal) -> None:
    """A database connection lost mid-stream leaves nothing half-stored."""

    def broken() -> Iterator[NewUser]:
        for number in range(1, 1500):
            yield new_user(page_view(number))
        raise ConnectionError("lost")

    with pytest.raises(ConnectionError):
        journal.begin(HEADER, broken())

    assert journal.begin(HEADER, []) == 1


def test_flushed_outcomes_survive_a_crash(tmp_path: Path) -> None:
    """The next process reads a journal that was never closed as it was flushed."""
    crashed = Journal(tmp_path / "journal.db")
    run = begin(crashed, 2)
    crashed.record([1], "users_update", OK, AT)
    crashed.flush(run, Retries((("503", 2),), 3.5))
    crashed.record([2], "users_update", OK, AT)

    with Journal(tmp_path / "journal.db") as journal:
        first, second = journal.pending(run)
        assert (first.calls, second.calls) == (("events_track",), CALLS)
        assert read_run(journal, run).retries == Retries((("503", 2),), 3.5)
    crashed.close()


def test_outcomes_wait_for_the_next_flush(journal: Journal) -> None:
    """They are counted by user, whatever their order."""
    run = begin(journal, 9)
    journal.record([5, 1, 2], "users_update", OK, AT)
    journal.record(range(3, 9), "events_track", FAILED, AT)
    assert journal.buffered == 9
    assert count_outcomes(journal, run).not_attempted == 9

    journal.flush(run, Retries())

    assert journal.buffered == 0
    assert count_outcomes(journal, run).not_attempted == 1


class CountingJournal(Journal):
    """A journal that counts the rows that it reads and writes."""

    rows_passed = 0

    def all(self, *arguments: Any) -> list[tuple[Any, ...]]:
        """Count the rows of a query."""
        found = super().all(*arguments)
        self.rows_passed += len(found)
        return found

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Count the rows that are written."""
        self.rows_passed += len(rows)
        super().execute_many(sql, rows)


def test_users_far_apart_cost_no_more_than_neighbours(tmp_path: Path) -> None:
    """A resumed run sends those at its end with one from its start: the others are not read."""
    with CountingJournal(tmp_path / "journal.db") as journal:
        run = begin(journal, 3000)
        for position in range(1, 3001):
            journal.record([position], "users_update", OK, f"{AT} {position}")
        journal.flush(run, Retries())
        journal.rows_passed = 0

        for position in (2999, 5, 1500):
            journal.record([position], "events_track", OK, AT)
        journal.flush(run, Retries())

        assert journal.rows_passed < 20
        assert_whole(journal, run)
        assert count_outcomes(journal, run).successful == 3


def test_a_run_whose_outcomes_are_scattered_is_resumed_with_the_others(tmp_path: Path) -> None:
    """Over several pages, by a new process, and twice: each user has one outcome in the end."""
    users = range(1, 2501)
    calls = {position: list(CALLS) for position in users}
    with Journal(tmp_path / "journal.db") as journal:
        run = begin(journal, len(users))
    for step, result in ((7, OK), (3, FAILED), (2, OK), (1, OK)):
        with Journal(tmp_path / "journal.db") as journal:
            journal.resume(run)
            pending = list(journal.pending(run))
            assert {user.position: list(user.calls) for user in pending} == {
                position: left for position, left in calls.items() if left
            }
            assert [orjson.loads(user.row)[0] for user in pending] == [
                user.position for user in pending
            ]
            for user in pending[::step]:
                call = user.calls[-1]
                journal.record([user.position], call, result, f"{AT} {user.position}")
                if result is OK:
                    calls[user.position].remove(call)
            journal.flush(run, Retries())
            journal.finish(run, "interrupted", None, AT)
            assert_whole(journal, run)

    left = Counter(len(one) for one in calls.values())
    assert len(left) > 1
    with Journal(tmp_path / "journal.db") as journal:
        counts = count_outcomes(journal, run)
    assert (counts.successful, counts.partial_failures) == (left[0], left[1])
    assert counts.total_users == 2500


def test_only_calls_that_did_not_succeed_are_pending(journal: Journal) -> None:
    """A delivered user is done; a failed event is pending without its profile."""
    run = begin(journal, 3)
    journal.record([1, 2], "users_update", OK, AT)
    journal.record([1], "events_track", OK, AT)
    journal.record([2], "events_track", FAILED, AT)
    journal.flush(run, Retries())

    assert [(user.position, user.calls) for user in journal.pending(run)] == [
        (2, ("events_track",)),
        (3, CALLS),
    ]


def test_counts_add_up_to_all_users(journal: Journal) -> None:
    """Both calls, one call, none, not attempted."""
    run = begin(journal, 5)
    journal.record([1, 2], "users_update", OK, AT)
    journal.record([1], "events_track", OK, AT)
    journal.record([3, 4], "users_update", FAILED, AT)
    journal.record([4], "events_track", FAILED, AT)
    journal.flush(run, Retries())

    counts = count_outcomes(journal, run)

    assert counts == Counts(
        successful=1, partial_failures=1, total_failures=2, not_attempted=1, unchanged=0
    )
    assert counts.total_users == 5


groups = st.lists(
    st.tuples(
        st.sampled_from([None, 0, 1, 2]), st.sampled_from([None, 0, 1, 2]), st.integers(0, 10**6)
    )
)


@given(groups, st.integers(0, 10**6))
def test_any_groups_add_up_to_the_total(
    found: list[tuple[int | None, int | None, int]], untouched: int
) -> None:
    """No user is lost in the accounting, whatever the outcomes."""
    total = sum(users for _, _, users in found) + untouched

    assert counts_of(found, total).total_users == total


def test_an_undeliverable_email_is_a_failure_from_the_start(journal: Journal) -> None:
    """It is never pending, and its outcome carries the reason."""
    run = journal.begin(HEADER, map(new_user, [page_view(1, "no-at-sign"), page_view(2)]))

    assert [user.position for user in journal.pending(run)] == [2]
    outcome = next(journal.outcomes(run))
    assert orjson.loads(outcome.users_update)["error"] == "invalid_record"
    assert "no @" in orjson.loads(outcome.events_track)["response"]
    assert count_outcomes(journal, run).total_failures == 1


def test_the_csv_rows_are_the_rows_of_the_query(journal: Journal) -> None:
    """The rows that were streamed in are returned, with the time as text."""
    view = page_view(7)._replace(first_name=None, last_name="Ω, 🚀")
    run = journal.begin(HEADER, map(new_user, [view]))

    assert csv_text_of(journal, run) == csv_line(view)


def test_a_user_without_an_answer_is_not_attempted(journal: Journal) -> None:
    """Every user has both outcomes in the results."""
    run = begin(journal, 1)

    (outcome,) = journal.outcomes(run)

    assert outcome.at is None
    assert orjson.loads(outcome.users_update)["error"] == "not_attempted"
    assert outcome.success is False


def test_the_file_is_for_its_owner_only(tmp_path: Path, journal: Journal) -> None:
    """It contains personal data; so does its WAL."""
    begin(journal, 1)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert modes == {0o600}


def test_a_damaged_journal_is_set_aside_unchanged(tmp_path: Path) -> None:
    """One line says where it was moved; it is unchanged, and a second one gets another name."""
    path = tmp_path / "journal.db"
    for number in (1, 2):
        damaged = SQLITE_HEADER + b"garbage" * 1000 * number
        path.write_bytes(damaged)

        with pytest.raises(JournalError, match=rf"damaged .*set aside as .*damaged-{number}"):
            Journal(path)

        aside = tmp_path / f"journal.db.damaged-{number}"
        assert aside.read_bytes() == damaged
    with Journal(path) as journal:
        assert begin(journal, 1) == 1


DAMAGED = {
    "cut off": "substr(content, 1, length(content) - 3)",
    "overwritten": "zeroblob(length(content))",
    "empty": "x''",
    "text": "'no rows'",
    "a number": "7",
    "no rows": "x'789c030000000001'",
    "rows of others": "(SELECT content FROM packed_rows WHERE first = 1001)",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_rows_are_one_line_wherever_they_are_read(tmp_path: Path, content: str) -> None:
    """The line names the journal and what to do; no user is sent what is not known for sure."""
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        views = [page_view(1, "no-at-sign"), *map(page_view, range(2, 1500))]
        run = journal.begin(HEADER, map(new_user, views))
        journal.record([2], "users_update", OK, AT)
        journal.record([2], "events_track", OK, AT)
        journal.flush(run, Retries())
        journal.finish(run, "completed", None, AT)
        journal.execute(f"UPDATE packed_rows SET content = {content} WHERE first = 1")
    with Journal(path) as journal:
        source = undelivered(journal, None)
        assert source
        retry = replace(HEADER, run_id="retry", kind="retry")
        readings: list[Callable[[], object]] = [
            lambda: list(journal.pending(run)),
            lambda: list(journal.rows(run)),
            lambda: list(journal.outcomes(run)),
            lambda: list(journal.rejected(run)),
            lambda: list(delivered_users(journal, run, None)),
            lambda: journal.begin_retry(retry, source),
        ]
        for read in readings:
            with pytest.raises(JournalError, match=f"The journal {path} is damaged") as caught:
                read()
            assert "\n" not in str(caught.value)
        assert [run.run_id for run in recent_runs(journal, 10)] == ["run-1"]


def test_a_journal_of_a_later_version_is_refused(tmp_path: Path) -> None:
    """An older program does not touch a format that it does not know."""
    path = tmp_path / "journal.db"
    Journal(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")

    with pytest.raises(JournalError, match="its format is 99"):
        Journal(path)
    assert path.exists()


def test_a_journal_of_the_first_version_is_migrated(tmp_path: Path) -> None:
    """It keeps its runs and users; what they were last sent is not known, so they are sent."""
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as database, database:
        migrate(database, 0)
        database.execute("PRAGMA user_version = 1")
        database.execute(
            "INSERT INTO runs (run_id, started_at, authentication, csv_file, results_file, dry_run,"
            " total_users) VALUES ('old', ?, 'API Key', 'a.csv', 'a.json', 0, 2)",
            (AT,),
        )
        for number in (1, 2):
            row = page_view(number)
            database.execute(
                "INSERT INTO users VALUES (1, ?, ?, ?, ?, ?)",
                (number, number, row.email, *payloads(row)),
            )
        database.execute("INSERT INTO outcomes VALUES (1, 1, ?, 1, '{}', 1, '{}')", (AT,))

    with Journal(path) as journal:
        record_last_sent_of_crashed_runs(journal)
        backlog = unfinished(journal, "any:project")
        assert backlog
        assert (backlog.run.number, backlog.pending_users) == (1, 1)
        assert [user.position for user in journal.pending(1)] == [2]
        assert last_sent(journal, "", [1, 2]) == {1: None, 2: None}


def test_a_database_of_another_program_is_left_unchanged(tmp_path: Path) -> None:
    """For example when JOURNAL_FILE names the customers' own SQLite file."""
    path = tmp_path / "customers.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE customers (id INTEGER)")
    before = path.read_bytes()

    with pytest.raises(JournalError, match="is an SQLite file, but no journal: set JOURNAL_FILE"):
        Journal(path)

    assert path.read_bytes() == before


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A wrong JOURNAL_FILE is reported."""
    with pytest.raises(JournalError, match="JOURNAL_FILE"):
        Journal(tmp_path / "missing" / "journal.db")


@pytest.mark.parametrize(
    "bad",
    [
        {"first_name": b"bytes"},
        {"id": b"16 bytes of UUID"},
        {"id": Decimal(7)},
    ],
)
def test_a_value_that_cannot_be_sent_names_its_customer(
    journal: Journal, bad: dict[str, Any]
) -> None:
    """Customers' own tables may have other types: one line, and no run is started."""
    view = page_view(1)._replace(**bad)

    with pytest.raises(RecordError, match=r"[Cc]ustomer"):
        journal.begin(HEADER, map(new_user, [view]))

    assert recent_runs(journal, 10) == []


def test_an_email_that_is_a_number_fails_its_user_only(journal: Journal) -> None:
    """The others are sent; the CSV has the database's value."""
    numbered = page_view(1)._replace(email=cast("str", 12345))  # from a column of type INT

    run = journal.begin(HEADER, map(new_user, [numbered, page_view(2)]))

    assert pending_emails(journal, run) == ["user2@example.com"]
    assert journal.pending_users(run) == 1
    assert count_outcomes(journal, run).total_failures == 1
    assert csv_text_of(journal, run).startswith("1,12345,Ada,")


def test_a_journal_that_another_process_is_creating_is_waited_for(
    tmp_path: Path,
) -> None:
    """--status at the moment of the very first run: no damage, nothing is set aside."""
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as first:
        first.execute("PRAGMA journal_mode = WAL")
        for function in FUNCTIONS:
            first.create_function(function.__name__, -1, function)
        first.execute("BEGIN IMMEDIATE")
        for step in range(SCHEMA_VERSION):
            migrate(first, step)
        first.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        commit = threading.Timer(0.3, first.execute, ["COMMIT"])
        commit.start()

        Journal(path).close()

        commit.join()
    assert [file.name for file in tmp_path.iterdir()] == ["journal.db"]
