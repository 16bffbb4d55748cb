"""`--status` needs only the journal, and leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.core.clock import utc_now
from integration.core.facts import Facts
from integration.core.verdict import judge
from integration.journal.facts import delivery_facts, open_work
from integration.journal.queries import recent_runs
from integration.journal.read_only import ReadOnlyJournal
from tests.support.runs import database_of, environment_for, run

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.process import SandboxProcess

JOURNAL = "iterable_journal.db"


@pytest.fixture
def environment(tmp_path: Path, sandbox: SandboxProcess) -> dict[str, str]:
    """A complete configuration with two users."""
    database = database_of(tmp_path / "customers.sqlite", ["ada@example.com", "bob@example.com"])
    return environment_for(tmp_path, sandbox, database)


def names_in(folder: Path) -> list[str]:
    """The files and folders in a folder."""
    return sorted(path.name for path in folder.iterdir())


def stop_a_run(folder: Path, sandbox: SandboxProcess, environment: dict[str, str]) -> str:
    """A run that Iterable rejects; returns its id."""
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 401}])
    assert run(folder, environment).exit_code == 77
    with ReadOnlyJournal(folder / JOURNAL) as file:
        return recent_runs(file, 1)[0].run_id


def test_without_any_setting_it_says_that_there_is_no_journal(tmp_path: Path) -> None:
    """It creates none, and no log and no folder either."""
    status = run(tmp_path, {"OUTPUT_DIR": "out", "LOG_FILE": "log/run.log"}, "--status")

    assert (status.exit_code, status.stderr) == (0, "")
    verdict, line = status.stdout.splitlines()
    assert verdict.startswith("Healthy: There has been no delivery yet. Next: python main.py ")
    assert line == f"No journal at {JOURNAL}: there has been no run yet."
    assert names_in(tmp_path) == []


def test_only_the_journal_is_needed(
    tmp_path: Path, sandbox: SandboxProcess, environment: dict[str, str]
) -> None:
    """Unused settings may be missing or wrong; no file is created."""
    run_id = stop_a_run(tmp_path, sandbox, environment)
    with ReadOnlyJournal(tmp_path / JOURNAL) as journal:
        work = open_work(journal, None)
        facts = Facts(now=utc_now(), deliveries=delivery_facts(journal, work, running=False))
    (tmp_path / "run.log").unlink()
    for lock in tmp_path.glob("*.lock"):
        lock.unlink()
    before = names_in(tmp_path)
    unused = {"LOG_FILE": "/proc/no", "OUTPUT_DIR": "/proc/no", "MAX_WORKERS": "no", "DB_PORT": "0"}

    status = run(tmp_path, unused, "--status")

    assert (status.exit_code, status.stderr) == (0, "")
    assert status.stdout.splitlines()[0] == judge(facts).line
    assert run_id in status.stdout
    assert "2 user(s) are pending: python main.py --resume" in status.stdout
    assert names_in(tmp_path) == before


def test_without_a_key_a_run_superseded_with_a_corrected_key_is_not_pending(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """A run that delivered nothing is superseded by any later one at the same address."""
    assert run(tmp_path, environment | {"ITERABLE_API_KEY": "a-wrong-key"}).exit_code == 77
    assert run(tmp_path, environment).exit_code == 0

    assert run(tmp_path, {}, "--status").stdout.rstrip().endswith("No users are pending.")


def test_the_key_decides_what_can_be_resumed(
    tmp_path: Path, sandbox: SandboxProcess, environment: dict[str, str]
) -> None:
    """With another project's address the advice is to use the first one's."""
    stop_a_run(tmp_path, sandbox, environment)
    elsewhere = {
        "ITERABLE_API_KEY": "a-key",
        "ITERABLE_API_BASE_URL": "https://api.eu.iterable.com",
    }

    status = run(tmp_path, elsewhere, "--status")

    assert "was for another ITERABLE_API_BASE_URL or ITERABLE_API_KEY" in status.stdout


def test_an_invalid_key_is_reported(tmp_path: Path) -> None:
    """The key is checked, and not printed."""
    status = run(tmp_path, {"ITERABLE_API_KEY": "geheim geheim"}, "--status")

    assert status.exit_code == 78
    assert "ITERABLE_API_KEY is a value that is not shown" in status.stderr
    assert "geheim" not in status.stdout + status.stderr


def test_the_status_of_a_demo_starts_nothing(tmp_path: Path) -> None:
    """It reads the demo's journal, if it exists, and creates no folder."""
    before = run(tmp_path, {}, "--demo", "--status")
    assert f"\nNo journal at demo_output/{JOURNAL}: " in before.stdout
    assert names_in(tmp_path) == []

    assert run(tmp_path, {}, "--demo").exit_code == 0

    status = run(tmp_path, {}, "--demo", "--status")
    assert (status.exit_code, status.stderr) == (0, "")
    assert " completed " in status.stdout
