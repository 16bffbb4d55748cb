"""The table of the engines' benchmark."""

from __future__ import annotations

from benchmarks.engines import EngineFigures, is_met, lines

MYSQL = EngineFigures("MySQL", 7_000, 2.0, 3.0, ())


def test_each_engine_is_compared_with_mysql() -> None:
    """By the query alone, and by the whole way to the journal."""
    duckdb = EngineFigures("DuckDB on Parquet", 7_000, 0.2, 1.0, ())
    heading, _, first, second = lines([MYSQL, duckdb])
    assert heading == "Query 2 from each engine: 7,000 users found"
    assert first.split() == ["MySQL", "2.00", "1.00", "3.00", "1.00"]
    assert second.split() == ["DuckDB", "on", "Parquet", "0.20", "10.00", "1.00", "3.00"]
    assert is_met([MYSQL, duckdb])


def test_an_engine_that_finds_other_users_is_wrong() -> None:
    """Or a run that lost one."""
    assert not is_met([MYSQL, EngineFigures("PostgreSQL", 6_999, 1.0, 1.0, ())])
    lost = EngineFigures("PostgreSQL", 7_000, 1.0, 1.0, ("1 rows in the CSV",))
    assert not is_met([MYSQL, lost])
    assert lines([MYSQL, lost])[-1] == "PostgreSQL: WRONG: 1 rows in the CSV"
