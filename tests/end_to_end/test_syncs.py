"""Several syncs of one folder: their settings, their runs in one journal, one after the other."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.journal.lock import project_lock
from integration.journal.queries import recent_runs
from integration.journal.read_only import ReadOnlyJournal
from tests.support.runs import environment_for, run

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.process import SandboxProcess


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two syncs that share a database, each with a query of its own."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database, database:
        database.execute("CREATE TABLE people (email, score, city)")
        database.execute("INSERT INTO people VALUES ('ada@example.com', 0.5, 'London')")
    queries = {
        "churn": 'SELECT email, score AS "profile.score" FROM people',
        "visits": "SELECT email, 'visit' AS event_name, city AS \"event.city\" FROM people",
    }
    (tmp_path / "syncs").mkdir()
    for name, query in queries.items():
        (tmp_path / f"{name}.sql").write_text(query)
        (tmp_path / "syncs" / f"{name}.env").write_text(f"QUERY_FILE={name}.sql\n")
    return tmp_path


def change(folder: Path, statement: str) -> None:
    """Change the database."""
    with closing(sqlite3.connect(folder / "shop.db")) as database, database:
        database.execute(statement)


def runs_of(folder: Path) -> list[tuple[str, int]]:
    """The sync of each run in the journal and how many users were unchanged, newest first."""
    journal = ReadOnlyJournal.open(folder / "iterable_journal.db")
    assert journal
    with journal:
        runs = recent_runs(journal, 10)
        unchanged = dict(journal.all("SELECT run, unchanged FROM runs"))
    return [(one.sync, unchanged[one.number]) for one in runs]


def test_all_syncs_run_one_after_the_other(folder: Path, sandbox: SandboxProcess) -> None:
    """In one journal; what was last sent is known for each of them alone."""
    variables = environment_for(folder, sandbox, folder / "shop.db")

    first = run(folder, variables, "--all-syncs")
    assert (first.exit_code, first.stderr) == (0, "")
    assert runs_of(folder) == [("visits", 0), ("churn", 0)]
    state = sandbox.state()
    assert state["users"]["ada@example.com"]["dataFields"] == {"score": 0.5}
    assert [event["eventName"] for event in state["events"].values()] == ["visit"]

    change(folder, "UPDATE people SET city = 'Paris'")
    assert run(folder, variables, "--all-syncs", "--incremental").exit_code == 0
    assert runs_of(folder)[:2] == [("visits", 0), ("churn", 1)]

    verified = run(folder, variables, "--sync", "churn", "--verify")
    assert (verified.exit_code, "1 confirmed" in verified.stdout) == (0, True)
    status = run(folder, variables, "--sync", "churn", "--status")
    assert status.exit_code == 0


def test_a_sync_resumes_its_own_run(folder: Path, sandbox: SandboxProcess) -> None:
    """A newer run of another sync has the same user, and other data."""
    variables = environment_for(folder, sandbox, folder / "shop.db")
    sandbox.faults([{"endpoint": "users/update", "kind": "status", "status": 400}])
    assert run(folder, variables, "--sync", "churn").exit_code == ExitCode.SOME_FAILED
    assert run(folder, variables, "--sync", "visits").exit_code == 0

    status = run(folder, variables, "--status")
    assert "python main.py --sync churn --retry-failed" in status.stdout
    nothing = run(folder, variables, "--sync", "visits", "--retry-failed")
    assert "Nothing to retry" in nothing.stdout
    assert run(folder, variables, "--sync", "churn", "--retry-failed").exit_code == 0
    assert runs_of(folder)[0] == ("churn", 0)


def test_the_highest_exit_code_counts(folder: Path, sandbox: SandboxProcess) -> None:
    """A sync that fails does not stop the next one."""
    (folder / "churn.sql").write_text("SELECT email, score FROM people")
    variables = environment_for(folder, sandbox, folder / "shop.db")

    result = run(folder, variables, "--all-syncs")

    assert result.exit_code == ExitCode.CONFIGURATION
    assert "column score has no place" in result.stderr
    assert len(sandbox.state()["events"]) == 1


def test_two_syncs_of_a_project_do_not_run_at_once(folder: Path, sandbox: SandboxProcess) -> None:
    """Even if their journals differ."""
    variables = environment_for(folder, sandbox, folder / "shop.db")
    assert run(folder, variables, "--sync", "churn").exit_code == 0
    (lock,) = (folder / "syncs").glob(".*.lock")
    project = lock.name.removeprefix(".").removesuffix(".lock")

    with project_lock(folder / "syncs", project):
        other = {**variables, "JOURNAL_FILE": "other.db"}
        assert run(folder, other, "--sync", "visits").exit_code == ExitCode.LOCKED


def test_a_missing_sync_is_named(folder: Path) -> None:
    """With those that there are."""
    result = run(folder, environment_for(folder, None, None), "--sync", "chrun")
    assert result.exit_code == ExitCode.CONFIGURATION
    assert "There is no sync 'chrun'" in result.stderr
    assert "churn, visits" in result.stderr
