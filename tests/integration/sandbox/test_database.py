"""The demo's database: the same rows and results as in MySQL."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from db_connection import load_query
from integration.database.sqlite import to_sqlite
from sandbox.database import create_database
from tests.conftest import QUERIES_SQL, ROOT, SETUP_SQL

if TYPE_CHECKING:
    from pathlib import Path

    from db_connection import DatabaseSettings
    from tests.support.mysql_server import MySQLServer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The demo's database."""
    path = tmp_path / "demo.db"
    create_database(path, SETUP_SQL)
    return path


def _rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


def _with_times(row: tuple[Any, ...]) -> tuple[list[Any], list[datetime]]:
    """Split a row into its plain values and its times, which SQLite has as text."""
    values, times = [], []
    for cell in row:
        if isinstance(cell, str) and cell[:2] == "20":
            times.append(datetime.fromisoformat(cell))
        elif isinstance(cell, datetime):
            times.append(cell)
        else:
            values.append(cell)
    return values, times


def _assert_same(ours: list[tuple[Any, ...]], theirs: list[tuple[Any, ...]]) -> None:
    """Compare two results; both databases were set up a moment ago, one after the other."""
    assert len(ours) == len(theirs)
    for our_row, their_row in zip(ours, theirs, strict=True):
        (our_values, our_times), (values, times) = _with_times(our_row), _with_times(their_row)
        assert our_values == values
        for our_time, time in zip(our_times, times, strict=True):
            assert abs((our_time - time).total_seconds()) < 30


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_query_answers_as_on_a_real_server(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings, file: Path, number: int
) -> None:
    """Queries 1 to 3 return the same rows in SQLite and in MySQL or MariaDB."""
    query = load_query(QUERIES_SQL, number)
    (translated,) = to_sqlite(query)
    expected = mysql_server.run(query, name=seeded_database.name)
    assert expected
    _assert_same(_rows(file, translated), expected)


@pytest.mark.parametrize("table", ["customers", "page_views"])
def test_each_table_holds_the_rows_of_a_real_server(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings, file: Path, table: str
) -> None:
    """All 15 customers and 40 views exist, including near misses."""
    query = f"SELECT * FROM {table} ORDER BY id"
    _assert_same(_rows(file, query), mysql_server.run(query, name=seeded_database.name))


def test_the_demo_has_15_customers_and_40_views(file: Path) -> None:
    """The documented numbers, even on machines without a server."""
    counts = "SELECT (SELECT COUNT(*) FROM customers), (SELECT COUNT(*) FROM page_views)"
    assert _rows(file, counts) == [(15, 40)]


def test_recreating_it_gives_the_same_rows(file: Path) -> None:
    """As in MySQL, the two tables are recreated."""
    create_database(file, SETUP_SQL)
    assert _rows(file, "SELECT COUNT(*) FROM page_views") == [(40,)]


def test_only_the_owner_may_read_it(file: Path) -> None:
    """The file holds personal data."""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO customers (email, plan_type) VALUES ('mia.harris@email.com', 'pro')",
        "INSERT INTO customers (email, plan_type) VALUES ('a@example.com', 'gold')",
        "INSERT INTO page_views (user_id, page) VALUES (1, 'checkout')",
    ],
)
def test_its_tables_refuse_what_mysqls_refuse(file: Path, statement: str) -> None:
    """ENUM and UNIQUE hold in SQLite."""
    with pytest.raises(sqlite3.IntegrityError):
        _rows(file, statement)


def test_a_setup_file_that_fails_midway_changes_nothing(file: Path, tmp_path: Path) -> None:
    """The file is created in one transaction."""
    broken = tmp_path / "broken.sql"
    broken.write_text("DROP TABLE page_views; INSERT INTO no_such_table VALUES (1);")
    with pytest.raises(sqlite3.OperationalError, match="no_such_table"):
        create_database(file, broken)
    assert _rows(file, "SELECT COUNT(*) FROM page_views") == [(40,)]


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox.database", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_creates_the_file_and_explains_its_use(tmp_path: Path) -> None:
    """`python -m sandbox.database FILE` is for users of DB_ENGINE=sqlite."""
    file = tmp_path / "demo.db"
    done = _command(str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Made {file}. To use it: DB_ENGINE=sqlite DB_NAME={file}\n"
    assert _rows(file, "SELECT COUNT(*) FROM customers") == [(15,)]


def test_empty_means_the_tables_without_rows(tmp_path: Path) -> None:
    """For the ingest, whose ids would be those of the sample rows."""
    file = tmp_path / "empty.db"
    assert _command("--empty", str(file)).returncode == 0
    for table in ("customers", "page_views"):
        assert _rows(file, f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_a_file_that_cannot_be_created_is_one_line(tmp_path: Path) -> None:
    """A missing folder is reported without a traceback."""
    done = _command(str(tmp_path / "no" / "demo.db"))
    assert done.returncode == os.EX_CANTCREAT
    assert done.stderr.startswith("Cannot make ")
    assert done.stderr.count("\n") == 1
