"""A session of an SQLite file that only reads, with a time limit for each statement."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from integration.database.dialects import SQLiteDialect
from integration.database.errors import DatabaseRefused, QueryFailed, QueryTooSlow
from integration.database.sqlite_writer import is_database_file, lock_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from integration.database.dialects import Dialect, Engine

# Between two looks at the clock: well below a millisecond.
INSTRUCTIONS = 10_000
_TOO_SLOW = frozenset({sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class SQLiteReader:
    """An open SQLite file; a `PooledSession`.

    Args:
        file: the database.
        statement_seconds: how long a statement may take.
    """

    engine: Engine = "sqlite"
    dialect: Dialect = SQLiteDialect()
    shares_locks = True

    def __init__(self, file: Path, statement_seconds: float) -> None:
        self._file = file
        self._statement_seconds = statement_seconds
        self._connection: sqlite3.Connection | None = None
        self._deadline = 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._file)!r})"

    def connect(self) -> None:
        """Open the file, unless it is open."""
        if self._connection is not None:
            return
        if not is_database_file(self._file):
            raise DatabaseRefused(f"There is no SQLite database {self._file}: check DB_NAME")
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(os.fsencode(self._file))}?mode=ro",
                uri=True,
                timeout=self._statement_seconds,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection.set_progress_handler(self._is_over, INSTRUCTIONS)
            self._query("SELECT COUNT(*) FROM sqlite_master", ())
        except sqlite3.Error as error:
            self.close()
            raise DatabaseRefused(f"Cannot read {self._file}: check DB_NAME ({error})") from error

    def _is_over(self) -> bool:
        return time.monotonic() > self._deadline

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows.

        Raises:
            QueryTooSlow: it took longer than its limit.
        """
        try:
            return self._query(sql, parameters)
        except (sqlite3.Error, sqlite3.Warning) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _TOO_SLOW:
                raise QueryTooSlow(
                    f"The database did not answer within {self._statement_seconds:g} s: "
                    "search for something narrower, or try again later"
                ) from error
            raise QueryFailed(
                f"The SQLite database {self._file} cannot run the query ({error}): check DB_NAME"
            ) from error

    def _query(self, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        assert self._connection, "connect first"
        self._deadline = time.monotonic() + self._statement_seconds
        statement = sql.replace("%s", "?")
        return self._connection.execute(statement, tuple(parameters)).fetchall()

    def is_locked(self, name: str) -> bool:
        """Whether any process holds the lock; creates no file."""
        try:
            descriptor = os.open(lock_file(self._file, name), os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
