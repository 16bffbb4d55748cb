"""The journal's file: open, create, migrate, set aside when damaged."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from integration.core.files import FileError, is_there, sync_folder
from integration.journal.migrations import FUNCTIONS, SCHEMA_VERSION, migrate
from integration.journal.reading import PAGE_SIZE, JournalError, JournalReader
from integration.journal.schema import SQLITE_HEADER, advice, is_corruption

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["PAGE_SIZE", "JournalError", "JournalFile"]

# What to do after an error before there is a run to resume.
SAME_COMMAND = "run the same command again"


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


class JournalFile(JournalReader):
    """An open journal that can be written. Every method may raise JournalError.

    Args:
        path: the file; made, for its owner only, when it is missing.
        copy_of: the journal that errors name, if `path` is a copy of it.
        in_use: whether a run holds the lock, so that the file may not be migrated.
    """

    def __init__(self, path: Path, copy_of: Path | None = None, *, in_use: bool = False) -> None:
        super().__init__(copy_of or path)
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

    @property
    def is_in_place(self) -> bool:
        """Whether the name still leads to this file: it was not removed or replaced."""
        try:
            return _identity(self._path.stat()) == self._identity
        except (FileNotFoundError, NotADirectoryError):
            return False

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
        self._refuse_unknown(version)
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
