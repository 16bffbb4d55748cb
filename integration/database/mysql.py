"""MySQL and MariaDB through mysql-connector-python: the only module that knows the driver."""

from __future__ import annotations

import importlib
import logging
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from math import ceil
from typing import TYPE_CHECKING, Any, cast

import mysql.connector
from mysql.connector.constants import ClientFlag, FieldType

from integration.core.exact_json import with_json
from integration.core.hosts import address_text
from integration.database.call_thread import CallThread
from integration.database.errors import (
    DatabaseError,
    QueryFailed,
    connect_error,
    one_line,
    query_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mysql.connector.abstracts import MySQLConnectionAbstract, MySQLCursorAbstract

    from integration.database.query_file import Dialect
    from integration.database.settings import DatabaseSettings

logger = logging.getLogger(__name__)

ROWS_PER_BATCH = 1_000  # larger batches are no faster and hold more memory
READ_TIMEOUT_SECONDS = 3_600  # without a byte; a query over a huge table may run for long
SLOW_READER_SECONDS = 600  # the server's default timeout for a slow reader is 60 s

CLOSE_SECONDS = 1  # closing takes longer in the background
KILL_TIMEOUT_SECONDS = 10  # of the connection that stops a running query
NOT_READY = 1047
NOT_READY_MESSAGE = "WSREP has not yet prepared node for application use"

# Read-only, with time for slow readers; the time zone is a connect argument.
SESSION_SETUP = (
    "SET SESSION TRANSACTION READ ONLY",
    f"SET SESSION net_write_timeout = {SLOW_READER_SECONDS}",
)


class MySQLSession:
    """One connection to one host. A separate thread makes all calls to the driver.

    Args:
        settings: The database, user, password and TLS.
        host: One of the settings' hosts.
        timeout_seconds: Until the login is complete and the session set up.

    Raises:
        DatabaseUnavailable: the host cannot be reached, or (DatabaseRefused) refuses.
    """

    def __init__(self, settings: DatabaseSettings, host: str, timeout_seconds: float) -> None:
        self._error_values = {
            "host": address_text(host, settings.port),
            "user": settings.user,
            "name": settings.name,
        }
        self._arguments = connect_arguments(settings, host, timeout_seconds)
        self._is_reading = False
        self._json: Sequence[int] = ()
        self._driver = CallThread(f"database at {host}")
        self._connection: MySQLConnectionAbstract | None = None
        try:
            self._log_in(timeout_seconds)
        except BaseException:
            self._driver.finish(self._end)
            raise
        logger.debug("Connected to %s, %s", self._error_values["host"], self._server)

    def _log_in(self, timeout_seconds: float) -> None:
        with self._translated(connect_error):
            try:
                self._driver.run(self._open, timeout_seconds)
            except TimeoutError as error:
                # The driver's read timeout is no help: the query may take an hour.
                silence = f"not logged in within {timeout_seconds:g} s"
                raise mysql.connector.InterfaceError(silence) from error

    def _open(self) -> None:
        self._connection = connect(self._arguments)
        self._server = self._connection.server_info
        self._connection_id = self._connection.connection_id
        self._cursor = self._connection.cursor(buffered=False)
        for statement in SESSION_SETUP:
            self._cursor.execute(statement)
        if has_lost_its_cluster(self._cursor):
            raise mysql.connector.OperationalError(NOT_READY_MESSAGE, errno=NOT_READY)

    @contextmanager
    def _translated(self, translate: Callable[..., DatabaseError]) -> Iterator[None]:
        """Translate the driver's errors."""
        try:
            yield
        except mysql.connector.Error as error:
            self._is_reading = False
            raise translate(error.errno, error.msg or str(error), **self._error_values) from error

    def execute(
        self,
        query: str,
        limit: int | None = None,
        dialect: Dialect = "mysql",  # noqa: ARG002  both are the same here
    ) -> Sequence[str]:
        """Start a query and return the names of its columns; see `_start` for the limit."""
        if self._is_reading:
            raise QueryFailed("The rows of the previous query were not all read")
        self._is_reading = True
        with self._translated(query_error):
            self._driver.run(partial(self._start, query, limit))
        description = self._cursor.description or ()
        columns = tuple(column[0] for column in description)
        self._json = [place for place, one in enumerate(description) if one[1] == FieldType.JSON]
        self._is_reading = bool(columns)
        return columns

    def _start(self, query: str, limit: int | None) -> None:
        # Limits any query without changing its text. A LIMIT in the query takes precedence: then
        # the reader stops early, and `close` stops the server.
        self._cursor.execute(
            f"SET SESSION sql_select_limit = {'DEFAULT' if limit is None else int(limit)}"
        )
        self._cursor.execute(query)

    def batches(self) -> Iterator[list[tuple[object, ...]]]:
        """Yield the rows as the server sends them."""
        # No prefetching: two busy threads would compete for Python's global lock, which the driver
        # acquires for each row.
        fetch = partial(self._cursor.fetchmany, ROWS_PER_BATCH)
        while self._is_reading:
            with self._translated(query_error):
                batch = cast("list[tuple[object, ...]]", self._driver.run(fetch))
            self._is_reading = len(batch) == ROWS_PER_BATCH
            yield with_json(batch, self._json) if self._json else batch

    def close(self) -> None:
        """End the connection, even with millions of rows unread; returns within a second or so.

        A connection that is in use by C code is not touched: its own thread closes it after the
        current call has returned.
        """
        with suppress(TimeoutError):
            closer = CallThread(f"closing {self._error_values['host']}")
            try:
                closer.run(self._close, CLOSE_SECONDS)
            finally:
                closer.finish(lambda: None)

    def _close(self) -> None:
        if self._is_reading:
            self._kill_query()
        self._driver.run(self._end)
        self._driver.finish(lambda: None)

    def _end(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.close()
        except mysql.connector.Error as error:
            logger.debug("The database connection was not closed cleanly: %s", one_line(str(error)))

    def _kill_query(self) -> None:
        """Have the server end the connection, from a second one.

        To close it, the driver would first read all remaining rows.
        """
        brief = {"connection_timeout": KILL_TIMEOUT_SECONDS, "read_timeout": KILL_TIMEOUT_SECONDS}
        try:
            with connect(self._arguments | brief) as second:
                second.cmd_query(f"KILL {self._connection_id:d}")
        except mysql.connector.Error as error:
            logger.debug("Could not stop the query: %s", one_line(str(error)))


def has_lost_its_cluster(cursor: MySQLCursorAbstract) -> bool:
    """Whether this Galera node is cut off: it accepts connections but no queries."""
    for statement, value in (
        ("SHOW VARIABLES LIKE 'wsrep_on'", "ON"),
        ("SHOW STATUS LIKE 'wsrep_ready'", "OFF"),
    ):
        cursor.execute(statement)
        rows = cast("list[tuple[str, str]]", cursor.fetchall())
        if not rows or rows[0][1] != value:
            return False
    return True


def connect(arguments: dict[str, Any]) -> MySQLConnectionAbstract:
    """Log in; the arguments are those of `connect_arguments`."""
    # The declared return type includes connection pools, which are not used here.
    return cast("MySQLConnectionAbstract", mysql.connector.connect(**arguments))


def connect_arguments(
    settings: DatabaseSettings, host: str, timeout_seconds: float
) -> dict[str, Any]:
    """The driver's arguments for a connection in UTC and utf8mb4."""
    return {
        "host": host,
        "port": settings.port,
        "user": settings.user,
        "password": settings.password,
        "database": settings.name,
        "charset": "utf8mb4",
        "collation": "utf8mb4_general_ci",  # known to MySQL 8 and 9 and to MariaDB
        "time_zone": "+00:00",
        "autocommit": True,
        "connection_timeout": ceil(timeout_seconds),
        "read_timeout": READ_TIMEOUT_SECONDS,
        "client_flags": [-ClientFlag.MULTI_STATEMENTS],  # one call, one statement
        "allow_local_infile": False,  # else a rogue server could ask for this machine's files
        "use_pure": not _has_c_extension(),
        **_tls_arguments(settings.ssl_ca),
    }


def _tls_arguments(ssl_ca: str | None) -> dict[str, Any]:
    if not ssl_ca:
        return {}
    return {"ssl_ca": ssl_ca, "ssl_verify_cert": True, "ssl_verify_identity": True}


@lru_cache(maxsize=1)
def _has_c_extension() -> bool:
    """Whether the driver's C extension works here; logs a warning once if it does not."""
    try:
        importlib.import_module("_mysql_connector")
    except ImportError as error:
        logger.warning(
            "mysql-connector-python runs without its C extension (%s): reading the database is "
            "several times slower. Install the version that requirements.txt pins, 9.7.0",
            one_line(str(error)),
        )
        return False
    return True
