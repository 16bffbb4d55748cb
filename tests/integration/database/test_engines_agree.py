"""The same queries give the same rows in the same order on every engine."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from db_connection import DatabaseConnection, DatabaseSettings, Query, load_query
from tests.conftest import QUERIES_SQL
from tests.support.engine_tables import (
    Tables,
    load_duckdb,
    load_mysql,
    load_postgres,
    load_sqlite,
    make_tables,
    summer_time_rule,
    write_parquet,
)
from tests.support.postgres_server import private_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.mysql_server import MySQLServer

Rows = list[tuple[Any, ...]]
QUERIES = {f"Query {number}": load_query(QUERIES_SQL, number) for number in (1, 2, 3)}
# What a query may have that is not in these: other functions of time, and the order of texts.
QUERIES["of a user"] = """
    SELECT c.id, LOWER(c.email) AS email, IFNULL(c.first_name, '?') AS first_name, c.last_name,
        COUNT(pv.id) AS views, MAX(pv.event_time) AS last_view
    FROM customers c LEFT JOIN page_views pv
        ON pv.user_id = c.id AND pv.event_time >= DATE_SUB(UTC_TIMESTAMP(), INTERVAL 96 HOUR)
    WHERE c.plan_type <> 'free' AND c.id < 1000
    GROUP BY c.id, c.email, c.first_name, c.last_name
    ORDER BY BINARY c.last_name, last_view, BINARY c.email
"""


@contextmanager
def time_zone(rule: str) -> Iterator[None]:
    """This process's time zone, which no row may depend on."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = rule
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


@pytest.fixture(scope="module")
def engines(
    tmp_path_factory: pytest.TempPathFactory, mysql_server: MySQLServer
) -> Iterator[tuple[Tables, dict[str, DatabaseSettings]]]:
    """All engines with the same tables; the servers are in a zone whose summer time just ended."""
    folder = tmp_path_factory.mktemp("engines")
    today = datetime.now(UTC).date()
    rule = summer_time_rule(today - timedelta(days=3))
    tables = make_tables(today)
    with ExitStack() as cleanup:
        cleanup.enter_context(time_zone(rule))
        postgres = cleanup.enter_context(private_server(f"timezone={rule}"))
        name = mysql_server.new_database()
        cleanup.callback(mysql_server.drop_databases)
        load_mysql(mysql_server, name, tables)
        load_sqlite(folder / "shop.db", tables)
        load_postgres(postgres, "postgres", tables)
        write_parquet(folder, tables)
        load_duckdb(folder / "shop.duckdb", folder)
        file = str(folder / "shop")
        yield (
            tables,
            {
                "mysql": mysql_server.settings(name),
                "sqlite": DatabaseSettings("sqlite", (), 0, "", "", f"{file}.db"),
                "postgresql": postgres.settings(),
                "duckdb": DatabaseSettings("duckdb", (), 0, "", "", f"{file}.duckdb"),
            },
        )


def rows_of(settings: DatabaseSettings, query: str) -> Rows:
    """All rows of a query in MySQL's dialect."""
    with DatabaseConnection.from_settings(settings) as connection:
        _, batches = connection.stream_rows(Query(query))
        return [row for batch in batches for row in batch]


def query_2_of(tables: Tables) -> Rows:
    """What Query 2 returns, computed here."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    latest: dict[int, tuple[Any, ...]] = {}
    for view in sorted(tables.views, key=lambda view: (view[-1], view[0])):
        if view[2] in {"pricing", "settings"} and view[-1] >= midnight - timedelta(days=7):
            latest[view[1]] = view
    return [
        (*customer, *latest[customer[0]][2:-1], latest[customer[0]][-1].replace(tzinfo=None))
        for customer in tables.customers
        if customer[4] == "pro" and customer[0] in latest
    ]


@pytest.mark.parametrize("engine", ["mysql", "sqlite", "postgresql", "duckdb"])
def test_query_2_finds_the_latest_view_of_each_customer(
    engines: tuple[Tables, dict[str, DatabaseSettings]], engine: str
) -> None:
    """Row by row, in order, with the values and types that a run sends."""
    tables, settings = engines
    rows = rows_of(settings[engine], QUERIES["Query 2"])
    expected = query_2_of(tables)
    assert len(rows) > 1_000
    assert rows == expected
    assert [list(map(type, row)) for row in rows] == [list(map(type, row)) for row in expected]


@pytest.mark.parametrize("query", QUERIES)
def test_all_engines_return_the_same_rows(
    engines: tuple[Tables, dict[str, DatabaseSettings]], query: str
) -> None:
    """Also the order of ties, of NULLs and of texts."""
    _, settings = engines
    found = {engine: in_times(rows_of(one, QUERIES[query])) for engine, one in settings.items()}
    assert len(found["mysql"]) > 500
    for engine in ("sqlite", "postgresql", "duckdb"):
        assert found[engine] == found["mysql"], engine


def in_times(rows: Rows) -> Rows:
    """SQLite has no type for times: only the column `event_time` becomes one."""
    return [
        tuple(str(value) if isinstance(value, datetime) else value for value in row) for row in rows
    ]
