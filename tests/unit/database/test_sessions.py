"""An engine whose driver is not installed."""

from __future__ import annotations

import sys

import pytest

from db_connection import DatabaseConnection
from integration.core.exit_codes import ExitCode
from integration.database.driver_session import DriverMissing


@pytest.mark.parametrize(
    ("engine", "module", "message"),
    [
        (
            "postgresql",
            "psycopg",
            "PostgreSQL needs its driver: pip install -r requirements-postgres.txt",
        ),
        ("duckdb", "duckdb", "DuckDB needs its driver: pip install -r requirements-duckdb.txt"),
        ("spark", "pyspark", "Spark needs its driver: pip install -r requirements-spark.txt"),
    ],
)
def test_a_missing_driver_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, engine: str, module: str, message: str
) -> None:
    """It is a matter of configuration: a retry would not help."""
    monkeypatch.setitem(sys.modules, module, None)
    connection = DatabaseConnection(engine=engine, host="db", database="shop")  # type: ignore[arg-type]
    with pytest.raises(DriverMissing) as caught:
        connection.connect()
    assert str(caught.value) == message
    assert caught.value.exit_code == ExitCode.CONFIGURATION
