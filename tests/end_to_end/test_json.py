"""`--json` and `LOG_FORMAT=json`: one object, one object a line, as the documents have them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.database import create_database
from tests.support.cli_runs import run_cli
from tests.support.runs import database_of, environment_for, run

if TYPE_CHECKING:
    from sandbox.process import SandboxProcess

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
ONE_FAILS = [{"endpoint": "events/track", "kind": "status", "status": 400, "times": 1}]


@pytest.fixture
def environment(tmp_path: Path, sandbox: SandboxProcess) -> dict[str, str]:
    """A complete configuration with two users."""
    database = database_of(tmp_path / "customers.sqlite", ["ada@example.com", "bob@example.com"])
    return environment_for(tmp_path, sandbox, database)


def documented(command: str) -> dict[str, Any]:
    """The object that the documents show for a command."""
    text = DOCUMENTED.read_text(encoding="utf-8").split(f"$ {command}\n", 1)[1]
    return dict(json.loads(text.split("```", 1)[0]))


def shape(value: object) -> object:
    """The names of an object's fields, at each level; of a list, those of its first element."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items() if name != "by_status"}
    return [shape(value[0])] if isinstance(value, list) and value else None


def test_a_run_is_one_object(
    tmp_path: Path, sandbox: SandboxProcess, environment: dict[str, str]
) -> None:
    """As documented; the log is on stderr, and the exit code is the same."""
    sandbox.faults(ONE_FAILS)

    done = run(tmp_path, environment, "--json")

    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["exit_code"], answer["error"]) == (1, 1, None)
    assert answer["run"]["run_id"] == done.results["run_id"]
    counts = ("total_users", "successful", "partial_failures", "total_failures")
    assert [answer["run"][name] for name in counts] == [2, 1, 1, 0]
    assert Path(answer["run"]["results_file"]).is_file()
    assert answer["verdict"]["advice"] == "python main.py --retry-failed"
    assert "[STEP 1]" in done.stderr
    assert shape(answer) == shape(documented("python main.py --json"))


def test_the_status_is_one_object(tmp_path: Path, environment: dict[str, str]) -> None:
    """Before the first run, too; a failure has the line that the log has."""
    before = json.loads(run(tmp_path, {}, "--status", "--json").stdout)
    run(tmp_path, environment)
    after = json.loads(run(tmp_path, {}, "--status", "--json").stdout)
    refused = run(tmp_path, {"JOURNAL_FILE": "customers.sqlite"}, "--status", "--json")

    assert (before["runs"], before["verdict"]["status"]) == ([], "healthy")
    assert after["runs"][0]["successful"] == 2
    assert shape(after) == shape(documented("python main.py --status --json"))
    failed = json.loads(refused.stdout)
    assert (failed["exit_code"], failed["error"] in refused.stderr) == (78, True)


def test_a_run_that_cannot_start_is_an_object_too(tmp_path: Path) -> None:
    """With the exit code and the line of the log."""
    done = run(tmp_path, {}, "--json")

    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["exit_code"], answer["run"]) == (78, 78, None)
    assert answer["error"].startswith("Missing required environment variables: DB_HOST")


def test_the_ingest_is_one_object(tmp_path: Path) -> None:
    """As documented."""
    create_database(tmp_path / "target.db")
    table = '[sources.crm]\nentity = "customers"\nkind = "csv"\npath = "customers.csv"\n'
    (tmp_path / "sources.toml").write_text(f"{table}max_rejected_percent = 100\n")
    (tmp_path / "customers.csv").write_text("email,plan_type\na@example.com,pro\nb,pro\n")
    environment = {"DB_ENGINE": "sqlite", "DB_NAME": "target.db", "LOG_FILE": "run.log"}

    answers = [
        json.loads(run_cli(tmp_path, environment, command, "--json").stdout)
        for command in ("run", "stats", "rejected")
    ]

    commands = [f"python cli.py {command} --json" for command in ("run", "stats", "rejected")]
    assert [shape(one) for one in answers] == [shape(documented(one)) for one in commands]


def test_the_log_is_json(
    tmp_path: Path, sandbox: SandboxProcess, environment: dict[str, str]
) -> None:
    """Console and file, from the first line to the last; with the run's id and without secrets."""
    sandbox.faults(ONE_FAILS)

    done = run(tmp_path, environment | {"LOG_FORMAT": "json"})

    lines = [json.loads(line) for line in done.log.splitlines()]
    printed = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    assert {*lines[0]} == {"time", "level", "logger", "message"}
    assert [lines[0][name] for name in ("level", "logger")] == ["INFO", "main"]
    assert datetime.fromisoformat(lines[0]["time"]).utcoffset() == timedelta(0)
    assert lines[-1]["run_id"] == done.results["run_id"]
    messages = {line["message"] for line in lines}
    assert {line["message"] for line in printed} <= messages
    assert "sandbox-key" not in done.log


def test_a_line_before_the_settings_are_known_is_json_if_the_environment_says_so(
    tmp_path: Path,
) -> None:
    """As in a container."""
    done = run(tmp_path, {"LOG_FORMAT": "json"})

    assert done.exit_code == 78
    assert {json.loads(line)["level"] for line in done.stderr.splitlines()} == {"ERROR"}
