"""Reading an open journal, whether it can be written or not.

JournalError    exit 78: the file cannot be used; the message says what to do
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.journal.migrations import SCHEMA_VERSION
from integration.journal.packing import DamagedRowsError
from integration.journal.schema import advice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

PAGE_SIZE = 1000


class JournalError(AppError):
    """The journal cannot be used; the message is one line that says what to do."""

    exit_code = ExitCode.CONFIGURATION


class JournalReader:
    """An open journal; a context manager that closes it. Every method may raise JournalError.

    Args:
        path: the file that errors name.
    """

    _database: sqlite3.Connection

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file as it was named when it was opened."""
        return self._path

    def close(self) -> None:
        """Close the file; what is not in a finished transaction is dropped."""
        self._database.close()

    def one(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Any:  # noqa: ANN401  a row
        """The first row of a query, or None."""
        with self._translated():
            return self._database.execute(sql, parameters).fetchone()

    def all(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()
    ) -> list[tuple[Any, ...]]:
        """All rows of a query that has few."""
        with self._translated():
            return self._database.execute(sql, parameters).fetchall()

    def pages(
        self, query: str, parameters: Mapping[str, object], limit: int = PAGE_SIZE
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of a query that also takes :position, the last one read, and :limit.

        The position comes first. No cursor stays open between two pages, so that writing may go
        on meanwhile.
        """
        position = 0
        while True:
            rows = self.all(query, {**parameters, "position": position, "limit": limit})
            yield from rows
            if len(rows) < limit:
                return
            position = rows[-1][0]

    def unpacked(
        self, unpack: Callable[[bytes, int], list[T]], content: bytes, count: int
    ) -> list[T]:
        """The `count` rows that were packed."""
        with self._translated():
            return unpack(content, count)

    def check(self, is_whole: bool, damage: str) -> None:  # noqa: FBT001  a condition
        """Raise JournalError if the file has this damage."""
        with self._translated():
            if not is_whole:
                raise DamagedRowsError(damage)

    def _refuse_unknown(self, version: int) -> None:
        """Refuse a later version's journal, and a file that is none."""
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"The journal {self._path} was written by a later version of this program (its"
                f" format is {version}, this one knows {SCHEMA_VERSION}): use that version, or"
                " set JOURNAL_FILE to another file"
            )
        if version == 0 and self._database.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise JournalError(
                f"{self._path} is an SQLite file, but no journal: set JOURNAL_FILE to another file"
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, DamagedRowsError) as error:
            raise JournalError(advice(self._path, error)) from error
