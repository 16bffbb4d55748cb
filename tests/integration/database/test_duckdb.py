"""DuckDB: its values, its files and its errors."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from db_connection import (
    DatabaseConnection,
    DatabaseRefused,
    DatabaseUnavailable,
    Query,
    QueryFailed,
)

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 3, 29, 1, 30)  # noqa: DTZ001
ZONED = "timestamptz '2026-03-29 03:30:00+02'"


def rows_of(sql: str, database: str = ":memory:", **arguments: Any) -> list[Any]:
    """All rows of a query of DuckDB's."""
    with DatabaseConnection(engine="duckdb", database=database, **arguments) as connection:
        _, batches = connection.stream_rows(Query(sql, "native"))
        return [row for batch in batches for row in batch]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        (ZONED, AT),
        (f"{{'at': {ZONED}, 'ids': [uuid '7b3c1b1e-0000-4000-8000-000000000001']}}", None),
        (f"[{ZONED}]", [AT]),
        ("timestamp '2026-03-29 01:30:00'", AT),
        ("date '2026-03-29'", date(2026, 3, 29)),
        ("1.50::DECIMAL(5, 2)", Decimal("1.50")),
        ("true", True),
        ("sum(1::BIGINT)", 1),
        ("'💠'", "💠"),
        ("'{\"a\": 1.50}'::JSON", '{"a": 1.50}'),
        ("MAP {'a': 1}", {"a": 1}),
        ("'x'::BLOB", b"x"),
        ("NULL", None),
    ],
)
def test_values_have_the_types_of_a_run(sql: str, value: object) -> None:
    """Times in UTC without a zone, also within structures."""
    ((found,),) = rows_of(f"SELECT {sql} AS value;")
    if sql.startswith("{"):
        value = {"at": AT, "ids": ["7b3c1b1e-0000-4000-8000-000000000001"]}
    assert found == value
    assert isinstance(found, type(value))


def test_rows_keep_their_order_and_a_limit_ends_the_reading() -> None:
    """Also when a time of the query is converted."""
    sql = f"SELECT i AS id, {ZONED} AS at FROM range(5000) r(i) ORDER BY i DESC"
    assert [row[0] for row in rows_of(sql)] == list(range(4999, -1, -1))
    with DatabaseConnection(engine="duckdb", database=":memory:") as connection:
        _, batches = connection.stream_rows(Query(sql, "native"), 3)
        assert [row[0] for batch in batches for row in batch] == [4999, 4998, 4997]
        assert connection.execute_query("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_a_query_names_files(tmp_path: Path, kind: str) -> None:
    """In MySQL's dialect, in backquotes."""
    file = tmp_path / f"people.{kind}"
    duckdb.sql(f"COPY (SELECT 7 AS id, 'ada@example.com' AS email) TO '{file}'")
    with DatabaseConnection(engine="duckdb", database=":memory:") as connection:
        found = connection.execute_query(f"SELECT id, email FROM `{file}`")
    assert found == [{"id": 7, "email": "ada@example.com"}]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT id FROM nope", "A table or function is missing (Catalog Error: Table with name "),
        ("SELECT nope FROM range(1)", "The tables do not match the query (Binder Error: "),
        ("SELEC 1", "DuckDB does not understand the query (Parser Error: "),
        ("SELECT * FROM 'nope.parquet'", "A file of the query cannot be read (IO Error: No files "),
        ("SELECT 'a'::INT AS id", "DuckDB cannot run the query: Conversion Error: "),
        ("CREATE TABLE t (id INT)", "The query must be one SELECT"),
        ("COPY (SELECT 1) TO 'x.csv'", "The query must be one SELECT"),
        ("SELECT 1; SELECT 2", "The query must be one SELECT"),
    ],
)
def test_a_failed_query_says_what_to_check(sql: str, message: str) -> None:
    """In one line."""
    with pytest.raises(QueryFailed) as caught:
        rows_of(sql)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """It is not created, either."""
    text = tmp_path / "text"
    text.write_text("not a database")
    with pytest.raises(DatabaseRefused, match="is not a DuckDB database: check DB_NAME"):
        rows_of("SELECT 1", str(text))
    with pytest.raises(DatabaseRefused, match=r"There is no DuckDB database .*, or use duckdb:///"):
        rows_of("SELECT 1", str(tmp_path / "missing"))
    assert not (tmp_path / "missing").exists()


def test_a_file_is_read_and_not_written(tmp_path: Path) -> None:
    """Its other options are DuckDB's own."""
    file = tmp_path / "shop.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE customers AS SELECT 7 AS id")
    before = file.read_bytes()
    assert rows_of("SELECT id FROM customers", str(file), options=[("threads", "1")]) == [(7,)]
    assert file.read_bytes() == before


def test_a_wrong_option_is_one_line() -> None:
    """A retry would not help."""
    with pytest.raises(DatabaseRefused) as caught:
        rows_of("SELECT 1", options=[("memory_limit", "much")])
    assert str(caught.value).startswith("Cannot open :memory:: check DB_NAME and DB_OPTIONS (")


def test_a_file_that_is_open_for_writing_may_be_free_later(tmp_path: Path) -> None:
    """Three attempts, then one line."""
    file = tmp_path / "shop.duckdb"
    waits: list[float] = []
    with duckdb.connect(str(file)), pytest.raises(DatabaseUnavailable) as caught:
        rows_of("SELECT 1", str(file), sleep=waits.append)
    assert str(caught.value).startswith(f"Cannot open {file}: check ")
