"""A writable session of an SQLite file."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from integration.core.files import FileError, is_there
from integration.database.call_thread import CallThread
from integration.database.dialects import SQLiteDialect
from integration.database.errors import DatabaseError, DatabaseRefused
from integration.database.write_errors import (
    LockTimeout,
    RowCode,
    RowRefused,
    WriteDenied,
    WriteFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from integration.database.dialects import Dialect, Engine

T = TypeVar("T")

BUSY_SECONDS = 20
CLOSE_SECONDS = 1
SECONDS_BETWEEN_ATTEMPTS = 0.05
MAX_VALUE_BYTES = 1_000_000_000  # SQLite's default limit
_ROW_CODES: dict[int, RowCode] = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: "duplicate",
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "duplicate",
    sqlite3.SQLITE_CONSTRAINT_ROWID: "duplicate",
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "no_parent",
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: "missing",
    sqlite3.SQLITE_CONSTRAINT_CHECK: "not_allowed",
}


class SQLiteWriter:
    """An SQLite file that is written; a `WriteSession`. A thread makes all calls to SQLite.

    Raises:
        DatabaseRefused: the file does not exist or is not a database.
    """

    engine: Engine = "sqlite"
    dialect: Dialect = SQLiteDialect()
    max_packet = MAX_VALUE_BYTES
    shares_locks = True

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None
        if not is_database_file(file):
            raise DatabaseRefused(
                f"There is no SQLite database {file}: check DB_NAME, "
                f"or create one with python -m sandbox.database {file}"
            )
        self._driver = CallThread(f"writing to {file}")
        try:
            self._run(self._open)
        except WriteFailed as error:
            self._driver.finish(self._end)
            raise DatabaseRefused(f"Cannot open {file}: check DB_NAME ({error})") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._file)!r})"

    def _open(self) -> None:
        self._connection = sqlite3.connect(
            f"file:{quote(os.fsencode(self._file))}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        self._cursor = self._connection.cursor()
        self._cursor.execute("PRAGMA foreign_keys = ON")
        # SQLite opens any file; only reading shows whether it is a database.
        # An unread row would keep other programs from writing.
        self._cursor.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()

    def _run(self, call: Callable[[], T]) -> T:
        try:
            return self._driver.run(call)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise _write_error(error, self._file) from error

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        return self._run(partial(self._query, sql, parameters))

    def _query(self, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        self._cursor.execute(sql.replace("%s", "?"), tuple(parameters))
        return self._cursor.fetchall()

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement and return the number of its rows."""
        self.query(sql, parameters)
        return self._cursor.rowcount

    def insert(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Insert rows and return the number that the database gave to the first of them."""
        self.query(sql, parameters)
        # SQLite tells the last one; no other connection can insert between them.
        return int(self._cursor.lastrowid or 0) - self._cursor.rowcount + 1

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for each row."""
        self._run(partial(self._cursor.executemany, sql.replace("%s", "?"), rows))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit when the block ends, roll back when it raises."""
        self.query("BEGIN IMMEDIATE")
        try:
            yield
            self.query("COMMIT")
        except BaseException:
            with suppress(DatabaseError):
                self.query("ROLLBACK")
            raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block did when it raises."""
        self.query("SAVEPOINT s")
        try:
            yield
        except BaseException:
            with suppress(DatabaseError):
                self.query("ROLLBACK TO s")
                self.query("RELEASE s")
            raise
        self.query("RELEASE s")

    @contextmanager
    def try_lock(self, name: str, wait_seconds: float = 0) -> Iterator[bool]:
        """Lock a file beside the database; the system releases it when the process ends."""
        descriptor = self._lock(name, wait_seconds)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _lock(self, name: str, wait_seconds: float) -> int | None:
        give_up_at = time.monotonic() + wait_seconds
        while (descriptor := self._try_to_lock(name)) is None and time.monotonic() < give_up_at:
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        return descriptor

    def _try_to_lock(self, name: str) -> int | None:
        path = lock_file(self._file, name)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise WriteFailed(
                f"Cannot write {path}: {error.strerror or error}; check DB_NAME and its folder"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def is_locked(self, name: str) -> bool:
        """Whether any process, or another session of this one, holds the lock."""
        if not os.path.exists(lock_file(self._file, name)):  # noqa: PTH110  # a name, not a Path
            return False
        with self.try_lock(name) as is_free:
            return not is_free

    def discard_remains(self) -> None:
        """Rewrite the file, and empty its write-ahead log."""
        self.query("VACUUM")
        ((busy, *_),) = self.query("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise LockTimeout(f"Another program is reading {self._file}: run again")

    def reconnect(self) -> None:
        """A file needs no new connection."""

    def close(self) -> None:
        """Close the file."""
        with suppress(TimeoutError):
            self._driver.run(self._end, CLOSE_SECONDS)
        self._driver.finish(lambda: None)

    def _end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def lock_file(file: Path, name: str) -> str:
    """The file that is locked; the same for all names of the database."""
    return f"{os.path.realpath(file)}.{quote(name, safe='')}.lock"


def is_database_file(path: Path) -> bool:
    """Whether there is a file.

    Raises:
        DatabaseRefused: it cannot be reached.
    """
    try:
        return is_there(path) and path.is_file()
    except FileError as error:
        raise DatabaseRefused(f"{error}: check DB_NAME") from error


def _write_error(error: sqlite3.Error | sqlite3.Warning, file: Path) -> WriteFailed:
    """The error for a failed statement; as in `write_errors.write_error`, without values."""
    number = getattr(error, "sqlite_errorcode", 0)
    if number in _ROW_CODES:
        code = _ROW_CODES[number]
        return RowRefused(f"The database refused a row ({code})", code)
    primary = number & 0xFF
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return LockTimeout(f"Another program is writing to {file} for too long: run again")
    if primary == sqlite3.SQLITE_READONLY:
        return WriteDenied(f"{file} is read-only: make the file and its folder writable")
    if primary == sqlite3.SQLITE_FULL:
        return WriteFailed(f"The disk is full: no room to write {file}")
    return WriteFailed(f"The SQLite database {file} cannot run the statement ({error})")
