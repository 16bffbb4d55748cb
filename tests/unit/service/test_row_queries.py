"""The SQL of `/data`: each row once, in the order of ids, with all its sources."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from integration.database.dialects import SQLiteDialect
from integration.service.parameters import DataFilter
from integration.service.row_queries import row_query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.service.row_queries import RowQuery

TABLES = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, email, first_name, last_name, plan_type, candidate);
CREATE TABLE page_views (id INTEGER PRIMARY KEY, user_id, page, device, browser, location,
    event_time);
CREATE TABLE etl_records (source TEXT NOT NULL, entity TEXT NOT NULL, source_key TEXT NOT NULL,
    target_id INTEGER NOT NULL, run_id INTEGER NOT NULL, PRIMARY KEY (entity, source_key, source));
CREATE INDEX idx_etl_records_target ON etl_records (entity, target_id, source);
CREATE TABLE etl_runs (run_id INTEGER PRIMARY KEY, started_at TEXT);
INSERT INTO etl_runs VALUES (1, '2026-01-01 00:00:00.000000'), (2, '2026-02-01 00:00:00.000000');
INSERT INTO page_views VALUES (1, 3, 'home', 'mobile', 'Edge', 'Oslo', '2026-01-01 00:00:00');
"""
# Customer 3 has two records of a source; 9 has none; the row of one record was deleted.
RECORDS = [
    ("crm", "customers", "b", 3, 1),
    ("crm", "customers", "a", 3, 2),
    ("shop", "customers", "a", 3, 1),
    ("crm", "customers", "z", 1, 1),
    ("crm", "customers", "y", 700, 1),
    ("shop", "customers", "x", 500_000, 1),
    ("crm", "customers", "gone", 4, 1),
    ("web", "page_views", "1", 1, 1),
    ("crm", "page_views", "1", 3, 1),
]


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """Customers 1, 3, 9, 700 and 500,000, and one view."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(TABLES)
        connection.executemany(
            "INSERT INTO customers VALUES (?, 'x@x.com', 'Ann', 'Lee', ?, NULL)",
            [(1, "pro"), (3, "free"), (9, "pro"), (700, "pro"), (500_000, "free")],
        )
        connection.executemany("INSERT INTO etl_records VALUES (?, ?, ?, ?, ?)", RECORDS)
        yield connection


def asked(database: sqlite3.Connection, statement: tuple[str, tuple[object, ...]]) -> list[Any]:
    """The rows of a statement."""
    sql, parameters = statement
    return database.execute(sql.replace("%s", "?"), parameters).fetchall()


def query_of(*, has_records: bool = True, **chosen: Any) -> RowQuery:
    """The query of a filter."""
    return row_query(DataFilter(**chosen), SQLiteDialect(), has_records=has_records)


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [
        ({}, [1, 3, 9, 700, 500_000]),
        ({"source": "crm"}, [1, 3, 700]),
        ({"source": "shop"}, [3, 500_000]),
        ({"source": "web"}, []),
        ({"source": "crm", "plan_type": "pro"}, [1, 700]),
        ({"source": "crm", "search": "an"}, [1, 3, 700]),
        ({"source": "crm", "updated_since": "2026-01-15"}, [3]),
        ({"updated_since": "2026-01-15"}, [3]),
        ({"source": "web", "entity": "page_views"}, [1]),
        ({"source": "crm", "entity": "page_views"}, []),
        ({"source": "web", "entity": "page_views", "updated_since": "2026-01-15"}, []),
    ],
)
def test_a_filter_finds_each_row_once(
    database: sqlite3.Connection, chosen: dict[str, Any], ids: list[int]
) -> None:
    """Page by page, and counted; a row with two records of a source is one row."""
    query = query_of(**chosen)
    found, after = [], 0
    while page := asked(database, query.rows_after(after, 2)):
        found += [row[0] for row in page]
        after = found[-1]
    assert found == ids
    assert asked(database, query.rows_after(0, 2, 1)) == asked(database, query.rows_after(0, 3))[1:]
    assert asked(database, query.count_rows()) == [(len(ids),)]


@pytest.mark.parametrize("ids", [[1, 3, 9], [1, 3, 9, 700, 500_000], [500_000]])
def test_the_sources_of_a_page_are_found_at_once(
    database: sqlite3.Connection, ids: list[int]
) -> None:
    """In order; whether its ids lie close together, and those between are read along, or not."""
    expected = [
        row
        for row in [
            (1, "crm"),
            (3, "crm"),
            (3, "crm"),
            (3, "shop"),
            (700, "crm"),
            (500_000, "shop"),
        ]
        if row[0] in ids
    ]
    found = asked(database, query_of().sources_of(ids))
    assert [row for row in found if row[0] in ids] == expected


def test_the_records_of_a_source_are_read_in_the_order_of_rows(
    database: sqlite3.Connection,
) -> None:
    """Nothing is collected or sorted first, so that the first page costs as little as any other."""
    views = query_of(source="web", entity="page_views")
    for query in (query_of(source="crm"), views):
        sql, parameters = query.rows_after(1, 100)
        steps = " ".join(
            row[3] for row in asked(database, (f"EXPLAIN QUERY PLAN {sql}", parameters))
        )
        assert "r USING INDEX idx_etl_records_target (entity=? AND target_id>?)" in steps
        assert "TEMP" not in steps


def test_without_the_tables_of_the_ingest_no_row_has_a_source(database: sqlite3.Connection) -> None:
    """They are not read."""
    database.execute("DROP TABLE etl_records")
    assert len(asked(database, query_of(has_records=False).rows_after(0, 10))) == 5
    assert asked(database, query_of(has_records=False, source="crm").rows_after(0, 10)) == []
