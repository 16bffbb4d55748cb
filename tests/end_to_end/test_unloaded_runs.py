"""Runs that crash while they load their users: nothing was sent, and --resume starts over."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from integration.journal.backlog import of_another_project, undelivered, unfinished
from integration.journal.queries import read_run, recent_runs
from integration.journal.store import Journal
from tests.support.journals import HEADER, completed_run
from tests.support.runs import (
    RunResult,
    database_of,
    environment_for,
    finish,
    has_logged,
    run,
    start,
    wait_until,
)
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.core.models import NewUser, RunKind
    from sandbox.process import SandboxProcess

EMAILS = [f"user{number}@example.com" for number in range(4)]
DATABASE = "customers.sqlite"
OURS = HEADER.project
VIEWS = [page_view(number) for number in (1, 2, 3)]


@pytest.fixture
def variables(tmp_path: Path, sandbox: SandboxProcess) -> dict[str, str]:
    """A configuration with four users."""
    return environment_for(tmp_path, sandbox, database_of(tmp_path / DATABASE, EMAILS))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


@contextmanager
def locked_database(folder: Path) -> Iterator[None]:
    """Lock the customers' database, so that it cannot be read."""
    with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield


def ended_while_loading(
    folder: Path, variables: dict[str, str], number: signal.Signals, *arguments: str
) -> RunResult:
    """A run that received this signal while it waited for its users."""
    (folder / "run.log").unlink(missing_ok=True)
    with locked_database(folder):
        process = start(folder, variables, *arguments)
        wait_until(process, lambda: has_logged(folder, "[STEP 2]"))
        process.send_signal(number)
        return finish(folder, process)


def run_ids(folder: Path) -> list[str]:
    """The ids of the runs in the journal."""
    with Journal(folder / "iterable_journal.db") as journal:
        return [run.run_id for run in recent_runs(journal, 10)]


def test_a_run_that_was_killed_while_it_loaded_is_run_from_the_start(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """`main.py || main.py --resume` never succeeds with no user sent; the run id stays."""
    assert ended_while_loading(tmp_path, variables, signal.SIGKILL).exit_code == -9
    (run_id,) = run_ids(tmp_path)
    status = run(tmp_path, variables, "--status").stdout

    ran = run(tmp_path, variables, "--resume")

    assert "did not load its users, and sent nothing: python main.py --resume" in status
    assert (ran.exit_code, ran.results["successful"]) == (0, 4)
    assert ran.results["run_id"] == run_id
    assert f"Run {run_id} did not load its users: running it from the start" in ran.stdout
    assert len(sandbox.state()["users"]) == 4
    assert "No users are pending." in run(tmp_path, variables, "--status").stdout
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_it_is_run_again_with_its_original_options(
    tmp_path: Path,
    sandbox: SandboxProcess,
    variables: dict[str, str],
    number: signal.Signals,
    exit_code: int,
) -> None:
    """With its limit, and without users that have not changed."""
    run(tmp_path, variables, "--limit", "1")
    before = len(sandbox.calls())
    options = ("--incremental", "--limit", "3")
    assert ended_while_loading(tmp_path, variables, number, *options).exit_code == exit_code

    ran = run(tmp_path, variables, "--resume")

    assert ran.exit_code == 0
    assert {call["email"] for call in sandbox.calls()[before:]} == set(EMAILS[1:3])
    assert "Unchanged: 1" in ran.stdout


def test_an_unreachable_database_is_queried_again_by_resume(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Exit code 69 while it is unreachable; then all are sent, under the same run id."""
    (tmp_path / DATABASE).rename(tmp_path / "away")
    ends = [run(tmp_path, variables), run(tmp_path, variables, "--resume")]
    runs = run_ids(tmp_path)
    (tmp_path / "away").rename(tmp_path / DATABASE)

    ran = run(tmp_path, variables, "--resume")

    assert [end.exit_code for end in ends] == [69, 69]
    assert ran.exit_code == 0
    assert run_ids(tmp_path) == runs == [ran.results["run_id"]]
    assert len(sandbox.state()["users"]) == 4


def test_a_new_full_run_supersedes_one_that_did_not_load(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """It says so; nothing is left to resume, and the crashed run leaves no file."""
    ended_while_loading(tmp_path, variables, signal.SIGKILL)
    assert len(list(tmp_path.glob("*.part"))) == 1

    ran = run(tmp_path, variables)

    assert ran.exit_code == 0
    assert "did not load its users, and sent nothing. --resume resumes it" in ran.stdout
    assert ran.stderr == ""
    assert list(tmp_path.glob("*.part")) == []
    sent = len(sandbox.calls())
    assert "Nothing to resume" in run(tmp_path, variables, "--resume").stdout
    assert len(sandbox.calls()) == sent
    status = run(tmp_path, variables, "--status").stdout
    assert " not loaded " in status
    assert "No users are pending." in status


def test_a_dry_run_keeps_the_files_of_a_run_that_may_be_running(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """It holds no lock: a run that looks crashed may still be running."""
    ended_while_loading(tmp_path, variables, signal.SIGKILL)

    run(tmp_path, variables, "--dry-run")

    assert len([path for path in tmp_path.glob("*.part") if "query_results" in path.name]) == 1


def test_retry_failed_asks_for_resume_first(tmp_path: Path, variables: dict[str, str]) -> None:
    """Whether users are pending is not known yet."""
    ended_while_loading(tmp_path, variables, signal.SIGKILL)

    ran = run(tmp_path, variables, "--retry-failed")

    assert ran.exit_code == 1
    assert "Run --resume first, then --retry-failed" in ran.stderr


def test_verify_checks_the_latest_run_that_has_users(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """A run that did not load has delivered nothing to check."""
    run(tmp_path, variables)
    ended_while_loading(tmp_path, variables, signal.SIGKILL)

    assert "Verified 4 user(s): 4 confirmed" in run(tmp_path, variables, "--verify").stdout


def test_a_run_that_starts_over_is_the_latest(journal: Journal) -> None:
    """Its data is newer than that of the runs since; the number decides which supersedes which."""
    header = replace(HEADER, run_id="unloaded")
    journal.announce(header)
    other = completed_run(journal, VIEWS, reached=0, status="stopped")

    retry = journal.announce(header)
    journal.load(retry, header, map(new_user, VIEWS))

    assert retry > other
    assert [run.number for run in recent_runs(journal, 10)] == [retry, other]
    assert undelivered(journal, OURS) is None


def test_users_that_cannot_be_loaded_leave_their_run_unchanged(journal: Journal) -> None:
    """None of them is recorded, and the run can start over."""
    run_number = journal.announce(HEADER)

    def broken() -> Iterator[NewUser]:
        yield new_user(VIEWS[0])
        raise ConnectionError("lost")

    with pytest.raises(ConnectionError):
        journal.load(run_number, HEADER, broken())

    past = read_run(journal, run_number)
    assert (past.is_loaded, past.total_users) == (False, 0)
    backlog = unfinished(journal, OURS)
    assert backlog
    assert backlog.run.number == run_number


@pytest.mark.parametrize(
    ("limit", "kind", "later_limit", "is_superseded"),
    [
        (None, "full", None, True),
        (None, "limited", 100, False),
        (None, "retry", None, False),
        (5, "full", None, True),
        (5, "limited", 5, True),
        (5, "limited", 4, False),
    ],
)
def test_a_run_that_loads_as_many_users_supersedes_it(
    journal: Journal,
    limit: int | None,
    kind: RunKind,
    later_limit: int | None,
    is_superseded: bool,
) -> None:
    """Fewer users, or no user of Query 2, do not supersede it."""
    header = replace(HEADER, run_id="unloaded", kind="limited" if limit else "full", limit=limit)
    journal.announce(header)

    later = replace(HEADER, run_id="later", kind=kind, limit=later_limit)
    journal.begin(later, map(new_user, VIEWS))
    journal.finish(2, "completed", None, "2026-01-13T14:30:46+00:00")

    backlog = unfinished(journal, OURS)
    assert (backlog is None) == is_superseded


def test_a_run_that_did_not_load_either_does_not_supersede_it(journal: Journal) -> None:
    """The latest of them starts over."""
    journal.announce(replace(HEADER, run_id="first"))
    second = journal.announce(replace(HEADER, run_id="second"))

    backlog = unfinished(journal, OURS)

    assert backlog
    assert backlog.run.number == second


def test_another_address_is_told_whose_run_it_is(journal: Journal) -> None:
    """It starts again with its own settings, not with another address or another key."""
    journal.announce(replace(HEADER, project="eu:key"))

    for project in (OURS, "eu:other"):
        assert unfinished(journal, project) is None
        assert of_another_project(journal, project)
    assert unfinished(journal, "eu:key")
