"""MySQL's queries in the dialects of the other engines."""

from __future__ import annotations

import pytest

from integration.database.errors import QueryFailed
from integration.database.sqlite import to_sqlite
from integration.database.translation import translated

NULLS_FIRST = {"postgres": " NULLS FIRST", "duckdb": " NULLS FIRST", "spark": ""}


@pytest.mark.parametrize("dialect", NULLS_FIRST)
def test_nulls_are_where_mysql_has_them(dialect: str) -> None:
    """First, and last in the opposite direction."""
    own = translated("SELECT a FROM t ORDER BY a, b DESC", dialect)
    last = " NULLS LAST" if dialect == "postgres" else ""
    assert own == f"SELECT a FROM t ORDER BY a{NULLS_FIRST[dialect]}, b DESC{last}"


@pytest.mark.parametrize(
    ("dialect", "condition"),
    [
        ("postgres", "a > (CURRENT_TIMESTAMP - INTERVAL '36 HOUR')"),
        ("duckdb", "a > (CURRENT_TIMESTAMP - INTERVAL '36' HOUR)"),
        ("spark", "a > (CURRENT_TIMESTAMP() - INTERVAL '36' HOUR)"),
    ],
)
def test_an_interval_keeps_its_unit(dialect: str, condition: str) -> None:
    """Spark's DATE_SUB would take days."""
    query = "SELECT a FROM t WHERE a > DATE_SUB(UTC_TIMESTAMP(), INTERVAL 36 HOUR)"
    assert translated(query, dialect) == f"SELECT a FROM t WHERE {condition}"


def test_binary_text_is_the_order_of_its_bytes() -> None:
    """Which DuckDB and Spark have anyway."""
    query = "SELECT a FROM t ORDER BY BINARY a DESC"
    assert 'a COLLATE "C" DESC' in translated(query, "postgres")
    assert "ORDER BY a DESC" in translated(query, "duckdb")
    assert to_sqlite(query) == ["SELECT a FROM t ORDER BY a COLLATE BINARY DESC"]


@pytest.mark.parametrize(
    ("moment", "own"),
    [
        ("NOW() - INTERVAL 5 HOUR", "DATETIME('now', '-5 HOUR')"),
        ("DATE_ADD(UTC_TIMESTAMP(), INTERVAL 1 DAY)", "DATETIME('now', '+1 DAY')"),
        ("DATE_SUB(UTC_DATE(), INTERVAL 7 DAY)", "DATETIME('now', 'start of day', '-7 DAY')"),
        ("DATE_SUB(t.at, INTERVAL 2 MONTH)", "DATETIME(t.at, '-2 MONTH')"),
        ("t.at - 5", "t.at - 5"),
    ],
)
def test_sqlite_moves_any_time(moment: str, own: str) -> None:
    """By a modifier of DATETIME."""
    assert to_sqlite(f"SELECT {moment} AS x FROM t") == [f"SELECT {own} AS x FROM t"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC FROM WHERE (", "The query cannot be translated for DuckDB: "),
        ("SELECT 1; SELECT 2", "The query must be one statement"),
    ],
)
def test_what_is_not_one_query_is_refused(query: str, message: str) -> None:
    """In one line."""
    with pytest.raises(QueryFailed) as caught:
        translated(query, "duckdb")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
