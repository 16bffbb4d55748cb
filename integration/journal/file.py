"""The journal's file: open, create, migrate, set aside when damaged.

JournalError    exit 78: the file cannot be used; the message says what to do
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.core.files import FileError, is_there, sync_folder
from integration.journal.migrations import FUNCTIONS, SCHEMA_VERSION, migrate
from integration.journal.packing import DamagedRowsError
from integration.journal.schema import SQLITE_HEADER, advice, is_corruption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

PAGE_SIZE = 1000
# What to do after an error before there is a run to resume.
SAME_COMMAND = "run the same command again"


class JournalError(AppError):
    """The journal cannot be used; the message is one line that says what to do."""

    exit_code = ExitCode.CONFIGURATION


def journal_exists(path: Path) -> bool:
    """Whether there is a journal.

    Raises:
        JournalError: it cannot be known.
    """
    try:
        return is_there(path)
    except FileError as error:
        raise JournalError(f"{error}; check JOURNAL_FILE and its folder") from error


def refuse_other_files(path: Path) -> None:
    """Refuse a file that is neither empty nor SQLite's: it is not a journal, and stays untouched.

    Raises:
        JournalError: it is such a file, or cannot be read.
    """
    try:
        # Reading a pipe would wait for a writer.
        is_file = path.is_file()
        start = _first_bytes(path) if is_file else b""
        is_there = is_file or path.exists()
    except OSError as error:
        raise JournalError(advice(path, error)) from error
    if is_there and not (is_file and start in {b"", SQLITE_HEADER}):
        raise JournalError(
            f"{path} is not a journal and stays as it is: set JOURNAL_FILE to another file"
        )


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(SQLITE_HEADER))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


class JournalFile:
    """An open journal; a context manager that closes it. Every method may raise JournalError.

    Args:
        path: the file; made, for its owner only, when it is missing.
        copy_of: the journal that errors name, if `path` is a copy of it.
        in_use: whether a run holds the lock, so that the file may not be migrated.
    """

    def __init__(self, path: Path, copy_of: Path | None = None, *, in_use: bool = False) -> None:
        self._path = copy_of or path
        self._in_use = in_use
        refuse_other_files(path)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            self._identity = _identity(os.fstat(descriptor))
            os.close(descriptor)
            sync_folder(path.absolute().parent)
            # SQLite gives some relative names a meaning of their own: `:memory:`, `file:…`.
            self._database = sqlite3.connect(path.absolute(), isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(advice(self._path, error, SAME_COMMAND)) from error
        try:
            self._set_up()
        except sqlite3.Error as error:
            self._database.close()
            if is_corruption(error) and copy_of is None:
                raise JournalError(self._set_aside(error)) from error
            raise JournalError(advice(self._path, error, SAME_COMMAND)) from error
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file as it was named when it was opened."""
        return self._path

    @property
    def is_in_place(self) -> bool:
        """Whether the name still leads to this file: it was not removed or replaced."""
        try:
            return _identity(self._path.stat()) == self._identity
        except (FileNotFoundError, NotADirectoryError):
            return False

    def close(self) -> None:
        """Close the file; what is not in a finished transaction is dropped."""
        self._database.close()

    def execute(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()
    ) -> sqlite3.Cursor:
        """Run one statement."""
        with self._translated():
            return self._database.execute(sql, parameters)

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for each row."""
        with self._translated():
            self._database.executemany(sql, rows)

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

    @contextmanager
    def transaction(self, *, synced: bool = True) -> Iterator[None]:
        """A transaction; inside an open one, the statements join it.

        Args:
            synced: whether it is on the disk when the block has ended, with all before it. A
                crash of the process loses nothing without that, but a power cut may.
        """
        if self._database.in_transaction:
            yield
            return
        self.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.rollback()
            raise

    def discard_remains(self) -> None:
        """Rewrite the file without what deleted and changed rows have left in it.

        Raises:
            JournalError: another program is reading the file.
        """
        self.execute("VACUUM")
        (busy, *_) = self.one("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise JournalError(
                f"Another program is reading {self._path}: wait until it has ended, "
                f"then {SAME_COMMAND}"
            )

    def _set_up(self) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
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
        if 0 < version < SCHEMA_VERSION and self._in_use:
            raise JournalError(
                f"A run of an earlier version of this program is using {self._path}:"
                " wait until it has ended"
            )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        # The largest run's WAL would otherwise keep its size for good.
        self._database.execute("PRAGMA journal_size_limit = 16777216")
        if version < SCHEMA_VERSION:
            self._migrate()

    def _migrate(self) -> None:
        """Migrate the file to this version, unless another process has done so meanwhile."""
        for function in FUNCTIONS:
            self._database.create_function(function.__name__, -1, function, deterministic=True)
        self._database.execute("BEGIN IMMEDIATE")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        for step in range(version, SCHEMA_VERSION):
            migrate(self._database, step)
            self._database.execute(f"PRAGMA user_version = {step + 1}")
        self._database.execute("COMMIT")

    def _set_aside(self, error: sqlite3.Error) -> str:
        """Rename the damaged file, so that it is kept and the next run finds none."""
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.damaged-{number}")).exists():
            number += 1
        self._path.rename(aside)
        for suffix in ("-wal", "-shm"):
            companion = self._path.with_name(self._path.name + suffix)
            if companion.exists():
                companion.rename(aside.with_name(aside.name + suffix))
        return (
            f"The journal {self._path} is damaged ({error}); it was set aside as {aside}."
            " Run again to start a new one: sending a user again changes nothing"
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, DamagedRowsError) as error:
            raise JournalError(advice(self._path, error)) from error
