"""SQLite behind DatabaseConnection, and the translation from MySQL's SQL."""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from db_connection import (
    DatabaseConnection,
    DatabaseRefused,
    DatabaseSettings,
    QueryFailed,
    load_query,
)
from integration.database.sqlite import to_sqlite
from sandbox.database import create_database
from tests.conftest import QUERIES_SQL, SETUP_SQL
from tests.support.users import page_views

if TYPE_CHECKING:
    from pathlib import Path

QUERY_2 = load_query(QUERIES_SQL, 2)


@pytest.fixture
def settings(tmp_path: Path) -> DatabaseSettings:
    """A seeded SQLite file, in a folder whose name an URI would misread."""
    folder = tmp_path / "100% sure? #1"
    folder.mkdir()
    create_database(folder / "demo.db", SETUP_SQL)
    return DatabaseSettings("sqlite", (), 0, "", "", str(folder / "demo.db"))


def _run(settings: DatabaseSettings, *statements: str) -> None:
    with closing(sqlite3.connect(settings.name)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def _ids(settings: DatabaseSettings, limit: int | None = None) -> list[int | str]:
    with DatabaseConnection.from_settings(settings) as database:
        return [row.id for row in page_views(database.stream_page_views(QUERY_2, limit))]


def test_query_2_reads_the_three_customers_from_sqlite(
    settings: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """The same class, query and log lines as for MySQL, and times as the same text."""
    caplog.set_level(logging.INFO, logger="db_connection")
    with DatabaseConnection.from_settings(settings) as database:
        rows = list(page_views(database.stream_page_views(QUERY_2)))
    assert [row.email for row in rows] == [
        "delgadoalex10@gmail.com",
        "sarah.johnson@email.com",
        "mia.harris@email.com",
    ]
    age = datetime.now(UTC).replace(tzinfo=None) - datetime.fromisoformat(rows[2].event_time)
    assert len(rows[2].event_time) == len("YYYY-MM-DD HH:MM:SS")
    assert abs(age - timedelta(hours=2)) < timedelta(minutes=1)
    assert caplog.messages == [
        f"Successfully connected to database: {settings.name}",
        "Query executed successfully, returned 3 rows",
    ]


@pytest.mark.parametrize(("limit", "ids"), [(0, []), (2, [1, 2]), (None, [1, 2, 3])])
def test_a_limit_bounds_the_rows_of_sqlite(
    settings: DatabaseSettings, limit: int | None, ids: list[int]
) -> None:
    """At most `limit` rows are read, the first ones."""
    assert _ids(settings, limit) == ids


def test_comments_in_the_query_are_translated_with_it(settings: DatabaseSettings) -> None:
    """They are part of the statement that is read from the file."""
    comments = " -- all; pro\n# it's them; all\n/* ; of them */\n"
    query = QUERY_2.replace("FROM ranked_views", f"FROM ranked_views{comments}")
    with DatabaseConnection.from_settings(settings) as database:
        assert len(list(page_views(database.stream_page_views(query)))) == 3


@pytest.mark.parametrize(
    ("moment", "ids"),
    [
        ("DATETIME('now', 'start of day', '-7 days')", [1, 2, 3, 4]),
        ("DATETIME('now', 'start of day', '-7 days', '-1 seconds')", [1, 2, 3]),
    ],
)
def test_seven_days_count_from_midnight_in_sqlite_too(
    settings: DatabaseSettings, moment: str, ids: list[int]
) -> None:
    """The first second of the seventh day back counts, the one before does not."""
    found: list[int | str] = []
    day = None
    # Try again if midnight passed in between.
    while day != (day := datetime.now(UTC).date()):
        _run(settings, f"UPDATE page_views SET event_time = {moment} WHERE id = 16")
        found = _ids(settings)
    assert found == ids


def test_a_missing_file_is_refused_and_not_created(tmp_path: Path) -> None:
    """A wrong DB_NAME does not leave an empty database behind."""
    file = tmp_path / "gone.db"
    settings = DatabaseSettings("sqlite", (), 0, "", "", str(file))
    with pytest.raises(DatabaseRefused, match=r"no SQLite database .*gone\.db: check DB_NAME"):
        DatabaseConnection.from_settings(settings).connect()
    assert not file.exists()


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    """A file of another kind is reported when connecting, before the query."""
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but long enough to be looked at as one" * 20)
    settings = DatabaseSettings("sqlite", (), 0, "", "", str(file))
    with pytest.raises(DatabaseRefused, match="not a database"):
        DatabaseConnection.from_settings(settings).connect()


def test_the_sqlite_file_is_only_read(settings: DatabaseSettings) -> None:
    """A statement that writes is rejected, as in MySQL."""
    with (
        DatabaseConnection.from_settings(settings) as database,
        pytest.raises(QueryFailed, match="readonly"),
    ):
        next(database.stream_page_views("DELETE FROM page_views"))
    assert _ids(settings) == [1, 2, 3]


def test_missing_tables_name_the_command_that_creates_them(settings: DatabaseSettings) -> None:
    """The message for a database without the tables says how to create them."""
    _run(settings, "DROP TABLE page_views")
    with (
        DatabaseConnection.from_settings(settings) as database,
        pytest.raises(QueryFailed, match=r"no such table.*python -m sandbox\.database"),
    ):
        next(database.stream_page_views(QUERY_2))


def test_an_invalid_time_is_a_failed_query(settings: DatabaseSettings) -> None:
    """SQLite stores any text as a time; an invalid one ends the run with one line."""
    _run(settings, "UPDATE page_views SET event_time = 'tomorrow' WHERE id = 1")
    with (
        DatabaseConnection.from_settings(settings) as database,
        pytest.raises(QueryFailed, match="tomorrow"),
    ):
        list(database.stream_page_views(QUERY_2))


@pytest.mark.parametrize("query", ["SELECT 1 AS one", "SELECT event_time FROM page_views"])
def test_other_columns_are_a_failed_query(settings: DatabaseSettings, query: str) -> None:
    """A query that was edited to return other columns is reported."""
    with (
        DatabaseConnection.from_settings(settings) as database,
        pytest.raises(QueryFailed, match="it must return id, email"),
    ):
        next(database.stream_page_views(query))


def test_sql_that_cannot_be_parsed_is_a_failed_query(settings: DatabaseSettings) -> None:
    """A broken query is one line, whichever component detects it."""
    with (
        DatabaseConnection.from_settings(settings) as database,
        pytest.raises(QueryFailed, match="cannot be translated") as caught,
    ):
        next(database.stream_page_views("SELECT FROM WHERE ("))
    assert "\n" not in str(caught.value)


def test_hosts_and_password_are_not_needed(settings: DatabaseSettings) -> None:
    """For SQLite only the name is used."""
    other = dataclasses.replace(settings, hosts=("nowhere.invalid",), password="x")
    assert _ids(other) == [1, 2, 3]


@pytest.mark.parametrize(
    ("mysql", "sqlite"),
    [
        ("CREATE DATABASE shop", []),
        ("USE shop", []),
        ("SET time_zone = '+00:00'", []),
        ("DROP TABLE IF EXISTS t", ["DROP TABLE IF EXISTS t"]),
        (
            "SELECT DATE_SUB(CURDATE(), INTERVAL 7 DAY)",
            ["SELECT DATETIME('now', 'start of day', '-7 DAY')"],
        ),
        ("SELECT DATE_SUB(NOW(), INTERVAL 90 MINUTE)", ["SELECT DATETIME('now', '-90 MINUTE')"]),
        (
            "CREATE TABLE t (p ENUM('a', 'b') NOT NULL, u TIMESTAMP) ENGINE=InnoDB CHARSET=utf8mb4",
            ["CREATE TABLE t (p TEXT NOT NULL CHECK (p IN ('a', 'b')), u TEXT)"],
        ),
        (
            "CREATE TABLE t (id BIGINT AUTO_INCREMENT, PRIMARY KEY (id))",
            ["CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)"],
        ),
        ("SELECT 1; -- done\n", ["SELECT 1"]),
    ],
)
def test_mysql_is_translated_for_sqlite(mysql: str, sqlite: list[str]) -> None:
    """Everything the two SQL files use has an equivalent, or can be omitted."""
    assert to_sqlite(mysql) == sqlite
