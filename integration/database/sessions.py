"""The sessions of all engines; each driver is imported when its engine is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from integration.database.connecting import connect_to_any
from integration.database.driver_session import require_driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from integration.database.query_file import Dialect
    from integration.database.settings import DatabaseSettings


class Session(Protocol):
    """One open connection, of any engine."""

    def execute(
        self, query: str, limit: int | None = None, dialect: Dialect = "mysql"
    ) -> Sequence[str]:
        """Start a query and return the names of its columns.

        The session may send more rows than `limit`; the caller stops reading.
        """

    def batches(self) -> Iterator[Sequence[tuple[object, ...]]]:
        """Yield the rows in batches as they arrive."""

    def close(self) -> None:
        """End the connection, with or without unread rows."""


def open_session(settings: DatabaseSettings, timeout_seconds: float) -> Session:
    """Connect to the first host that accepts it.

    Args:
        settings: where the database is.
        timeout_seconds: until the login is complete, for each host.

    Raises:
        DatabaseUnavailable: no host can be reached, or (DatabaseRefused) one refuses.
        DriverMissing: the engine's driver is not installed.
    """
    if settings.engine == "sqlite":
        # sqlglot takes a fifth of a second to import, which MySQL's users need not wait for.
        from integration.database.sqlite import SQLiteSession  # noqa: PLC0415

        return SQLiteSession(Path(settings.name))
    return _CONNECTORS[settings.engine](settings, timeout_seconds)


def _mysql(settings: DatabaseSettings, seconds: float) -> Session:
    from integration.database.mysql import MySQLSession  # noqa: PLC0415

    return connect_to_any(settings.hosts, lambda host: MySQLSession(settings, host, seconds))


def _postgresql(settings: DatabaseSettings, seconds: float) -> Session:
    require_driver("psycopg", "PostgreSQL", "postgres")
    from integration.database.postgres import PostgreSQLSession  # noqa: PLC0415

    return connect_to_any(settings.hosts, lambda host: PostgreSQLSession(settings, host, seconds))


def _duckdb(settings: DatabaseSettings, seconds: float) -> Session:
    require_driver("duckdb", "DuckDB", "duckdb")
    from integration.database.duckdb import DuckDBSession  # noqa: PLC0415

    return DuckDBSession(settings, seconds)


def _spark(settings: DatabaseSettings, seconds: float) -> Session:
    require_driver("pyspark.sql.connect.session", "Spark", "spark")
    from integration.database.spark import SparkConnectSession  # noqa: PLC0415

    return connect_to_any(settings.hosts, lambda host: SparkConnectSession(settings, host, seconds))


_CONNECTORS: dict[str, Callable[[DatabaseSettings, float], Session]] = {
    "mysql": _mysql,
    "postgresql": _postgresql,
    "duckdb": _duckdb,
    "spark": _spark,
}
