"""A pool of read-only sessions, with a time limit for each statement.

`ReadSession` is the part of a `WriteSession` that reads, so that what takes one works with both.
The errors are those of `errors`: DatabaseUnavailable (no connection), QueryTooSlow (a statement
took longer than its limit, or all connections were busy for too long), QueryFailed.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from integration.database.errors import DatabaseUnavailable, PoolBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from integration.database.dialects import Dialect, Engine
    from integration.database.settings import DatabaseSettings

MAX_CONNECTIONS = 20
WAIT_SECONDS = 5.0
STATEMENT_SECONDS = 0.5
CONNECT_SECONDS = 3.0
# For so long after a failed connection, all get its error at once instead of trying, too.
DOWN_SECONDS = 1.0


class ReadSession(Protocol):
    """One connection that only reads, in UTC; statements have %s markers for every engine."""

    @property
    def engine(self) -> Engine:
        """What the server is."""

    @property
    def dialect(self) -> Dialect:
        """The SQL that differs between the engines."""

    @property
    def shares_locks(self) -> bool:
        """Whether `is_locked` sees the locks of all programs that use the database."""

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""

    def is_locked(self, name: str) -> bool:
        """Whether any session holds the lock; see `WriteSession.try_lock`."""


class PooledSession(ReadSession, Protocol):
    """A session that a pool keeps; a new one has no connection yet."""

    def connect(self) -> None:
        """Connect, unless it is connected.

        Raises:
            DatabaseUnavailable: no host can be reached, or (DatabaseRefused) one refuses.
        """

    def close(self) -> None:
        """End the connection; safe to call twice."""


class ReadPool:
    """At most `size` connections for any number of threads, which wait for their turn.

    A connection is made when it is first needed, kept, and made again when the server has closed
    it.

    Args:
        settings: the database.
        size: the maximum number of connections.
        wait_seconds: how long a thread waits for one.
        statement_seconds: how long a statement may take.
        clock: the time in seconds.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        size: int = MAX_CONNECTIONS,
        wait_seconds: float = WAIT_SECONDS,
        statement_seconds: float = STATEMENT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._size = size
        self._wait_seconds = wait_seconds
        self._statement_seconds = statement_seconds
        self._clock = clock
        self._free = threading.BoundedSemaphore(size)
        self._idle: list[PooledSession] = []
        self._lock = threading.Lock()
        self._down: tuple[float, DatabaseUnavailable] | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings!r})"

    @contextmanager
    def session(self) -> Iterator[ReadSession]:
        """A connected session, for one thread until the block ends.

        Raises:
            DatabaseUnavailable: there is no connection.
            PoolBusy: all connections were in use for too long.
        """
        if not self._free.acquire(timeout=self._wait_seconds):
            raise PoolBusy(
                f"All {self._size} connections to the database have been in use for "
                f"{self._wait_seconds:g} s: try again later"
            )
        try:
            session = self._take()
            try:
                self._connect(session)
                yield session
            finally:
                self._give_back(session)
        finally:
            self._free.release()

    def _take(self) -> PooledSession:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _new_session(self._settings, self._statement_seconds)

    def _connect(self, session: PooledSession) -> None:
        down = self._down
        if down and self._clock() < down[0]:
            raise DatabaseUnavailable(str(down[1])) from down[1]
        try:
            session.connect()
        except DatabaseUnavailable as error:
            self._down = (self._clock() + DOWN_SECONDS, error)
            raise
        self._down = None

    def _give_back(self, session: PooledSession) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(session)
                return
        session.close()

    def close(self) -> None:
        """End the connections; those in use when they are given back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()


def _new_session(settings: DatabaseSettings, statement_seconds: float) -> PooledSession:
    if settings.engine == "sqlite":
        from integration.database.sqlite_reader import SQLiteReader  # noqa: PLC0415

        return SQLiteReader(Path(settings.name), statement_seconds)
    from integration.database.mysql_reader import MySQLReader  # noqa: PLC0415  # not for SQLite

    return MySQLReader(settings, statement_seconds, CONNECT_SECONDS)
