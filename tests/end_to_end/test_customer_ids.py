"""Customer ids are integers or text, and are kept unchanged from end to end."""

from __future__ import annotations

import csv
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from integration.core.csv_lines import escape_formula
from integration.core.models import Retries
from integration.iterable.payloads import payloads
from integration.journal.backlog import defer_to_newer_runs, undelivered, unfinished
from integration.journal.queries import (
    count_outcomes,
    last_sent,
    record_last_sent_of_crashed_runs,
)
from integration.journal.store import Journal
from tests.support.journals import (
    AT,
    HEADER,
    OK,
    completed_run,
    csv_text_of,
    pending_emails,
    pending_users,
)
from tests.support.old_journals import old_journal, old_user
from tests.support.runs import ROOT, RunResult, database_of, environment_for, run
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from db_connection import DatabaseSettings
    from integration.core.models import PageView
    from sandbox.process import SandboxProcess
    from tests.support.mysql_server import MySQLServer

JOURNAL = "iterable_journal.db"
OURS = HEADER.project
ONE, OTHER = "12345678901234567890123", "12345678901234567890199"
TEXTS = [ONE, OTHER, "007", "7", "7.0", "0x7", "1e5", "100000", " 7", "+7", "é", "A", "a"]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with Journal(tmp_path / JOURNAL) as opened:
        yield opened


def views_of(ids: Sequence[int | str]) -> list[PageView]:
    """One view for each of these customers."""
    return [
        page_view(number)._replace(id=customer_id)
        for number, customer_id in enumerate(ids, start=1)
    ]


def database_with(path: Path, ids: Sequence[int | str]) -> Path:
    """A database of customers with these ids; their emails are user1@…, user2@…."""
    database = database_of(path, [f"user{number}@example.com" for number, _ in enumerate(ids, 1)])
    with closing(sqlite3.connect(database)) as connection, connection:
        for number, customer_id in enumerate(ids, start=1):
            connection.execute("UPDATE customers SET id = ? WHERE id = ?", (customer_id, number))
            connection.execute(
                "UPDATE page_views SET user_id = ? WHERE user_id = ?", (customer_id, number)
            )
    return database


def test_long_text_ids_that_differ_in_the_last_digit_are_distinct(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Both fail, then one is sent on its own: the other is still pending, and --resume sends it."""
    database = database_with(tmp_path / "customers.sqlite", [ONE, OTHER])
    variables = environment_for(tmp_path, sandbox, database)
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 401}])
    assert run(tmp_path, variables).exit_code == 77
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM page_views WHERE user_id = ?", (ONE,))
    assert run(tmp_path, variables).exit_code == 0

    status = run(tmp_path, variables, "--status").stdout
    run(tmp_path, variables, "--resume")

    assert "did not finish: 1 user(s) are pending" in status
    assert len(sandbox.state()["users"]) == 2


def test_text_ids_are_unchanged_in_the_csv_and_recognized_by_the_next_run(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """No id is altered, and --incremental sends none of them twice."""
    variables = environment_for(
        tmp_path, sandbox, database_with(tmp_path / "customers.sqlite", ["007", ONE, "7.0"])
    )
    ids = [row["id"] for row in run(tmp_path, variables).csv_rows]

    retry = run(tmp_path, variables, "--incremental")

    assert ids == ["007", ONE, "7.0"]
    assert "Unchanged: 3" in retry.stdout


def test_ids_that_differ_in_any_way_are_different_customers(journal: Journal) -> None:
    """A number and a text with the same digit are different, too."""
    ids: list[int | str] = [*TEXTS, 7, 100000, -7]
    start_run = completed_run(journal, views_of(ids), reached=0, status="stopped")
    completed_run(journal, views_of(ids)[1:2])

    backlog = unfinished(journal, OURS)
    retry = completed_run(journal, views_of(ids), incremental=True)

    assert ids_in_csv(journal, start_run) == [str(escape_formula(value)) for value in ids]
    stored = journal.all(
        "SELECT customer_id FROM users WHERE run = ? ORDER BY position", (start_run,)
    )
    assert [(value, type(value)) for (value,) in stored] == [(value, type(value)) for value in ids]
    assert backlog
    assert backlog.pending_users == len(ids) - 1
    assert set(last_sent(journal, OURS, ids)) == set(ids)
    assert count_outcomes(journal, retry).unchanged == 1


@pytest.mark.parametrize("customer_id", [2**63, 2**64 - 1, 2**64, 10**30])
def test_an_id_that_exceeds_a_signed_64_bit_integer_is_accepted(
    journal: Journal, customer_id: int
) -> None:
    """MySQL's BIGINT UNSIGNED has such ids, SQLite's INTEGER and JSON's numbers do not."""
    views = views_of([customer_id, customer_id - 2**62])

    run_number = completed_run(journal, views, reached=0, status="stopped")
    bodies = [(user.profile, user.event) for user in pending_users(journal, run_number)]
    completed_run(journal, views)
    again = completed_run(journal, views, incremental=True)

    assert ids_in_csv(journal, run_number) == [str(view.id) for view in views]
    assert bodies == [payloads(view) for view in views]
    assert unfinished(journal, OURS) is None
    assert count_outcomes(journal, again).unchanged == 2


def test_mysqls_unsigned_ids_are_delivered(
    tmp_path: Path,
    sandbox: SandboxProcess,
    mysql_server: MySQLServer,
    seeded_database: DatabaseSettings,
) -> None:
    """The largest possible id, next to small ones."""
    largest = 2**64 - 1
    mysql_server.run(
        "ALTER TABLE page_views DROP FOREIGN KEY fk_page_views_user",
        "ALTER TABLE customers MODIFY id BIGINT UNSIGNED NOT NULL",
        "ALTER TABLE page_views MODIFY user_id BIGINT UNSIGNED NOT NULL",
        f"UPDATE page_views SET user_id = {largest} WHERE user_id = 1",
        f"UPDATE customers SET id = {largest} WHERE id = 1",
        name=seeded_database.name,
    )
    variables = environment_for(tmp_path, sandbox, seeded_database)

    ran = run(tmp_path, variables)
    ids = [row["id"] for row in ran.csv_rows]

    assert ran.exit_code == 0
    assert str(largest) in ids
    assert "Unchanged: 3" in run(tmp_path, variables, "--incremental").stdout


def old_runs(path: Path, runs: Sequence[tuple[str, Sequence[PageView]]]) -> None:
    """A journal of version 2 with these runs: each has a status, and all its users are pending."""
    for number, (status, views) in enumerate(runs, start=1):
        users = [old_user(position, view) for position, view in enumerate(views, start=1)]
        old_journal(path, 2, users, run=number, status=status, project=OURS, settled=1)


def pending_users_of(path: Path) -> tuple[int, list[str]] | None:
    """The latest unfinished run of a journal, and the users that a resume would send."""
    with Journal(path) as journal:
        record_last_sent_of_crashed_runs(journal)
        backlog = unfinished(journal, OURS)
        if backlog is None:
            return None
        defer_to_newer_runs(journal, backlog, AT)
        return backlog.run.number, pending_emails(journal, backlog.run.number)


def ids_in_csv(journal: Journal, run_number: int) -> list[str]:
    """The first column of a run's CSV."""
    return [row[0] for row in csv.reader(csv_text_of(journal, run_number).splitlines())]


OLD_IDS: list[int | str] = ["007", "7", "0007", ONE, OTHER, 8, "x9"]
OLD_EMAILS = [f"user{number}@example.com" for number in range(1, len(OLD_IDS) + 1)]


def test_no_pending_user_of_an_old_journal_is_lost(tmp_path: Path) -> None:
    """All are still pending, even those whose ids were merged; integer ids are kept."""
    old_runs(tmp_path / JOURNAL, [("stopped", views_of(OLD_IDS))])

    assert pending_users_of(tmp_path / JOURNAL) == (1, OLD_EMAILS)

    with Journal(tmp_path / JOURNAL) as journal:
        assert ids_in_csv(journal, 1) == ["", "7", "", "", "", "8", "x9"]
        stored = journal.all("SELECT customer_id FROM users WHERE run = 1 ORDER BY position")
        lost = [email.encode() for email in OLD_EMAILS]
        assert [value for (value,) in stored] == [lost[0], 7, *lost[2:5], 8, "x9"]


@pytest.mark.parametrize("later", range(len(OLD_IDS)))
def test_a_new_run_supersedes_an_old_journal_only_for_the_customers_it_sends(
    tmp_path: Path, later: int
) -> None:
    """Their older data does not overwrite newer data; all other users stay pending."""
    old_runs(tmp_path / JOURNAL, [("stopped", views_of(OLD_IDS))])
    with Journal(tmp_path / JOURNAL) as journal:
        completed_run(journal, [views_of(OLD_IDS)[later]._replace(first_name="New")])

    others = [email for place, email in enumerate(OLD_EMAILS) if place != later]
    assert pending_users_of(tmp_path / JOURNAL) == (1, others)


def test_runs_of_an_old_journal_supersede_each_other_by_email(tmp_path: Path) -> None:
    """The earlier of two old runs does not send a user that the later one has."""
    views = views_of(OLD_IDS)
    old_runs(tmp_path / JOURNAL, [("stopped", views), ("completed", views[:4])])

    assert pending_users_of(tmp_path / JOURNAL) == (1, OLD_EMAILS[4:])


def test_users_of_an_old_journal_without_an_email_are_counted_as_before(tmp_path: Path) -> None:
    """A later run of other users does not supersede them."""
    views = [page_view(1)._replace(id="7", email=None), page_view(2)._replace(id=8, email=None)]
    old_runs(tmp_path / JOURNAL, [("stopped", views)])
    with Journal(tmp_path / JOURNAL) as journal:
        completed_run(journal, [page_view(3)])
        backlog = unfinished(journal, OURS)
        assert backlog
        assert backlog.pending_users == 2


def test_a_retry_of_an_old_run_sends_all_users_whose_id_is_lost(tmp_path: Path) -> None:
    """They are copied to the new run, and recorded as delivered there."""
    old_runs(tmp_path / JOURNAL, [("completed", views_of(["007", ONE, OTHER]))])
    with Journal(tmp_path / JOURNAL) as journal:
        source = undelivered(journal, OURS)
        assert source
        retry = journal.begin_retry(replace(HEADER, run_id="retry", kind="retry"), source)
        for user in journal.pending(retry):
            for call in user.calls:
                journal.record([user.position], call, OK, AT)
        journal.flush(retry, Retries())
        journal.finish(retry, "completed", None, AT)

        assert count_outcomes(journal, retry).successful == 3
        assert undelivered(journal, OURS) is None


# Every view of a customer is a row, not only the latest one.
EVERY_VIEW = """
-- Query 2: all views
SELECT c.id, c.email, c.first_name, c.last_name, c.plan_type, c.candidate,
    pv.page, pv.device, pv.browser, pv.location, pv.event_time
FROM customers c JOIN page_views pv ON pv.user_id = c.id ORDER BY pv.event_time;
"""
WITH_ANOTHER_QUERY = """
import sys
from pathlib import Path
import main
from integration.delivery import chosen_query
chosen_query.QUERY_FILE = Path("queries.sql")
sys.exit(main.main(sys.argv[1:]))
"""


def run_every_view(folder: Path, variables: dict[str, str], *arguments: str) -> RunResult:
    """Run the program with a query that returns a row for each view."""
    (folder / "queries.sql").write_text(EVERY_VIEW, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", WITH_ANOTHER_QUERY, *arguments],
        cwd=folder,
        env=os.environ | variables | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return RunResult(folder, done.returncode, done.stdout, done.stderr)


def with_a_second_view(path: Path, customer: int) -> Path:
    """Three customers; one of them has two views."""
    database = database_of(path, [f"user{number}@example.com" for number in (1, 2, 3)])
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO page_views SELECT 9, user_id, 'settings', device, browser, location,"
            " datetime(event_time, '+1 hour') FROM page_views WHERE user_id = ?",
            (customer,),
        )
    return database


@pytest.mark.parametrize("mode", ["single", "bulk"])
def test_a_second_row_of_a_customer_is_an_invalid_record(
    tmp_path: Path, sandbox: SandboxProcess, mode: str
) -> None:
    """The first row counts; CSV and results have both, and the reason is in the log."""
    database = with_a_second_view(tmp_path / "customers.sqlite", customer=2)
    variables = environment_for(tmp_path, sandbox, database)

    ran = run_every_view(tmp_path, variables, "--mode", mode)

    assert ran.exit_code == 1
    assert [row["id"] for row in ran.csv_rows] == ["1", "2", "3", "2"]
    assert (ran.results["successful"], ran.results["total_failures"]) == (3, 1)
    *_, second = ran.results["records"]
    reason = "not sent: an earlier row of the query has the same customer id"
    for call in ("users_update", "events_track"):
        assert (second[call]["error"], second[call]["response"]) == ("invalid_record", reason)
    assert f"user2@example.com: {reason}" in ran.stderr
    pages = [event["dataFields"]["page"] for event in sandbox.state()["events"].values()]
    assert pages == ["pricing"] * 3


def test_a_second_row_does_not_erase_what_was_last_sent(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """--incremental still remembers what the first row sent."""
    database = with_a_second_view(tmp_path / "customers.sqlite", customer=2)
    variables = environment_for(tmp_path, sandbox, database)
    run_every_view(tmp_path, variables)
    sent = len(sandbox.calls())

    again = run_every_view(tmp_path, variables, "--incremental")
    retried = run_every_view(tmp_path, variables, "--retry-failed")

    assert "Unchanged: 3" in again.stdout
    assert (again.exit_code, retried.exit_code) == (1, 0)  # a rejected row is not retried
    assert len(sandbox.calls()) == sent


def test_rows_of_one_customer_are_found_at_any_distance(journal: Journal) -> None:
    """Rows thousands apart, three of one customer, and those of a customer without an email."""
    views = [page_view(number) for number in range(1, 2501)]
    nobody = page_view(1)._replace(id=7000, email=None)
    rows = [nobody, *views, views[0], views[0], views[2000], nobody]

    run_number = journal.begin(HEADER, map(new_user, rows))

    assert journal.pending_users(run_number) == 2500
    assert [user.position for user in journal.pending(run_number)] == list(range(2, 2502))
    assert count_outcomes(journal, run_number).total_failures == 5
