"""`DatabaseConnection` as a notebook uses it: keyword arguments, `execute_query`, rows as dicts."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from db_connection import DatabaseConnection, DatabaseUnavailable, QueryFailed
from sandbox.database import create_database
from tests.conftest import SETUP_SQL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from db_connection import DatabaseSettings

UNUSED_HOST = "127.0.0.2"  # this machine, where the private server does not listen


def no_sleep(seconds: float) -> None:
    """Return immediately."""


@pytest.fixture(params=["mysql", "sqlite"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], DatabaseConnection]:
    """A factory of connections to the demo's tables and rows, for each engine."""
    if request.param == "sqlite":
        create_database(tmp_path / "demo.db", SETUP_SQL)
        return lambda: DatabaseConnection(engine="sqlite", database=str(tmp_path / "demo.db"))
    settings: DatabaseSettings = request.getfixturevalue("seeded_database")
    return lambda: DatabaseConnection(
        host=settings.hosts[0],
        user=settings.user,
        password=settings.password,
        database=settings.name,
        port=settings.port,
    )


def test_rows_are_dicts_by_column_name(
    connect: Callable[[], DatabaseConnection], caplog: pytest.LogCaptureFixture
) -> None:
    """In the query's order, with the values of the database."""
    caplog.set_level(logging.INFO, logger="db_connection")
    with connect() as connection:
        rows = connection.execute_query(
            "SELECT id, email, first_name AS name FROM customers WHERE id IN (1, 14) ORDER BY id"
        )
    assert rows == [
        {"id": 1, "email": "delgadoalex10@gmail.com", "name": "Alex"},
        {"id": 14, "email": "henry.lee@email.com", "name": None},
    ]
    assert caplog.messages[-1] == "Query executed successfully, returned 2 rows"


def test_a_time_is_a_datetime_in_utc(connect: Callable[[], DatabaseConnection]) -> None:
    """Without a time zone, whatever the server's own zone."""
    with connect() as connection:
        (row,) = connection.execute_query("SELECT event_time FROM page_views WHERE id = 1")
    assert isinstance(row["event_time"], datetime)
    age = datetime.now(UTC).replace(tzinfo=None) - row["event_time"]
    assert abs(age - timedelta(hours=5)) < timedelta(minutes=1)


def test_no_rows_are_an_empty_list(connect: Callable[[], DatabaseConnection]) -> None:
    """A query without results is not a failure."""
    with connect() as connection:
        assert connection.execute_query("SELECT id FROM customers WHERE id > 99") == []


def test_several_queries_run_on_one_connection(connect: Callable[[], DatabaseConnection]) -> None:
    """Also after one that failed, and one with more rows than are fetched in one batch."""
    many = "SELECT a.id FROM page_views a, page_views b"
    with connect() as connection:
        assert len(connection.execute_query(many)) == 40 * 40
        with pytest.raises(QueryFailed):
            connection.execute_query("SELECT id FROM no_such_table")
        assert connection.execute_query("SELECT COUNT(*) AS number FROM customers") == [
            {"number": 15}
        ]


def test_two_columns_of_one_name_are_refused(connect: Callable[[], DatabaseConnection]) -> None:
    """A dict would keep only one of them; the connection remains usable."""
    with connect() as connection:
        with pytest.raises(QueryFailed, match="columns id, id: give each a different name"):
            connection.execute_query("SELECT c.id, v.id FROM customers c, page_views v")
        assert len(connection.execute_query("SELECT id FROM customers")) == 15


def test_it_cannot_write(connect: Callable[[], DatabaseConnection]) -> None:
    """The session is read-only in both engines."""
    with connect() as connection:
        with pytest.raises(QueryFailed, match=r"READ ONLY|readonly"):
            connection.execute_query("DELETE FROM page_views")
        assert len(connection.execute_query("SELECT id FROM page_views")) == 40


def test_a_second_statement_is_not_run(connect: Callable[[], DatabaseConnection]) -> None:
    """One call, one statement."""
    with connect() as connection:
        with pytest.raises(QueryFailed):
            connection.execute_query("SELECT 1 AS one; SELECT 2 AS two")
        assert connection.execute_query("SELECT 1 AS one") == [{"one": 1}]


def test_outside_of_the_with_block_there_is_no_connection(
    connect: Callable[[], DatabaseConnection],
) -> None:
    """Neither before the block nor after it."""
    connection = connect()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match="Not connected"):
            connection.execute_query("SELECT 1 AS one")
        with connection:
            assert connection.execute_query("SELECT 1 AS one") == [{"one": 1}]


def test_values_have_pythons_types(seeded_database: DatabaseSettings) -> None:
    """As the docstring lists them; a statement that returns no rows gives an empty list."""
    query = (
        "SELECT 1.50 AS price, 1e0 AS share, DATE('2026-01-13') AS day, TIME('01:00:00') AS hour,"
        " CAST('a' AS BINARY) AS code, 'text' AS word, TIMESTAMP('2026-01-13 14:30:45') AS moment"
    )
    with DatabaseConnection.from_settings(seeded_database) as connection:
        assert connection.execute_query("SET @a = 1") == []
        assert connection.execute_query(query) == [
            {
                "price": Decimal("1.50"),
                "share": 1.0,
                "day": date(2026, 1, 13),
                "hour": timedelta(hours=1),
                "code": b"a",
                "word": "text",
                "moment": datetime(2026, 1, 13, 14, 30, 45),  # noqa: DTZ001
            }
        ]


@pytest.mark.parametrize("several", [lambda *hosts: ",".join(hosts), lambda *hosts: hosts])
def test_hosts_are_a_text_or_a_sequence(
    seeded_database: DatabaseSettings, several: Callable[..., str | tuple[str, ...]]
) -> None:
    """Tried in order, in either form."""
    connection = DatabaseConnection(
        host=several(UNUSED_HOST, *seeded_database.hosts),
        user=seeded_database.user,
        password=seeded_database.password,
        database=seeded_database.name,
        port=seeded_database.port,
        sleep=no_sleep,
    )
    with connection:
        assert connection.execute_query("SELECT 1 AS one") == [{"one": 1}]


def test_a_query_waits_for_the_rows_of_the_one_before(seeded_database: DatabaseSettings) -> None:
    """Unread rows are an error, not mixed up with others."""
    columns = "c.id, email, first_name, last_name, plan_type, candidate, v.page, v.device, "
    many = (
        f"SELECT {columns} v.browser, v.location, v.event_time FROM customers c, page_views v,"
        " page_views w"
    )
    with DatabaseConnection.from_settings(seeded_database) as connection:
        next(connection.stream_page_views(many))
        with pytest.raises(QueryFailed, match="not all read"):
            connection.execute_query("SELECT 1 AS one")


def test_the_password_is_in_no_repr() -> None:
    """Printing the object shows only its purpose."""
    connection = DatabaseConnection(
        host="db1, db2", user="reader", password="s3cret", database="shop"
    )
    assert "s3cret" not in repr(connection)
    assert "hosts=('db1', 'db2'), port=3306, user='reader', name='shop'" in repr(connection)


@pytest.mark.parametrize(("host", "words"), [("", "needs a host"), ("db:3307", "port separately")])
def test_a_host_that_is_none_is_a_mistake_of_the_caller(host: str, words: str) -> None:
    """Found before anything is connected to."""
    with pytest.raises(ValueError, match=words):
        DatabaseConnection(host=host, user="reader", password="secret", database="shop")
