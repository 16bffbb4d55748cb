"""How a run starts: the users it sends, what it prunes and supersedes, as real processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from integration.config.settings import load_settings
from integration.delivery.start_run import resume_run
from integration.journal.queries import read_run, recent_runs
from integration.journal.store import Journal
from tests.support.journals import AT, HEADER, completed_run
from tests.support.old_journals import old_journal, old_user
from tests.support.runs import (
    ROOT,
    database_of,
    environment_for,
    finish,
    pause_at,
    run,
    start,
    wait_until,
)
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from pathlib import Path

    from db_connection import DatabaseSettings
    from sandbox.process import SandboxProcess
    from tests.support.mysql_server import MySQLServer

JOURNAL = "iterable_journal.db"
MAX_WAIT_SECONDS = 20
# A signal that arrives just when SQLite has called Python.
INTERRUPTED_IN_A_CALLBACK = """
import signal, sys
import main
from integration.journal import file
def csv_line_of(*_):
    signal.raise_signal(int(sys.argv[1]))
file.FUNCTIONS = (*file.FUNCTIONS, csv_line_of)
sys.exit(main.main([]))
"""
INTERRUPTED_IN_A_TRANSACTION = """
import signal, sys
import main
from integration.journal.file import JournalFile
execute = JournalFile.execute
def interrupted(self, sql, parameters=()):
    done = execute(self, sql, parameters)
    if sql.startswith("INSERT INTO last_sent"):
        signal.raise_signal(int(sys.argv[1]))
    return done
JournalFile.execute = interrupted
sys.exit(main.main([]))
"""


def test_a_run_can_be_resumed_from_any_folder(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Its files stay where it started; there is one results file for the whole run."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    database = database_of(tmp_path / "customers.sqlite", ["ada@example.com", "bob@example.com"])
    environment = environment_for(tmp_path, sandbox, database)
    environment["JOURNAL_FILE"] = str(tmp_path / "journal.db")
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 401}])
    assert run(here, environment).exit_code == 77

    ran = run(there, environment, "--resume")

    assert ran.exit_code == 0
    assert [path.name for path in there.iterdir()] == ["run.log"]
    (results,) = here.glob("integration_results_*.json")
    assert f"Results saved to: {results}" in ran.stdout
    assert '"successful": 2' in results.read_text(encoding="utf-8")


def test_users_that_cannot_be_sent_are_named_and_not_counted_as_sent(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """The reason is in the log; the other users are numbered without gaps."""
    database = database_of(
        tmp_path / "customers.sqlite", ["ada@example.com", "no-at-sign", None, "bob@example.com"]
    )

    ran = run(tmp_path, environment_for(tmp_path, sandbox, database))

    assert ran.exit_code == 1
    assert "no-at-sign: not sent: the email has no @" in ran.stderr
    assert "None: not sent: the customer has no email" in ran.stderr
    assert "2 row(s) of the query cannot be sent" in ran.stderr
    numbers = [line for line in ran.messages() if line.startswith("Processing record")]
    assert numbers == ["Processing record 1/2", "Processing record 2/2"]


def test_a_customer_database_is_not_a_journal(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """JOURNAL_FILE and DB_NAME were mixed up: one line, and the file is unchanged."""
    database = database_of(tmp_path / "customers.sqlite", ["ada@example.com"])
    environment = environment_for(tmp_path, sandbox, database)
    before = database.read_bytes()

    ran = run(tmp_path, environment | {"JOURNAL_FILE": str(database)})

    assert ran.exit_code == 78
    assert "is an SQLite file, but no journal: set JOURNAL_FILE to another file" in ran.stderr
    assert database.read_bytes() == before


def days_ago(days: float) -> str:
    """A time in the journal's format."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def execute(database: Path, statement: str) -> None:
    """Change the customers' database."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def begun(folder: Path, days: int) -> None:
    """Move all runs of the journal back by so many days; a negative number moves them ahead."""
    with Journal(folder / JOURNAL) as journal:
        journal.execute("UPDATE runs SET started_at = ?", (days_ago(days),))


def test_runs_older_than_thirty_days_are_pruned(tmp_path: Path) -> None:
    """Any run prunes them, once it has loaded what it needs."""
    with Journal(tmp_path / JOURNAL) as journal:
        for days in (400, 31.5, 29, 1):
            run_number = completed_run(journal, [page_view(1)])
            started = (days_ago(days), run_number)
            journal.execute("UPDATE runs SET started_at = ? WHERE run = ?", started)

    assert run(tmp_path, environment_for(tmp_path, None, None), "--resume").exit_code == 0

    with Journal(tmp_path / JOURNAL) as journal:
        assert [run.number for run in recent_runs(journal, 10)] == [4, 3]


def test_failed_users_of_an_old_run_can_still_be_retried(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """The advice of --status works, and a dry run or another new run changes nothing about it."""
    emails = [f"user{number}@example.com" for number in range(6)]
    variables = environment_for(tmp_path, sandbox, database_of(tmp_path / "db.sqlite", emails))
    refusals = [{"endpoint": "*", "email": email, "kind": "html", "times": 2} for email in emails]
    sandbox.faults(refusals[:4])
    assert run(tmp_path, variables).exit_code == 1
    begun(tmp_path, 31)
    execute(tmp_path / "db.sqlite", "DELETE FROM page_views")
    assert run(tmp_path, variables).exit_code == 0

    status = run(tmp_path, variables, "--status")
    retried = run(tmp_path, variables, "--retry-failed")

    assert "4 user(s) of run" in status.stdout
    assert retried.exit_code == 0
    assert "Retrying 4 user(s)" in retried.stdout
    assert len(sandbox.state()["events"]) == 6


@pytest.mark.parametrize("days", [366, 20_000, -366], ids=["ahead", "begun in 1970", "behind"])
def test_a_killed_run_is_resumed_whatever_the_clock_says(
    tmp_path: Path, sandbox: SandboxProcess, days: int
) -> None:
    """A clock that is a year fast, or was decades slow, does not make the run an old one."""
    emails = [f"user{number}@example.com" for number in range(20)]
    variables = environment_for(tmp_path, sandbox, database_of(tmp_path / "db.sqlite", emails))
    has_paused = pause_at(sandbox, emails[0])
    process = start(tmp_path, variables)
    wait_until(process, has_paused)
    process.kill()
    finish(tmp_path, process)
    begun(tmp_path, days)

    resumed = run(tmp_path, variables, "--resume")

    assert resumed.exit_code == 0
    assert resumed.results["successful"] == 20


def connections_to(server: MySQLServer, name: str) -> int:
    """How many sessions use this database."""
    return [row[3] for row in server.run("SHOW PROCESSLIST")].count(name)


def test_the_database_is_closed_before_the_first_call_to_iterable(
    tmp_path: Path,
    sandbox: SandboxProcess,
    mysql_server: MySQLServer,
    seeded_database: DatabaseSettings,
) -> None:
    """While the first call waits for its answer, the run has no session on the server."""
    sandbox.faults([{"endpoint": "*", "kind": "hang"}])
    variables = environment_for(tmp_path, sandbox, seeded_database) | {"REQUEST_TIMEOUT": "600"}
    process = start(tmp_path, variables)
    while not sandbox.calls():
        assert process.poll() is None
        time.sleep(0.01)

    # A server ends a session shortly after its client has disconnected.
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while connections_to(mysql_server, seeded_database.name) and time.monotonic() < deadline:
        time.sleep(0.01)

    left = connections_to(mysql_server, seeded_database.name)
    is_waiting = process.poll() is None

    process.kill()
    finish(tmp_path, process)
    assert (left, is_waiting) == (0, True)


def interrupted_by(
    number: signal.Signals, program: str, folder: Path, sandbox: SandboxProcess
) -> subprocess.CompletedProcess[str]:
    """A run of one user, by a program that sends itself a signal; then another run succeeds."""
    database = database_of(folder / "customers.sqlite", ["ada@example.com"])
    variables = environment_for(folder, sandbox, database) | {"PYTHONPATH": str(ROOT)}
    interrupted = subprocess.run(
        [sys.executable, "-c", program, str(number.value)],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert sandbox.calls() == []
    assert run(folder, variables).exit_code == 0
    return interrupted


def assert_is_clean(
    interrupted: subprocess.CompletedProcess[str], number: signal.Signals, exit_code: int
) -> None:
    """One line names the signal, and there is no traceback."""
    assert interrupted.returncode == exit_code
    (line,) = interrupted.stderr.splitlines()
    assert f"interrupted by {number.name}" in line
    assert line.endswith("; nothing was sent")


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_a_killed_run_is_superseded_is_a_clean_interruption(
    tmp_path: Path, sandbox: SandboxProcess, number: signal.Signals, exit_code: int
) -> None:
    """In the transaction that records what its users were last sent."""
    with Journal(tmp_path / JOURNAL) as journal:
        completed_run(journal, [page_view(1)], status="running")

    interrupted = interrupted_by(number, INTERRUPTED_IN_A_TRANSACTION, tmp_path, sandbox)

    assert_is_clean(interrupted, number, exit_code)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_an_old_journal_is_migrated_is_a_clean_interruption(
    tmp_path: Path, sandbox: SandboxProcess, number: signal.Signals, exit_code: int
) -> None:
    """SQLite replaces the exception of a callback by its own error; the run names the signal."""
    old_journal(tmp_path / JOURNAL, 3, [old_user(1, page_view(1))])

    interrupted = interrupted_by(number, INTERRUPTED_IN_A_CALLBACK, tmp_path, sandbox)

    assert_is_clean(interrupted, number, exit_code)


def test_resuming_a_run_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in between leaves the run unchanged, with the key that it started with."""
    settings = load_settings(
        {"DB_ENGINE": "sqlite", "DB_NAME": "a.db", "ITERABLE_API_KEY": "the-right-key"}
    )
    address = settings.project.partition(":")[0]
    header = replace(
        HEADER, project=f"{address}:wrong", results_file=str(tmp_path / "results.json")
    )

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("integration.delivery.start_run.defer_to_newer_runs", killed)
    with Journal(tmp_path / "journal.db") as journal:
        run = journal.begin(header, [new_user(page_view(1))])
        journal.finish(run, "stopped", "Iterable refused the API key", AT)
        with pytest.raises(KeyboardInterrupt):
            resume_run(journal, settings.project)

        record = read_run(journal, run)
        assert (record.status, record.project) == ("stopped", header.project)


def test_runs_in_quick_succession_have_no_file_names_in_the_future(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """A file's timestamp is never later than the time at which it was written."""
    database = database_of(tmp_path / "customers.sqlite", ["ada@example.com"])
    environment = environment_for(tmp_path, sandbox, database)
    processes = [
        start(tmp_path, environment | {"JOURNAL_FILE": f"{number}.db", "LOG_FILE": f"{number}.log"})
        for number in range(4)
    ]
    assert [finish(tmp_path, process).exit_code for process in processes] == [0] * 4

    files = list(tmp_path.glob("integration_results_*.json"))
    assert len(files) == 4
    for path in files:
        stamp = path.stem.removeprefix("integration_results_")
        assert stamp <= f"{datetime.fromtimestamp(path.stat().st_mtime):%Y%m%d_%H%M%S}"  # noqa: DTZ006  local
