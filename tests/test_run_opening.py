"""Whom a run sends to, as real processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.runs import database_of, environment_for, run

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.process import SandboxProcess


def test_a_run_is_gone_on_with_from_any_folder(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Its files are where it began; there is one results file for the whole run."""
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


def test_who_cannot_be_sent_is_named_and_not_counted_among_those_who_are(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """The reason stands in the log; the others are numbered without gaps."""
    database = database_of(
        tmp_path / "customers.sqlite", ["ada@example.com", "nobody", None, "bob@example.com"]
    )

    ran = run(tmp_path, environment_for(tmp_path, sandbox, database))

    assert ran.exit_code == 1
    assert "nobody: not sent: the email has no @" in ran.stderr
    assert "None: not sent: the customer has no email" in ran.stderr
    assert "2 user(s) have no email that can be sent to" in ran.stderr
    numbers = [line for line in ran.messages() if line.startswith("Processing record")]
    assert numbers == ["Processing record 1/2", "Processing record 2/2"]


def test_a_customers_database_is_no_journal(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """JOURNAL_FILE and DB_NAME were mixed up: one line, and the file stays as it is."""
    database = database_of(tmp_path / "customers.sqlite", ["ada@example.com"])
    environment = environment_for(tmp_path, sandbox, database)
    before = database.read_bytes()

    ran = run(tmp_path, environment | {"JOURNAL_FILE": str(database)})

    assert ran.exit_code == 78
    assert "is an SQLite file, but no journal: set JOURNAL_FILE to another file" in ran.stderr
    assert database.read_bytes() == before
