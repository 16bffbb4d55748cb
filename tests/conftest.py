"""Fixtures that several test modules share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from sandbox.process import SandboxProcess
from tests.support.mysql_server import DEMO_NAME, MySQLServer, any_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db_connection import DatabaseSettings

# Properties are about values: how long a busy machine takes to generate them is irrelevant.
settings.register_profile("values", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("values")

ROOT = Path(__file__).resolve().parents[1]
SETUP_SQL = ROOT / "database_setup.sql"
QUERIES_SQL = ROOT / "phase2_queries.sql"


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[MySQLServer]:
    """A real server, one for all tests of this process; skips the test when there is none."""
    with any_server() as server:
        yield server


@pytest.fixture
def empty_database(mysql_server: MySQLServer) -> Iterator[DatabaseSettings]:
    """A database without tables, private to this test."""
    yield mysql_server.settings(mysql_server.new_database())
    mysql_server.drop_databases()


@pytest.fixture
def seeded_database(
    mysql_server: MySQLServer, empty_database: DatabaseSettings
) -> DatabaseSettings:
    """A database with the tables and rows of `database_setup.sql`, private to this test."""
    load_seed(mysql_server, empty_database.name)
    return empty_database


def load_seed(server: MySQLServer, name: str) -> None:
    """Run `database_setup.sql` on a database with a name other than the demo's."""
    script = SETUP_SQL.read_text(encoding="utf-8").replace(DEMO_NAME, name)
    with server.connected(name) as connection, connection.cursor() as cursor:
        cursor.execute(script)
        while cursor.nextset():
            pass


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    """A mock Iterable server for all tests of this process."""
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> SandboxProcess:
    """The mock server, reset; a test that changes its options starts its own."""
    sandbox_process.reset()
    return sandbox_process
