"""`main.py --explain`: one person, from the line of a file to Iterable's answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from db_connection import DatabaseSettings
from sandbox.database import create_database
from tests.support.cli_runs import environment_of, run_cli
from tests.support.runs import environment_for, run

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.process import SandboxProcess

SOURCES = """
[sources.crm]
entity = "customers"
kind = "csv"
path = "customers.csv"
key = "key"
max_rejected_percent = 60
[sources.web]
entity = "page_views"
kind = "jsonl"
path = "views.jsonl"
customer = "email"
"""
CUSTOMERS = """key,email,first_name,last_name,plan_type,candidate
k1,ada@example.com,Ada,Lovelace,pro,yes
k2,"bob@example.com",Bob,Builder,pro,no
k3,carl@example.com,Carl,Clever,free,no
k4,dora@example.com,Dora,Daring,gold,no
"""


@pytest.fixture
def variables(tmp_path: Path, sandbox: SandboxProcess) -> dict[str, str]:
    """Three customers and their views were loaded, one was rejected; two are sent, one in vain."""
    database = DatabaseSettings("sqlite", (), 0, "", "", str(tmp_path / "customers.sqlite"))
    create_database(tmp_path / "customers.sqlite")
    (tmp_path / "sources.toml").write_text(SOURCES)
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    when = (datetime.now(UTC) - timedelta(days=1)).isoformat(" ", "seconds")
    (tmp_path / "views.jsonl").write_text(
        "".join(
            f'{{"email": "{name}@example.com", "page": "pricing", "event_time": "{when}"}}\n'
            for name in ("ada", "bob", "carl")
        )
    )
    environment = environment_of(database)
    assert run_cli(tmp_path, environment, "run").exit_code == 1
    settings = environment_for(tmp_path, sandbox, tmp_path / "customers.sqlite")
    sandbox.faults(
        [{"endpoint": "events/track", "email": "bob@example.com", "kind": "status", "status": 400}]
    )
    assert run(tmp_path, settings).exit_code == 1
    return settings


def test_a_person_is_explained_from_the_source_to_the_outcome(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """Delivered, refused, not pro, rejected at the source, and unknown."""
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def explain(email: str, *arguments: str) -> tuple[int, str]:
        done = run(tmp_path, variables, "--explain", email, *arguments)
        assert done.stderr == ""
        return done.exit_code, done.stdout

    code, delivered = explain("ADA@example.com")
    assert code == 0
    assert "crm (csv) record k1: run 1 of " in delivered
    assert "customers.csv, line 2\n" in delivered
    assert "In the list\n  yes: plan pro, and viewed pricing at " in delivered
    assert (
        ": delivered\n    users/update: 200 Success\n    events/track: 200 Success\n" in delivered
    )

    _, refused = explain("bob@example.com")
    assert "customers.csv, line 3\n" in refused
    assert ": one of two calls failed\n    users/update: 200 Success\n" in refused
    assert "    events/track: 400 " in refused

    _, free = explain("carl@example.com")
    assert "In the list\n  no: the plan is free, and not pro\n" in free
    assert "Deliveries\n  in no run\n" in free

    code, rejected = explain("dora@example.com")
    assert code == 0
    assert "customers.csv, line 5 - rejected: not_allowed plan_type\n" in rejected
    assert "no: no customer has this email" in rejected

    code, unknown = explain("eve@example.com")
    assert code == 1
    assert "no record of a source" in unknown

    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before


def test_without_a_database_the_journal_tells_what_it_knows(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """Without its settings, or without its file; then no one is unknown for certain."""
    gone = variables | {"DB_NAME": str(tmp_path / "gone.sqlite")}
    for settings, line in (({}, "Missing required environment variables"), (gone, "DB_NAME")):
        known = run(tmp_path, settings, "--explain", "ada@example.com")
        assert (known.exit_code, known.stderr) == (0, "")
        assert "\nDatabase\n" in known.stdout
        assert line in known.stdout
        assert ": delivered\n" in known.stdout
        assert run(tmp_path, settings, "--explain", "eve@example.com").exit_code == 69


def test_without_a_journal_the_database_tells_what_it_knows(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """A damaged one is named, and stays where it is."""
    journal = tmp_path / "other.db"
    settings = variables | {"JOURNAL_FILE": str(journal)}
    missing = run(tmp_path, settings, "--explain", "ada@example.com")
    journal.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    damaged = run(tmp_path, settings, "--explain", "ada@example.com")

    assert (missing.exit_code, damaged.exit_code) == (0, 0)
    assert "Deliveries\n  in no run\n" in missing.stdout
    assert f"Deliveries\n  The journal {journal} is damaged" in damaged.stdout
    assert list(tmp_path.glob("other.db*")) == [journal]
    assert run(tmp_path, settings, "--explain", "eve@example.com").exit_code == 78


def test_the_email_must_not_be_empty(tmp_path: Path) -> None:
    """A wrong command line."""
    assert run(tmp_path, {}, "--explain", " ").exit_code == 2
    assert run(tmp_path, {}, "--explain", "a@x.com", "--limit", "1").exit_code == 2
