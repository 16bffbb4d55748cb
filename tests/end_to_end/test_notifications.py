"""What a receiver on loopback gets of deliveries: a failure, no repeat, recovery, and pings."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.support.receiver import CHECK, TOKEN, receiver
from tests.support.runs import (
    Customer,
    database_of,
    environment_for,
    run,
    start,
    wait_until,
)
from tests.support.scripted_server import scripted_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.process import SandboxProcess
    from tests.support.receiver import Receiver

REFUSED = [{"endpoint": "*", "kind": "status", "status": 401}]
ONE_FAILS = [{"endpoint": "events/track", "kind": "status", "status": 400, "times": 1}]


@pytest.fixture
def told() -> Iterator[Receiver]:
    """A receiver that accepts everything."""
    with receiver() as server:
        yield server


@pytest.fixture
def environment(tmp_path: Path, sandbox: SandboxProcess) -> dict[str, str]:
    """A complete configuration with two users."""
    database = database_of(tmp_path / "customers.sqlite", ["ada@example.com", "bob@example.com"])
    return environment_for(tmp_path, sandbox, database)


def test_a_failure_is_told_once_and_so_is_the_recovery(
    tmp_path: Path, sandbox: SandboxProcess, environment: dict[str, str], told: Receiver
) -> None:
    """Each run pings its start and its exit code; a receiver's tokens are in no file and line."""
    environment |= told.settings
    runs = []
    for _ in range(2):
        sandbox.faults(REFUSED)
        runs.append(run(tmp_path, environment))
    sandbox.faults([])
    runs += [run(tmp_path, environment), run(tmp_path, environment)]

    assert [one.exit_code for one in runs] == [77, 77, 0, 0]
    assert told.pings == ["start", "77", "start", "77", "start", "0", "start", "0"]
    failure, recovery = told.notifications
    assert failure["title"] == "shop: The delivery failed (exit code 77)"
    assert failure["type"] == "failure"
    first, advice = failure["message"].splitlines()
    assert first.startswith("The delivery failed (exit code 77). Unhealthy: The delivery of ")
    assert advice.startswith("Next: ")
    assert advice.endswith("python main.py --resume")
    assert recovery["title"] == "shop: The delivery works again"
    assert recovery["type"] == "success"
    assert "@example.com" not in failure["message"] + recovery["message"]
    shown = [one.log + one.stdout + one.stderr for one in runs]
    assert not any(secret in text for text in shown for secret in (TOKEN, CHECK))
    assert "Notification sent: shop: The delivery works again" in runs[2].log


def test_a_partial_run_names_the_command_that_retries(
    tmp_path: Path, sandbox: SandboxProcess, environment: dict[str, str], told: Receiver
) -> None:
    """The retry is a recovery."""
    environment |= told.settings | {"NOTIFY_WHEN": "failed_percent>40, empty_list"}
    sandbox.faults(ONE_FAILS)

    codes = [run(tmp_path, environment, *more).exit_code for more in ([], ["--retry-failed"])]

    assert codes == [1, 0]
    partial, recovery = told.notifications
    assert partial["title"] == "shop: The delivery was partial (exit code 1) (and 1 more)"
    assert partial["type"] == "warning"
    assert "Next: python main.py --retry-failed" in partial["message"]
    assert "1 of 2 users (50.0 %)" in partial["message"]
    assert recovery["title"] == "shop: The delivery works again (and 1 more)"


def test_what_cannot_start_is_told_too(
    tmp_path: Path, environment: dict[str, str], told: Receiver
) -> None:
    """A setting is missing, the database is gone; nothing to resume is neither news nor success."""
    environment |= told.settings
    without = {name: value for name, value in environment.items() if name != "ITERABLE_API_KEY"}

    codes = [
        run(tmp_path, without).exit_code,
        run(tmp_path, environment | {"DB_NAME": str(tmp_path / "none")}).exit_code,
        run(tmp_path, environment, "--retry-failed").exit_code,
    ]

    assert codes[:2] == [78, 69]
    assert told.pings == ["start", "78", "start", "69", "start", str(codes[2])]
    missing, gone = told.notifications[:2]
    assert "Missing required environment variables: ITERABLE_API_KEY" in missing["message"]
    assert gone["title"] == "shop: The delivery failed (exit code 69)"


def test_an_empty_list_is_told_if_that_is_asked_for(
    tmp_path: Path, sandbox: SandboxProcess, told: Receiver
) -> None:
    """The delivery itself is well."""
    environment = environment_for(tmp_path, sandbox, database_of(tmp_path / "none.sqlite", []))
    environment |= told.settings

    assert run(tmp_path, environment).exit_code == 0
    assert told.notifications == []
    for _ in range(2):
        assert run(tmp_path, environment | {"NOTIFY_WHEN": "empty_list"}).exit_code == 0
    assert told.titles == ["shop: There were no users to send"]


@pytest.mark.parametrize("option", ["--dry-run", "--status", "--demo"])
def test_what_sends_nothing_tells_nothing(
    option: str, tmp_path: Path, environment: dict[str, str], told: Receiver
) -> None:
    """A rehearsal is no run."""
    environment |= told.settings | {"NOTIFY_WHEN": "failed_percent>0"}

    assert run(tmp_path, environment, option).exit_code == 0
    assert told.received == []


def test_a_dead_receiver_costs_a_warning_and_ten_seconds_at_most(
    tmp_path: Path, sandbox: SandboxProcess, environment: dict[str, str]
) -> None:
    """It accepts connections and never answers; the next run tells what this one could not."""

    def never(connection: socket.socket, _: bytes) -> None:
        connection.settimeout(60)

    sandbox.faults(ONE_FAILS)
    with scripted_server(never) as dead:
        addresses = {
            "NOTIFY_URLS": f"json://127.0.0.1:{dead.port}/{TOKEN}?rto=60",
            "HEALTHCHECK_URL": f"{dead.url}/{CHECK}",
        }
        done = run(tmp_path, environment | addresses | {"LOG_FORMAT": "json"})

    assert done.exit_code == 1
    lines = [json.loads(line) for line in done.log.splitlines()]
    texts = [line["message"] for line in lines if line["level"] == "WARNING"]
    assert texts[0].startswith("HEALTHCHECK_URL was not pinged: ")
    assert texts[1:] == ["Notification not sent: address 1 (json) was not sent in time"]
    assert TOKEN not in done.log
    assert CHECK not in done.log
    (end,) = [line for line in lines if "were not fully delivered" in line["message"]]
    times = [datetime.fromisoformat(line["time"]) for line in (end, lines[-1])]
    assert (times[1] - times[0]).total_seconds() < 11
    with receiver() as server:
        sandbox.faults([{**ONE_FAILS[0], "email": "ada@example.com"}])
        assert run(tmp_path, environment | server.settings).exit_code == 1
        assert server.titles == ["shop: The delivery was partial (exit code 1)"]


def test_a_kill_before_the_notification_leaves_it_to_the_next_run(
    tmp_path: Path, sandbox: SandboxProcess, environment: dict[str, str], told: Receiver
) -> None:
    """The run itself is whole; what the next one finds is told once."""
    rejected = database_of(tmp_path / "rejected.sqlite", ["ada@example.com", "no-at-sign"])
    environment |= told.settings | {"DB_NAME": str(rejected)}

    def never(connection: socket.socket, _: bytes) -> None:
        connection.settimeout(60)

    with scripted_server(never) as dead:
        process = start(tmp_path, environment | {"NOTIFY_URLS": f"json://127.0.0.1:{dead.port}"})
        wait_until(process, lambda: dead.connections == 1)
        process.kill()
        process.communicate()
    codes = [run(tmp_path, environment).exit_code for _ in range(2)]

    assert codes == [1, 1]
    assert told.titles == ["shop: The delivery was partial (exit code 1)"]
    status = json.loads(run(tmp_path, {}, "--status", "--json").stdout)
    assert [one["status"] for one in status["runs"]] == ["completed"] * 3


def test_a_receiver_that_refuses_is_a_warning(
    tmp_path: Path, sandbox: SandboxProcess, environment: dict[str, str], told: Receiver
) -> None:
    """With the reason, without the address, and the exit code stays."""
    told.status = 403
    sandbox.faults(ONE_FAILS)

    done = run(tmp_path, environment | told.settings)

    assert done.exit_code == 1
    assert "HEALTHCHECK_URL was not pinged: status 403" in done.stderr
    assert "address 1 (json) was not accepted by its service" in done.stderr
    assert TOKEN not in done.log + done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("NOTIFY_WHEN", "failed>5", "failed_percent>N (from 0 to below 100), empty_list"),
        ("NOTIFY_URLS", "slack:/token-that-is-secret", "addresses of Apprise"),
        ("HEALTHCHECK_URL", "hc-ping.com/token-that-is-secret", "an http or https address"),
    ],
)
def test_a_wrong_setting_says_what_is_allowed(
    variable: str, value: str, allowed: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Exit code 78; an address is not shown."""
    done = run(tmp_path, environment | {variable: value})

    assert done.exit_code == 78
    assert variable in done.stderr
    assert allowed in done.stderr
    assert "token-that-is-secret" not in done.stderr


def test_personal_data_is_not_told(tmp_path: Path, sandbox: SandboxProcess, told: Receiver) -> None:
    """A user without an address stays a number."""
    people = [Customer("ada@example.com"), Customer(None, first_name="Grace")]
    database = database_of(tmp_path / "customers.sqlite", people)

    done = run(tmp_path, environment_for(tmp_path, sandbox, database) | told.settings)

    assert done.exit_code == 1
    (partial,) = told.notifications
    assert "1 user cannot be sent" in partial["message"]
    assert "Grace" not in partial["message"]
