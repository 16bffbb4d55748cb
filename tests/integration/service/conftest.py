"""Windows on filled databases of each engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from db_connection import DatabaseSettings
from sandbox.database import create_database
from tests.conftest import load_seed
from tests.support.window import Window, fill, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", params=["mysql", "sqlite"])
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, DatabaseSettings]]:
    """A folder with a journal, and a database; one for all tests of a module."""
    folder = tmp_path_factory.mktemp("window")
    if request.param == "sqlite":
        create_database(folder / "shop.db")
        database = DatabaseSettings("sqlite", (), 0, "", "", str(folder / "shop.db"))
        fill(folder, database)
        yield folder, database
        return
    server = request.getfixturevalue("mysql_server")
    name = server.new_database()
    load_seed(server, name)
    fill(folder, server.settings(name))
    yield folder, server.settings(name)
    server.drop_databases()


@pytest.fixture(scope="module")
def window(filled: tuple[Path, DatabaseSettings]) -> Iterator[Window]:
    """A window without a token; one for all tests of a module."""
    with serving(*filled) as running:
        yield running


@pytest.fixture(scope="module")
def sqlite_filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DatabaseSettings]:
    """The same on SQLite only, for what does not depend on the engine."""
    folder = tmp_path_factory.mktemp("window")
    create_database(folder / "shop.db")
    database = DatabaseSettings("sqlite", (), 0, "", "", str(folder / "shop.db"))
    fill(folder, database)
    return folder, database
