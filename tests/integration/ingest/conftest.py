"""A writable session of each engine, with the empty tables of `database_setup.sql`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from db_connection import DatabaseSettings
from integration.database.writing import WriteSession, open_writer
from sandbox.database import create_database
from tests.conftest import load_seed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["mysql", "sqlite"])
def target_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseSettings]:
    """A database with the documented tables, without rows."""
    if request.param == "sqlite":
        file = tmp_path / "target.db"
        create_database(file)
        yield DatabaseSettings("sqlite", (), 0, "", "", str(file))
        return
    server = request.getfixturevalue("mysql_server")
    name = server.new_database()
    load_seed(server, name)
    yield server.settings(name)
    server.drop_databases()


@pytest.fixture
def seeded(target_settings: DatabaseSettings) -> Iterator[WriteSession]:
    """A session of a database with the rows of `database_setup.sql`."""
    session = open_writer(target_settings)
    yield session
    session.close()


@pytest.fixture
def session(seeded: WriteSession) -> WriteSession:
    """A session of a database with empty tables."""
    seeded.execute("DELETE FROM page_views")
    seeded.execute("DELETE FROM customers")
    return seeded
