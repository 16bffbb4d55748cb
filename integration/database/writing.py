"""The writable session: transactions, locks by name, SQL with %s markers for every engine.

`open_writer` connects; `write_errors` has the errors, none of them a driver's.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from integration.database.connecting import (
    CONNECT_TIMEOUT_SECONDS,
    connect_to_any,
    connect_with_retries,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from integration.database.dialects import Dialect, Engine
    from integration.database.settings import DatabaseSettings


class WriteSession(Protocol):
    """One connection that may write: READ COMMITTED, UTC, utf8mb4, strict, with foreign keys.

    Statements have %s markers and may raise the errors of `write_errors`. Times are passed and
    stored as text in UTC (`to_text`); MySQL returns them as datetime, SQLite as text (`to_time`).
    """

    @property
    def engine(self) -> Engine:
        """What the server is."""

    @property
    def dialect(self) -> Dialect:
        """The SQL that differs between the engines."""

    @property
    def max_packet(self) -> int:
        """The longest value that a statement can pass, in bytes."""

    @property
    def shares_locks(self) -> bool:
        """Whether all programs that use the database see this session's locks (not on Galera)."""

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement and return the number of rows that it inserted, matched or deleted."""

    def insert(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Insert rows and return the number that the database gave to the first of them."""

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for each row."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit when the block ends, roll back when it raises."""

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo what the block did when it raises, and keep the transaction."""

    def try_lock(self, name: str, wait_seconds: float = 0) -> AbstractContextManager[bool]:
        """Hold a lock of this database; yields whether it is held. It dies with the process."""

    def is_locked(self, name: str) -> bool:
        """Whether any session holds the lock."""

    def discard_remains(self) -> None:
        """Rewrite a file without what deleted rows have left in it; a server does that by itself.

        Raises:
            LockTimeout: another program is using the file.
        """

    def reconnect(self) -> None:
        """Connect again after `ConnectionLost`, and take the locks that were held again.

        Raises:
            DatabaseUnavailable: no connection.
            LockLost: another session has taken one of the locks.
        """

    def close(self) -> None:
        """End the connection."""


def open_writer(
    settings: DatabaseSettings,
    *,
    sleep: Callable[[float], object] = time.sleep,
    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
) -> WriteSession:
    """Connect for writing; tries all hosts up to three times.

    Raises:
        DatabaseUnavailable: no host can be reached, or (DatabaseRefused) one refuses.
    """
    if settings.engine == "sqlite":
        from integration.database.sqlite_writer import SQLiteWriter  # noqa: PLC0415

        return SQLiteWriter(Path(settings.name))
    from integration.database.mysql_writer import MySQLWriter  # noqa: PLC0415  # not for SQLite

    def connect(log_in: Callable[[str, float], None]) -> None:
        def log_in_to(host: str) -> None:
            log_in(host, connect_timeout_seconds)

        connect_with_retries(partial(connect_to_any, settings.hosts, log_in_to), sleep)

    return MySQLWriter(settings, connect)


def to_text(moment: datetime) -> str:
    """A time with a zone as the tables have it: in UTC, with microseconds."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def to_time(value: object) -> datetime | None:
    """A time as a session returns it, in UTC with its zone."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else None
