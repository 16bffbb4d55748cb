"""The database: connect, stream the rows of one query, close.

`DatabaseConnection` works with MySQL, MariaDB, PostgreSQL, SQLite, DuckDB and Spark;
`integration.database` has a module for each engine. It raises no driver's exceptions, but:

    DatabaseError               one line that says what to check; exit code 69
    ├── DatabaseUnavailable     no connection, or lost while reading; a retry may help
    │   └── DatabaseRefused     login or certificate refused; a retry will not help
    └── QueryFailed             connected, but the SQL cannot be run
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from integration.core.hosts import parse_hosts
from integration.database.connecting import CONNECT_TIMEOUT_SECONDS, connect_with_retries
from integration.database.errors import (
    DatabaseError,
    DatabaseRefused,
    DatabaseUnavailable,
    QueryFailed,
)
from integration.database.query_file import Query, load_query
from integration.database.row_check import page_view_rows, wrong_columns
from integration.database.sessions import open_session
from integration.database.settings import DatabaseSettings, Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from integration.database.sessions import Session

__all__ = [
    "DatabaseConnection",
    "DatabaseError",
    "DatabaseRefused",
    "DatabaseSettings",
    "DatabaseUnavailable",
    "Query",
    "QueryFailed",
    "RowStream",
    "load_query",
]

logger = logging.getLogger(__name__)


class RowStream(NamedTuple):
    """The rows of a query: the names of its columns, and batches of rows as they arrive."""

    columns: tuple[str, ...]
    batches: Iterator[Sequence[tuple[Any, ...]]]


class DatabaseConnection:
    """A connection to a database of any engine; a context manager that connects and closes.

        with DatabaseConnection(
            host="db1,db2", user="reader", password="…", database="shop"
        ) as connection:
            rows = connection.execute_query("SELECT id, email FROM customers")

    The session is read-only and in UTC. Entering the `with` block connects, with up to three
    attempts; the errors are those at the top of this module.

    Args:
        database: The database; for SQLite and DuckDB the file.
        host: One or more hosts, separated by commas or as a sequence; tried in order. SQLite and
            DuckDB ignore the arguments from this one to `ssl_ca`.
        user: The database user.
        password: May be empty.
        port: The same for all hosts.
        ssl_ca: PEM file; if set, TLS is required, and certificate and host name are verified.
        engine: "mysql" (MariaDB too), "postgresql", "sqlite", "duckdb" or "spark".
        options: What only the engine has, names and values; docs/engines.md lists them.
        sleep: Waits between attempts; takes seconds.
        connect_timeout_seconds: Until the login is complete, for each attempt at each host.

    Raises:
        ValueError: there is no host, or one includes a port.
    """

    def __init__(
        self,
        *,
        database: str,
        host: str | Sequence[str] = (),
        user: str = "",
        password: str = "",
        port: int = 3306,
        ssl_ca: str | None = None,
        engine: Engine = "mysql",
        options: Sequence[tuple[str, str]] = (),
        sleep: Callable[[float], object] = time.sleep,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    ) -> None:
        hosts = parse_hosts(host if isinstance(host, str) else ",".join(host))
        if engine not in {"sqlite", "duckdb"} and not hosts:
            raise ValueError(f"a database of {engine} needs a host")
        self._settings = DatabaseSettings(
            engine, hosts, port, user, password, database, ssl_ca, options=tuple(options)
        )
        self._sleep = sleep
        self._connect_timeout_seconds = connect_timeout_seconds
        self._session: Session | None = None

    @classmethod
    def from_settings(
        cls,
        settings: DatabaseSettings,
        *,
        sleep: Callable[[float], object] = time.sleep,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    ) -> Self:
        """A connection with these settings; the other arguments are those of the class."""
        return cls(
            database=settings.name,
            host=settings.hosts,
            user=settings.user,
            password=settings.password,
            port=settings.port,
            ssl_ca=settings.ssl_ca,
            engine=settings.engine,
            options=settings.options,
            sleep=sleep,
            connect_timeout_seconds=connect_timeout_seconds,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings!r})"

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Connect; tries all hosts up to three times.

        Raises:
            DatabaseUnavailable: no host can be reached, or (DatabaseRefused) one refuses.
        """
        self.close()
        self._session = connect_with_retries(
            lambda: open_session(self._settings, self._connect_timeout_seconds), self._sleep
        )
        logger.info("Successfully connected to database: %s", self._settings.name)

    def stream_page_views(
        self, query: str, limit: int | None = None
    ) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Run Query 2 and yield its rows in batches, as the server sends them.

        Args:
            query: A MySQL query that returns the columns of `PageView`.
            limit: Maximum number of rows, in addition to any LIMIT in the query.

        Yields:
            Tuples with the values of a `PageView`.

        Raises:
            QueryFailed: the query cannot be run, or returns other columns or types.
            DatabaseUnavailable: not connected, or the connection was lost while reading.
        """
        columns, batches = self.stream_rows(Query(query), limit)
        if problem := wrong_columns(columns):
            raise QueryFailed(problem)
        yield from map(page_view_rows, batches)

    def stream_rows(self, query: Query, limit: int | None = None) -> RowStream:
        """Start a query; its rows are read as they are taken, and each value is the driver's.

        Args:
            query: Any query that returns rows.
            limit: Maximum number of rows, in addition to any LIMIT in the query.

        Raises:
            QueryFailed: the query cannot be run.
            DatabaseUnavailable: not connected; while reading: the connection was lost.
        """
        session = self._open_session()
        columns = tuple(session.execute(query.text, limit, query.dialect))
        return RowStream(columns, _limited(session.batches(), limit))

    def explain(self, query: Query) -> list[str]:
        """How the database would run a query, a line for each step.

        Raises:
            QueryFailed: the query cannot be run.
            DatabaseUnavailable: not connected, or the connection was lost.
        """
        session = self._open_session()
        columns = session.execute(f"EXPLAIN {query.text}", None, query.dialect)
        return [
            ", ".join(f"{name} {value}" for name, value in zip(columns, row, strict=True) if value)
            for batch in session.batches()
            for row in batch
        ]

    def execute_query(self, sql: str) -> list[dict[str, object]]:
        """Run one statement and return all its rows.

        Args:
            sql: In MySQL's dialect, for SQLite too.

        Returns:
            A dict for each row, column name to value, in the query's order; empty for a statement
            that returns no rows. Values are what the database has: str, int, float, Decimal,
            bytes, date, timedelta, None; a DATETIME or TIMESTAMP is a datetime in UTC without a
            zone (in SQLite: the column `event_time`). All rows are in memory at once.

        Raises:
            QueryFailed: the statement cannot be run, or two of its columns have the same name.
            DatabaseUnavailable: not connected, or the connection was lost while reading.
        """
        session = self._open_session()
        columns = session.execute(sql)
        rows = [row for batch in session.batches() for row in batch]
        if len(set(columns)) < len(columns):
            raise QueryFailed(
                f"The query returns the columns {', '.join(columns)}: "
                "give each a different name with AS"
            )
        logger.info("Query executed successfully, returned %d rows", len(rows))
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _open_session(self) -> Session:
        if self._session is None:
            raise DatabaseUnavailable("Not connected to the database")
        return self._session

    def close(self) -> None:
        """Close the connection; safe to call twice and with unread rows."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
            logger.debug("Database connection closed")


def _limited(
    batches: Iterable[Sequence[tuple[Any, ...]]], limit: int | None
) -> Iterator[Sequence[tuple[Any, ...]]]:
    count = 0
    for batch in batches:
        rows = batch if limit is None else batch[: limit - count]
        count += len(rows)
        if rows:
            yield rows
        if count == limit:
            break
    logger.info("Query executed successfully, returned %d rows", count)
