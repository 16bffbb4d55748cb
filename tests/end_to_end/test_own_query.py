"""A query of the user's own, from the database to Iterable, the files and the journal."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from sandbox.options import SandboxOptions
from sandbox.process import SandboxProcess
from tests.support.runs import environment_for, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PEOPLE = [
    ("A-1", "ada@example.com", 0.5, '["x", {"n": 12345678901234567890123}]'),
    ("A-2", "bob@example.com", None, None),
    ("A-3", "no address", 1.0, None),
    ("A-1", "eve@example.com", 1.0, None),
]
PROFILES = (
    'SELECT id, email, score AS "profile.score", tags AS "profile.tags:json" FROM people ORDER BY n'
)
EVENTS = (
    "SELECT email, CASE id WHEN 'A-2' THEN 'refund' ELSE 'purchase' END AS event_name,"
    " score AS \"event.total\", id != 'A-2' AS send_profile FROM people WHERE n < 3 ORDER BY n"
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database without the tables of Query 2."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE people (n INTEGER PRIMARY KEY, id, email, score, tags)")
        connection.executemany("INSERT INTO people VALUES (NULL, ?, ?, ?, ?)", PEOPLE)
    return path


def variables_for(
    folder: Path, sandbox: SandboxProcess | None, query: str, **others: str
) -> Mapping[str, str]:
    """The configuration with this query."""
    (folder / "own.sql").write_text(query, encoding="utf-8")
    variables = environment_for(folder, sandbox, folder / "shop.db")
    return {**variables, "QUERY_FILE": "own.sql", **others}


@pytest.mark.usefixtures("database")
def test_profiles_without_events(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Rows that cannot be sent are recorded; calls that were not to be made are null."""
    variables = variables_for(tmp_path, sandbox, PROFILES)

    first = run(tmp_path, variables)

    assert first.exit_code == ExitCode.SOME_FAILED
    head, records = first.results, first.records
    assert (head["successful"], head["total_failures"], head["not_attempted"]) == (2, 2, 0)
    assert all(record["events_track"] is None for record in records.values())
    assert records["ada@example.com"]["overall_success"] is True
    assert "an earlier row" in records["eve@example.com"]["users_update"]["response"]
    (path,) = tmp_path.glob("query_results_*.csv")
    csv = path.read_bytes()
    assert csv.startswith(b"id,email,profile.score,profile.tags:json\r\nA-1,ada@example.com,0.5,")
    state = sandbox.state()
    assert state["users"]["ada@example.com"]["dataFields"]["tags"][0] == "x"
    assert state["events"] == {}
    (lines,) = [line for line in first.log.splitlines() if "email: ada@example.com. P" in line]
    assert '"n":12345678901234567890123}' in lines

    explained = run(tmp_path, variables, "--explain", "ADA@example.com")
    assert (explained.exit_code, "users/update: 200 Success" in explained.stdout) == (0, True)
    assert "events/track" not in explained.stdout
    verified = run(tmp_path, variables, "--verify", "all")
    assert (verified.exit_code, "2 confirmed" in verified.stdout) == (0, True)
    assert "Nothing to retry" in run(tmp_path, variables, "--retry-failed").stdout

    path.unlink()
    again = run(tmp_path, variables, "--incremental")
    assert "Unchanged since they were last sent: 2 user(s)" in again.stdout
    (path,) = tmp_path.glob("query_results_*.csv")
    assert path.read_bytes() == csv


@pytest.mark.usefixtures("database")
def test_events_of_several_names_in_bulk(tmp_path: Path) -> None:
    """A row without a profile; a name that the project does not take fails its users only."""
    options = SandboxOptions(disallowed_events=("refund",))
    with SandboxProcess(options) as sandbox:
        sandbox.overwrite("bob@example.com", {})
        variables = variables_for(tmp_path, sandbox, EVENTS, DELIVERY_MODE="bulk")
        result = run(tmp_path, variables)
        records, total_failures = result.records, result.results["total_failures"]
        state = sandbox.state()
        sandbox.configure(disallowed_events=[])
        retried = run(tmp_path, variables, "--retry-failed")
        events = sandbox.state()["events"]

    assert result.exit_code == ExitCode.SOME_FAILED
    assert records["ada@example.com"]["overall_success"] is True
    assert records["bob@example.com"]["users_update"] is None
    response = records["bob@example.com"]["events_track"]["response"]
    assert response == {"disallowedEventNames": ["refund"]}
    assert total_failures == 1
    assert [event["eventName"] for event in state["events"].values()] == ["purchase"]
    assert state["users"]["bob@example.com"]["updates"] == 0
    assert retried.exit_code == 0
    assert sorted(event["eventName"] for event in events.values()) == ["purchase", "refund"]


@pytest.mark.usefixtures("database")
def test_a_run_without_its_csv_is_resumed_with_the_same(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """From the journal: the same columns, numbers and texts; and only what is pending is sent."""
    variables = variables_for(tmp_path, sandbox, PROFILES)
    refusal = {"endpoint": "users/update", "email": "bob@example.com", "kind": "status"}
    sandbox.faults([{**refusal, "status": 401, "body": json.dumps({"code": "BadApiKey"})}])
    stopped = run(tmp_path, variables)
    assert stopped.exit_code == ExitCode.KEY_REFUSED
    (path,) = tmp_path.glob("query_results_*.csv")
    csv = path.read_bytes()
    path.unlink()

    resumed = run(tmp_path, variables, "--resume")

    assert resumed.exit_code == ExitCode.SOME_FAILED
    assert path.read_bytes() == csv
    users = sandbox.state()["users"]
    assert {email: user["updates"] for email, user in users.items()} == {
        "ada@example.com": 1,
        "bob@example.com": 1,
    }


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT email, score FROM people", "column score has no place"),
        ("SELECT email, email FROM people", "column email 2 times"),
        ("SELECT id FROM people", "no column email"),
        ("SELECT email, x'00' AS \"profile.x\" FROM people", "column profile.x is binary"),
    ],
)
def test_a_query_that_cannot_be_sent_ends_in_one_line(
    tmp_path: Path, sandbox: SandboxProcess, query: str, words: str
) -> None:
    """Before the first call; nothing is left but the log and the journal."""
    result = run(tmp_path, variables_for(tmp_path, sandbox, query))

    assert result.exit_code == ExitCode.CONFIGURATION
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert sandbox.stats()["calls"] == {}
    assert not list(tmp_path.glob("query_results_*"))


@pytest.mark.usefixtures("database")
def test_check_shows_the_mapping_and_what_the_project_lacks(tmp_path: Path) -> None:
    """It sends nothing, leaves no journal, and shows no address."""
    with SandboxProcess() as sandbox:
        variables = variables_for(tmp_path, sandbox, PROFILES)
        shown = run(tmp_path, variables, "--check")
        refused = run(tmp_path, {**variables, "ITERABLE_API_KEY": "other"}, "--check")
        assert sandbox.state()["users"] == {}

    assert (shown.exit_code, shown.stderr) == (0, "")
    rows = {line.split("  ")[0]: line for line in shown.stdout.splitlines()}
    assert rows["profile.score"].split() == [
        *("profile.score", "FLOAT", "or", "DOUBLE", "users/update", "score", "0.5")
    ]
    assert "ada" not in shown.stdout
    assert "SCAN people" in shown.stdout
    assert "a server-side key" in shown.stdout
    assert "the first user creates: score, tags" in shown.stdout
    assert refused.exit_code == ExitCode.KEY_REFUSED
    assert not (tmp_path / "iterable_journal.db").exists()


def test_check_tells_a_jwt_key(tmp_path: Path, database: Path) -> None:
    """Such a key may not read the fields."""
    secret = "a secret of at least thirty-two bytes"
    with SandboxProcess(SandboxOptions(jwt_secret=secret)) as sandbox:
        variables = variables_for(tmp_path, sandbox, PROFILES, USE_JWT_AUTH="true")
        result = run(tmp_path, {**variables, "ITERABLE_JWT_SECRET": secret}, "--check")
    assert database.exists()
    assert (result.exit_code, "a JWT-enabled key" in result.stdout) == (0, True)
