"""What a receiver on loopback gets of the passes of `cli.py run`."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.database import create_database
from tests.support.cli_runs import run_cli, start_cli
from tests.support.receiver import CHECK, TOKEN, receiver
from tests.support.runs import finish, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.receiver import Receiver

SOURCES = """
[sources.crm]
entity = "customers"
kind = "csv"
path = "customers.csv"
max_rejected_percent = 100
[sources.web]
entity = "customers"
kind = "csv"
path = "web.csv"
"""
GOOD = "email,plan_type\na@example.com,pro\n"
ONE_BAD = f"{GOOD}b@example.com,unknown\n"


@pytest.fixture
def told() -> Iterator[Receiver]:
    """A receiver that accepts everything."""
    with receiver() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with a database and two sources."""
    create_database(tmp_path / "target.db")
    (tmp_path / "sources.toml").write_text(SOURCES)
    (tmp_path / "customers.csv").write_text(ONE_BAD)
    (tmp_path / "web.csv").write_text("email,plan_type\nw@example.com,free\n")
    return tmp_path


ENVIRONMENT = {"DB_ENGINE": "sqlite", "DB_NAME": "target.db", "LOG_FILE": "run.log"}


def printed(stdout: str) -> list[dict[str, Any]]:
    """The objects that `--json` printed, one a line."""
    return [json.loads(line) for line in stdout.splitlines()]


def test_each_source_is_told_of_when_its_state_changes(folder: Path, told: Receiver) -> None:
    """Sources that are read by different commands do not hide each other."""
    environment = ENVIRONMENT | told.settings
    (folder / "web.csv").rename(folder / "away.csv")
    runs = [
        run_cli(folder, environment, "run", "--json"),
        run_cli(folder, environment, "run", "--source", "crm", "--full-refresh"),
    ]
    (folder / "away.csv").rename(folder / "web.csv")
    runs.append(run_cli(folder, environment, "run", "--source", "web", "--json"))

    assert [one.exit_code for one in runs] == [69, 1, 0]
    assert told.pings == ["start", "69", "start", "1", "start", "0"]
    first, last = told.notifications
    assert first["title"] == "shop: The source web failed (exit code 69) (and 1 more)"
    assert "1 of 2 records were rejected" in first["message"]
    assert "Next: python cli.py rejected --source crm" in first["message"]
    assert "The source web failed (exit code 69)." in first["message"]
    assert "Next: python cli.py run --source web" in first["message"]
    assert last["title"] == "shop: The source web works again"
    assert not any(secret in one.log + one.stderr for one in runs for secret in (TOKEN, CHECK))
    (answer,) = printed(runs[0].stdout)
    assert (answer["command"], answer["exit_code"], answer["error"]) == ("run", 69, None)
    assert [(one["source"], one["exit_code"]) for one in answer["sources"]] == [
        ("crm", 1),
        ("web", 69),
    ]
    assert answer["sources"][0]["run"]["rejected"] == 1
    assert answer["sources"][1]["run"]["status"] == "failed"


def test_a_database_that_is_gone_is_one_failure(folder: Path, told: Receiver) -> None:
    """Not one of each source; a setting that is missing is another one."""
    environment = ENVIRONMENT | told.settings | {"DB_NAME": "none/target.db"}

    gone = run_cli(folder, environment, "run", "--json")
    unset = run_cli(folder, told.settings | {"LOG_FILE": "run.log"}, "run", "--json")
    back = run_cli(folder, ENVIRONMENT | told.settings, "run", "--source", "web")

    codes = [gone.exit_code, unset.exit_code, back.exit_code]
    assert codes == [69, 78, 0]
    assert told.pings == ["start", "69", "start", "78", "start", "0"]
    assert told.titles == [
        "shop: The ingest failed (exit code 69)",
        "shop: The ingest failed (exit code 78)",
        "shop: The ingest works again",
    ]
    (answer,) = printed(unset.stdout)
    assert answer["exit_code"] == 78
    assert answer["error"].startswith("Missing required environment variables: DB_HOST")


def test_each_pass_of_every_is_pinged(folder: Path, told: Receiver) -> None:
    """And printed as one line; what was told is not told again."""
    environment = ENVIRONMENT | told.settings
    process = start_cli(folder, environment, "run", "--every", "0.2", "--full-refresh", "--json")
    wait_until(process, lambda: len(told.pings) >= 6)
    process.send_signal(signal.SIGTERM)
    ended = finish(folder, process)

    assert ended.exit_code == 143
    assert told.pings[:6] == ["start", "1"] * 3
    assert told.titles == ["shop: The source crm was partial (exit code 1)"]
    assert {one["exit_code"] for one in printed(ended.stdout)} <= {1, 143}
    assert "reading from" in ended.stderr


def test_a_dry_run_tells_nothing(folder: Path, told: Receiver) -> None:
    """It is no run; its answer has no run either."""
    done = run_cli(folder, ENVIRONMENT | told.settings, "run", "--dry-run", "--json")

    assert told.received == []
    (answer,) = printed(done.stdout)
    assert [one["run"] for one in answer["sources"]] == [None, None]


def test_rejected_records_are_one_object(folder: Path) -> None:
    """With the reason, without a value."""
    run_cli(folder, ENVIRONMENT, "run")

    listed = run_cli(folder, ENVIRONMENT, "rejected", "--json")

    (answer,) = printed(listed.stdout)
    (record,) = answer["records"]
    assert (record["source"], record["code"], record["field"]) == (
        "crm",
        "not_allowed",
        "plan_type",
    )
    assert "b@example.com" not in listed.stdout
