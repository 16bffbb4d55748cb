"""The journal opened for reading only: no byte of it changes, and no file is created or renamed.

A journal is in WAL mode, in which even SQLite's `mode=ro` writes: it creates `-wal` and `-shm`, or
marks in `-shm` how far it reads. What reads without a trace depends on the files that are there:

`-wal` and `-shm`    a run is writing, or was killed: `readonly_shm=1`, which takes locks only
neither              the file is complete: `immutable=1`, which takes none. A run that starts
                     meanwhile may change it, so that each query is checked, and repeated
`-wal` alone         copied, or after a power cut: only a private copy can be read
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote

from integration.journal.file import journal_exists, refuse_other_files
from integration.journal.migrations import SCHEMA_VERSION
from integration.journal.reading import JournalError, JournalReader
from integration.journal.schema import advice, copying_advice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_ATTEMPTS = 20
SECONDS_BETWEEN_ATTEMPTS = 0.02
# For a lock, in each attempt.
SECONDS_TO_WAIT = 0.1
# The place of the format's write version, and its value in WAL mode:
# https://www.sqlite.org/fileformat.html
_WRITE_VERSION, _WAL_MODE = 18, 2
# In mode=ro, these errors say that a run started, ended or checkpointed at this moment.
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_BUSY_RECOVERY,
        sqlite3.SQLITE_BUSY_SNAPSHOT,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY_CANTINIT,
        sqlite3.SQLITE_READONLY_CANTLOCK,
        sqlite3.SQLITE_READONLY_RECOVERY,
    }
)


class FileState(NamedTuple):
    """A file at some moment; two states are equal if it did not change in between."""

    device: int
    inode: int
    size: int
    changed_at: int

    @property
    def identity(self) -> tuple[int, int]:
        """Which file it is."""
        return self.device, self.inode


class Files(NamedTuple):
    """The journal's files; those of SQLite are None if there are none."""

    database: FileState | None
    wal: FileState | None
    shm: FileState | None

    @property
    def has_wal(self) -> bool:
        """Whether a part of the journal may be in `-wal`."""
        return self.wal is not None and (self.wal.size > 0 or self.shm is not None)

    @property
    def identities(self) -> tuple[tuple[int, int] | None, ...]:
        """Which files they are."""
        return tuple(file and file.identity for file in self)


class ReadOnlyJournal(JournalReader):
    """An open journal that cannot be written. Every method may raise JournalError.

    Close it soon: as long as it is open during a run, the end of the run leaves the file `-wal`.

    Args:
        path: the journal.

    Attributes:
        is_empty: whether it is being created, so that there are no tables yet.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._open()

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """The journal, or None if there has been no run yet.

        Raises:
            JournalError: it is damaged or of another version, or cannot be read.
        """
        if not journal_exists(path):
            return None
        refuse_other_files(path)
        journal = cls(path)
        if journal.is_empty:
            journal.close()
            return None
        return journal

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def one(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Any:  # noqa: ANN401  a row
        """The first row of a query that has few, or None."""
        rows = self.all(sql, parameters)
        return rows[0] if rows else None

    def all(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()
    ) -> list[tuple[Any, ...]]:
        """All rows of a query that has few; as it is at one moment."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                rows = super().all(sql, parameters)
            except JournalError as error:
                is_final = attempt == MAX_ATTEMPTS or not _may_pass(error.__cause__)
                if is_final and self._is_current():
                    raise
                time.sleep(SECONDS_BETWEEN_ATTEMPTS)
            else:
                if self._is_current():
                    return rows
            self.close()
            self._open()
        raise JournalError(f"The journal {self._path} changes all the time: run again")

    def _open(self) -> None:
        """Open the file, in the way that suits the files there are now."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                self._connect()
            except (OSError, sqlite3.Error) as error:
                if attempt == MAX_ATTEMPTS or not _may_pass(error):
                    raise JournalError(advice(self._path, error)) from error
            else:
                if self._is_current():
                    return
                self.close()
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        raise JournalError(f"The journal {self._path} changes all the time: run again")

    def _connect(self) -> None:
        with ExitStack() as opened:
            path, options = self._choose(opened)
            uri = f"file:{quote(os.fsencode(path))}?{options}"
            database = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=SECONDS_TO_WAIT)
            self._database = opened.enter_context(closing(database))
            self._check_version()
            self._opened = opened.pop_all()

    def _choose(self, opened: ExitStack) -> tuple[Path, str]:
        """The file to read, and SQLite's options for that."""
        path = self._real_path = _real_path(self._path)
        self._files = _files_of(path)
        if not _is_in_wal_mode(path):
            return path, "mode=ro"
        if not self._files.has_wal:
            return path, "mode=ro&immutable=1"
        if self._files.shm:
            return path, "mode=ro&readonly_shm=1"
        folder = opened.enter_context(tempfile.TemporaryDirectory())
        return self._copied(path, Path(folder)), "mode=rw"

    def _check_version(self) -> None:
        """Refuse another version's journal."""
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        self._refuse_unknown(version)
        self.is_empty = version == 0
        if 0 < version < SCHEMA_VERSION:
            raise JournalError(
                f"The journal {self._path} was written by an earlier version of this program (its"
                f" format is {version}, this one reads {SCHEMA_VERSION}) and stays as it is: the"
                " next run converts it"
            )

    def _copied(self, path: Path, folder: Path) -> Path:
        """A private copy of the file and its `-wal`."""
        copy = folder / "journal.db"
        try:
            shutil.copyfile(path, copy)
            shutil.copyfile(f"{path}-wal", f"{copy}-wal")
        except OSError as error:
            raise JournalError(copying_advice(self._path, folder.parent, error)) from error
        return copy

    def _is_current(self) -> bool:
        """Whether what was read is the journal's: nothing has changed it unseen."""
        files = _files_of(self._real_path)
        if self._files.has_wal and self._files.shm:  # SQLite's locks show what is complete
            return files.identities == self._files.identities
        return files == self._files


def files_of(path: Path) -> Files:
    """The journal's files as they are now; if they are the same later, so is what they hold."""
    return _files_of(_real_path(path))


def _real_path(path: Path) -> Path:
    # SQLite's files are beside the file that a link leads to.
    return Path(os.path.realpath(path))


def _files_of(path: Path) -> Files:
    return Files(*(_state_of(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")))


def _state_of(path: str) -> FileState | None:
    with suppress(FileNotFoundError, NotADirectoryError):
        status = os.stat(path)  # noqa: PTH116  a fourth of the time of Path.stat
        return FileState(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return None


def _is_in_wal_mode(path: Path) -> bool:
    # Closing the file drops the locks that other threads have on it. What they read meanwhile is
    # checked like everything else.
    with path.open("rb") as file:
        return file.read(_WRITE_VERSION + 1)[_WRITE_VERSION:] == bytes([_WAL_MODE])


def _may_pass(error: BaseException | None) -> bool:
    """Whether the same may succeed at once: the files are changing at this moment."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code in _PASSING or isinstance(error, FileNotFoundError)
