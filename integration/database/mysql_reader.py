"""A session of MySQL or MariaDB that only reads, with a time limit for each statement."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import mysql.connector

from integration.core.hosts import address_text
from integration.database.dialects import MySQLDialect
from integration.database.errors import (
    DatabaseError,
    DatabaseRefused,
    DatabaseUnavailable,
    QueryTooSlow,
    connect_error,
    is_lost,
    query_error,
)
from integration.database.mysql import (
    NOT_READY,
    NOT_READY_MESSAGE,
    connect,
    connect_arguments,
    has_lost_its_cluster,
)
from integration.database.mysql_writer import lock_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mysql.connector.abstracts import MySQLConnectionAbstract, MySQLCursorAbstract

    from integration.database.dialects import Dialect, Engine
    from integration.database.settings import DatabaseSettings

# Longer than any statement: then the server is gone, and not slow.
READ_TIMEOUT_SECONDS = 10
# MySQL, MariaDB: the statement took longer than allowed.
_TOO_SLOW = frozenset({3024, 1969})


class MySQLReader:
    """One connection that reads; a `PooledSession`.

    Args:
        settings: the database; its hosts are tried in order.
        statement_seconds: how long a statement may take.
        connect_seconds: how long a login may take.
    """

    def __init__(
        self, settings: DatabaseSettings, statement_seconds: float, connect_seconds: float
    ) -> None:
        self._settings = settings
        self._statement_seconds = statement_seconds
        self._connect_seconds = connect_seconds
        self._connection: MySQLConnectionAbstract | None = None
        self._engine: Engine = "mysql"
        self._host = ""
        self._is_cluster = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings!r})"

    @property
    def engine(self) -> Engine:
        """MySQL or MariaDB."""
        return self._engine

    @property
    def dialect(self) -> Dialect:
        """The engine's SQL."""
        return MySQLDialect(self._engine)

    @property
    def shares_locks(self) -> bool:
        """Galera's nodes do not share GET_LOCK."""
        return not self._is_cluster

    def connect(self) -> None:
        """Connect to the first host that can be reached, unless it is connected."""
        if self._connection is not None:
            return
        hosts = self._settings.hosts
        for remaining, host in enumerate(hosts, 1 - len(hosts)):
            try:
                self._log_in(host)
            except DatabaseRefused:  # the next host would refuse, too
                raise
            except DatabaseUnavailable:
                if remaining == 0:
                    raise
            else:
                break

    def _log_in(self, host: str) -> None:
        self._host = address_text(host, self._settings.port)
        arguments = connect_arguments(self._settings, host, self._connect_seconds)
        try:
            self._connection = connect(arguments | {"read_timeout": READ_TIMEOUT_SECONDS})
            self._cursor: MySQLCursorAbstract = self._connection.cursor()
            self._set_up()
        except mysql.connector.Error as error:
            self.close()
            raise self._translated(error, connecting=True) from error

    def _set_up(self) -> None:
        self._cursor.execute("SELECT VERSION()")
        ((version,),) = cast("list[tuple[str]]", self._cursor.fetchall())
        self._engine = "mariadb" if "mariadb" in version.lower() else "mysql"
        limit = (
            f"max_statement_time = {self._statement_seconds}"
            if self._engine == "mariadb"
            else f"max_execution_time = {round(1000 * self._statement_seconds)}"
        )
        self._cursor.execute(f"SET SESSION {limit}")
        self._cursor.execute("SET SESSION TRANSACTION READ ONLY")
        if has_lost_its_cluster(self._cursor):
            raise mysql.connector.OperationalError(NOT_READY_MESSAGE, errno=NOT_READY)
        self._cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
        self._is_cluster = ("wsrep_on", "ON") in self._cursor.fetchall()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows; over a new connection if the old one is lost.

        Raises:
            QueryTooSlow: it took longer than its limit.
        """
        try:
            return self._query(sql, parameters)
        except mysql.connector.Error as error:
            if not is_lost(error.errno):
                raise self._translated(error) from error
            self.close()
        self.connect()
        try:
            return self._query(sql, parameters)
        except mysql.connector.Error as error:
            self.close()
            raise self._translated(error) from error

    def _query(self, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        self._cursor.execute(sql, cast("Any", tuple(parameters)))
        return cast("list[tuple[Any, ...]]", self._cursor.fetchall())

    def is_locked(self, name: str) -> bool:
        """Whether any connection of this server holds the lock."""
        number = lock_name(self._settings.name, name)
        return self.query("SELECT IS_USED_LOCK(%s)", (number,))[0][0] is not None

    def _translated(
        self, error: mysql.connector.Error, *, connecting: bool = False
    ) -> DatabaseError:
        number = error.errno if error.errno is not None else -1
        if number in _TOO_SLOW:
            return QueryTooSlow(
                f"The database did not answer within {self._statement_seconds:g} s: "
                "search for something narrower, or try again later"
            )
        values = {
            "host": self._host,
            "user": self._settings.user,
            "name": self._settings.name,
        }
        translate = connect_error if connecting else query_error
        return translate(number, error.msg or str(error), **values)

    def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(mysql.connector.Error):
                connection.close()
