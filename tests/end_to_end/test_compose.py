"""docker-compose.yml: what `make up` promises, with each service as a process of this machine."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.compose import COMPOSE, ROOT, Machine
from tests.support.mysql_server import MySQLServer, private_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICES: dict[str, Any] = COMPOSE["services"]
PROGRAMS = ["app", "etl", "deliver"]
SECONDS_TO_DELIVER = 30


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine with an empty database server, on which nothing runs yet."""
    with private_server() as server:
        place = Machine(tmp_path, server)
        try:
            yield place
        finally:
            place.stop_all()


def answer(machine: Machine, path: str) -> bytes:
    """What the window answers to a browser that knows the token."""
    token = (machine.root / "project/secrets/service_token").read_text(encoding="utf-8").strip()
    url = f"http://127.0.0.1:{machine.ports['8000']}{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return bytes(response.read())


def mock_users(machine: Machine) -> set[str]:
    """The users that the mock Iterable server has."""
    url = f"http://127.0.0.1:{machine.ports['8765']}/_sandbox/state"
    with urllib.request.urlopen(url, timeout=30) as response:
        return set(json.load(response)["users"])


def test_the_story_of_make_up(machine: Machine) -> None:
    """The sources fill the tables, users reach Iterable, the page is well, and all end in order."""
    machine.set_up_database()
    machine.wait_until_healthy("db")
    machine.start("app")
    machine.start("etl")
    assert not machine.is_healthy("etl")
    machine.start("source")  # it joins the network of etl, so it starts later
    machine.wait_until_healthy("source")
    machine.wait_until_healthy("etl")
    assert not machine.is_healthy("deliver")
    machine.start("deliver")
    machine.start("iterable")
    machine.wait_until_healthy("iterable")
    machine.wait_until_healthy("deliver")
    machine.wait_until_healthy("app")

    assert stored(machine.server) == (300, 600)
    expected = expected_users(machine.server)
    until = time.monotonic() + SECONDS_TO_DELIVER
    while mock_users(machine) != expected and time.monotonic() < until:
        time.sleep(0.2)  # a delivery is healthy while it runs, too
    assert mock_users(machine) == expected != set()
    assert json.loads(answer(machine, "/health"))["status"] == "healthy"
    assert b"All is well" in answer(machine, "/")
    assert machine.stop_all() == {
        "iterable": 0,
        "deliver": 143,
        "source": 0,
        "etl": 143,
        "app": 143,
    }
    with closing(sqlite3.connect(machine.root / "state/iterable_journal.db")) as journal:
        assert journal.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert_no_secret_is_printed(machine)


def stored(server: MySQLServer) -> tuple[int, int]:
    """The number of customers and of page views."""
    (customers,), (views,) = (
        server.run(f"SELECT COUNT(*) FROM iterable_challenge.{table}")[0]
        for table in ("customers", "page_views")
    )
    return customers, views


def expected_users(server: MySQLServer) -> set[str]:
    """The pro customers with a recent view of one of the two pages."""
    rows = server.run(
        "SELECT DISTINCT email FROM iterable_challenge.customers c"
        " JOIN iterable_challenge.page_views v ON v.user_id = c.id"
        " WHERE plan_type = 'pro' AND page IN ('pricing', 'settings')"
    )
    return {email for (email,) in rows}


def assert_no_secret_is_printed(machine: Machine) -> None:
    """Neither on a console nor in a log file."""
    secrets = [path.read_bytes().strip() for path in machine.root.glob("project/secrets/*")]
    logs = [*machine.root.glob("*.out"), *machine.root.glob("**/*.log")]
    assert len(logs) >= 7
    generated = [secret for secret in secrets if len(secret) > 20]
    assert len(generated) == 5
    for log in logs:
        assert not any(secret in log.read_bytes() for secret in generated), log.name


@pytest.mark.parametrize("service", ["app", "etl", "deliver", "iterable", "source"])
def test_each_container_of_the_program_is_confined(service: str) -> None:
    """A read-only root, no rights of root, and no new ones."""
    settings = SERVICES[service]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in settings  # the image's, which is none of this machine's


def test_only_this_machine_reaches_the_window() -> None:
    """No other port is published."""
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"app": ["127.0.0.1:${WINDOW_PORT:-8000}:8000"]}


@pytest.mark.parametrize("service", PROGRAMS)
def test_no_secret_is_in_an_environment(service: str) -> None:
    """Each one is a file that compose mounts, and no service has more than it reads."""
    environment = SERVICES[service]["environment"]
    files = {
        text.removeprefix("/run/secrets/")
        for name, text in environment.items()
        if text.startswith("/run/secrets/") and name.endswith("_FILE")
    }
    assert files == set(SERVICES[service]["secrets"])
    assert not {"DB_PASSWORD", "ITERABLE_API_KEY", "SERVICE_TOKEN"} & environment.keys()


def test_without_the_mock_servers_the_four_services_are_left() -> None:
    """`make up PROFILES=`."""
    assert [name for name, one in SERVICES.items() if "profiles" not in one] == ["db", *PROGRAMS]


def test_git_and_the_builder_ignore_the_secrets() -> None:
    """They neither enter the history nor an image."""
    assert "/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "*" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
