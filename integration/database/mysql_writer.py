"""A writable session of MySQL or MariaDB."""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import mysql.connector

from integration.core.hosts import address_text
from integration.core.shutdown import Interrupted
from integration.database.call_thread import CallThread
from integration.database.dialects import MySQLDialect
from integration.database.errors import DatabaseError, DatabaseRefused, connect_error
from integration.database.mysql import (
    NOT_READY,
    NOT_READY_MESSAGE,
    connect,
    connect_arguments,
    has_lost_its_cluster,
)
from integration.database.write_errors import ConnectionLost, LockLost, write_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mysql.connector.abstracts import MySQLConnectionAbstract, MySQLCursorAbstract

    from integration.database.dialects import Dialect, Engine
    from integration.database.settings import DatabaseSettings

    Connect = Callable[[Callable[[str, float], None]], None]

logger = logging.getLogger(__name__)
T = TypeVar("T")

CLOSE_SECONDS = 1
# A statement of a page takes seconds, and may wait for locks.
READ_TIMEOUT_SECONDS = 300
RECONNECT_LOCK_SECONDS = 30  # a server may take a while to notice that a client is gone
OLDEST = {"mysql": (8, 0, 4), "mariadb": (10, 6, 0)}  # with JSON_TABLE
# Errors instead of shortened values; an id of 0 is a 0.
SQL_MODE = (
    "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO"
)
SESSION_SETUP = (
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
    f"SET SESSION sql_mode = '{SQL_MODE}'",
    "SET SESSION foreign_key_checks = 1, unique_checks = 1",
    "SET SESSION innodb_lock_wait_timeout = 20, lock_wait_timeout = 60",
)


class MySQLWriter:
    """One connection that writes; a `WriteSession`. A thread of its own makes all driver calls.

    Args:
        settings: The database, user, password and TLS.
        connect: Calls what it is given with a host and a timeout in seconds until one succeeds.

    Raises:
        DatabaseUnavailable: no host can be reached, or (DatabaseRefused) one refuses.
    """

    def __init__(self, settings: DatabaseSettings, connect: Connect) -> None:
        self._settings = settings
        self._connect = connect
        self._locks: list[str] = []
        self._connection: MySQLConnectionAbstract | None = None
        self._is_open = False
        self._connect(self._log_in)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings!r})"

    @property
    def engine(self) -> Engine:
        """MySQL or MariaDB."""
        return self._engine

    @property
    def dialect(self) -> Dialect:
        """The engine's SQL."""
        return self._dialect

    @property
    def max_packet(self) -> int:
        """The server's max_allowed_packet."""
        return self._max_packet

    @property
    def shares_locks(self) -> bool:
        """Galera's nodes do not share GET_LOCK."""
        return not self._is_cluster

    def _log_in(self, host: str, timeout_seconds: float) -> None:
        self._error_values = {
            "host": address_text(host, self._settings.port),
            "user": self._settings.user,
            "name": self._settings.name,
        }
        arguments = connect_arguments(self._settings, host, timeout_seconds)
        self._driver = CallThread(f"writing to {host}")
        try:
            with self._translated(partial(connect_error, prefix=self._settings.prefix)):
                self._open(arguments | {"read_timeout": READ_TIMEOUT_SECONDS}, timeout_seconds)
            self._is_open = True
            self._check_server()
        except BaseException:
            self._is_open = False
            self._driver.finish(self._end)
            raise

    def _open(self, arguments: dict[str, Any], timeout_seconds: float) -> None:
        try:
            self._driver.run(partial(self._open_connection, arguments), timeout_seconds)
        except TimeoutError as error:
            silence = f"not logged in within {timeout_seconds:g} s"
            raise mysql.connector.InterfaceError(silence) from error

    def _open_connection(self, arguments: dict[str, Any]) -> None:
        self._connection = connect(arguments)
        self._cursor: MySQLCursorAbstract = self._connection.cursor()
        self._prepared: MySQLCursorAbstract = self._connection.cursor(prepared=True)
        for statement in SESSION_SETUP:
            self._cursor.execute(statement)
        if has_lost_its_cluster(self._cursor):
            raise mysql.connector.OperationalError(NOT_READY_MESSAGE, errno=NOT_READY)

    def _check_server(self) -> None:
        ((version, packet),) = self.query("SELECT VERSION(), @@max_allowed_packet")
        self._engine: Engine = "mariadb" if "mariadb" in version.lower() else "mysql"
        self._dialect = MySQLDialect(self._engine)
        self._max_packet = int(packet)
        cluster = self.query("SHOW VARIABLES LIKE 'wsrep_on'")
        self._is_cluster = bool(cluster) and cluster[0][1] == "ON"
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
        if numbers < OLDEST[self._engine]:
            raise DatabaseRefused(
                f"{self._error_values['host']} runs {version}: "
                "the ingest needs MySQL 8.0 or MariaDB 10.6 or later"
            )

    @contextmanager
    def _translated(self, translate: Callable[..., DatabaseError]) -> Iterator[None]:
        try:
            yield
        except mysql.connector.Error as error:
            number = error.errno if error.errno is not None else -1
            raise translate(number, error.msg or str(error), **self._error_values) from error

    def _run(self, call: Callable[[], T]) -> T:
        if not self._is_open:  # its thread has ended, and would never answer
            raise ConnectionLost(
                f"No connection to the database at {self._error_values['host']}: "
                "check the server and the network, then run again"
            )
        try:
            with self._translated(write_error):
                return self._driver.run(call)
        except Interrupted:  # the thread still waits for the answer: nothing more can be asked
            self._is_open = False
            raise

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        return self._run(partial(self._query, sql, parameters))

    def _query(self, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        cursor = self._run_statement(sql, parameters)
        try:
            return cast("list[tuple[Any, ...]]", cursor.fetchall())
        except mysql.connector.Error:
            # A deadlock while rows are locked: the driver has freed them, but takes them for
            # unread, and would refuse the next statement.
            self._connection._unread_result = False  # type: ignore[union-attr] # noqa: SLF001
            raise

    def _run_statement(self, sql: str, parameters: Sequence[object]) -> MySQLCursorAbstract:
        """Values never become part of the statement, in which the driver searches for DELIMITER."""
        cursor = self._prepared if parameters else self._cursor
        cursor.execute(sql, cast("Any", tuple(parameters)))
        return cursor

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement and return the number of its rows."""
        return self._run(partial(self._execute, sql, parameters))

    def _execute(self, sql: str, parameters: Sequence[object]) -> int:
        return self._run_statement(sql, parameters).rowcount

    def insert(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Insert rows and return the number that the database gave to the first of them."""
        return self._run(partial(self._insert, sql, parameters))

    def _insert(self, sql: str, parameters: Sequence[object]) -> int:
        return int(self._run_statement(sql, parameters).lastrowid or 0)

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for each row."""
        if rows:
            self._run(partial(self._execute_many, sql, rows))

    def _execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        for row in rows:
            self._run_statement(sql, row)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit when the block ends, roll back when it raises."""
        self.execute("START TRANSACTION")
        try:
            yield
        except BaseException:
            with suppress(DatabaseError):
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block did when it raises."""
        self.execute("SAVEPOINT s")
        try:
            yield
        except BaseException:
            with suppress(DatabaseError):  # a deadlock has undone the whole transaction
                self.execute("ROLLBACK TO SAVEPOINT s")
            raise
        self.execute("RELEASE SAVEPOINT s")

    @contextmanager
    def try_lock(self, name: str, wait_seconds: float = 0) -> Iterator[bool]:
        """Hold GET_LOCK; the server releases it when the connection ends."""
        held = self._get_lock(name, wait_seconds)
        if held:
            self._locks.append(name)
        try:
            yield held
        finally:
            if held:
                self._locks.remove(name)
                with suppress(DatabaseError):
                    self.query("SELECT RELEASE_LOCK(%s)", (lock_name(self._settings.name, name),))

    def _get_lock(self, name: str, wait_seconds: float) -> bool:
        rows = self.query(
            "SELECT GET_LOCK(%s, %s)", (lock_name(self._settings.name, name), wait_seconds)
        )
        return bool(rows[0][0] == 1)

    def is_locked(self, name: str) -> bool:
        """Whether any connection of this server holds the lock."""
        return (
            self.query("SELECT IS_USED_LOCK(%s)", (lock_name(self._settings.name, name),))[0][0]
            is not None
        )

    def discard_remains(self) -> None:
        """The server purges deleted rows; its binary logs keep them until they expire."""

    def reconnect(self) -> None:
        """Connect again, and take the locks again."""
        self.close()
        self._connect(self._log_in)
        for name in self._locks:
            if not self._get_lock(name, RECONNECT_LOCK_SECONDS):
                raise LockLost(
                    f"Lost the connection to the database at {self._error_values['host']}, and "
                    "another run has taken the lock since: wait until it has ended"
                )

    def close(self) -> None:
        """End the connection; returns within a second or so."""
        if not self._is_open:
            return
        self._is_open = False
        with suppress(TimeoutError):
            self._driver.run(self._end, CLOSE_SECONDS)
        self._driver.finish(lambda: None)

    def _end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(mysql.connector.Error):
                connection.close()


def lock_name(database: str, name: str) -> str:
    """The name of a lock on the server, which has one list for all databases."""
    # At most 64 characters.
    content = f"{database}\0{name}".encode()
    return f"ingest:{hashlib.blake2b(content, digest_size=16).hexdigest()}"
