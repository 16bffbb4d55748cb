"""The journal under its lock: one run at a time.

LockedError    exit 75: another run holds the lock
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.journal.file import journal_exists, refuse_other_files
from integration.journal.schema import advice, is_full_disk
from integration.journal.store import Journal, JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Long enough for a glance of --status at the lock, short enough to be "at once".
LOCK_SECONDS = 0.2


class LockedError(AppError):
    """Another run holds the journal's lock."""

    exit_code = ExitCode.LOCKED


@contextmanager
def open_journal(path: Path, *, dry_run: bool) -> Iterator[Journal]:
    """The journal under its lock; a dry run gets a copy, which vanishes.

    Raises:
        LockedError: another run holds the lock.
    """
    refuse_other_files(path)
    with ExitStack() as cleanup:
        if dry_run:
            yield cleanup.enter_context(_opened_copy(path))
            return
        cleanup.enter_context(_lock_of(path))
        yield cleanup.enter_context(Journal(path))


def is_locked(path: Path) -> bool:
    """Whether a run holds this journal's lock now. Creates no lock file."""
    if not Path(_lock_file(path)).exists():
        return False
    try:
        with _lock_of(path):
            return False
    except LockedError:
        return True


@contextmanager
def _lock_of(path: Path) -> Iterator[None]:
    """A lock that the system releases when the process ends, for any reason."""
    lock = FileLock(_lock_file(path), mode=0o600)
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise LockedError(
            f"Another run holds {lock.lock_file}: nothing was sent; wait until it has ended"
        ) from error
    except OSError as error:
        raise JournalError(
            f"Cannot write {lock.lock_file}: {error.strerror or error};"
            " check JOURNAL_FILE and its folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _lock_file(path: Path) -> str:
    # The same file by another name is locked, too. Path.resolve() raises on a loop of links.
    return f"{os.path.realpath(path)}.lock"


def _opened_copy(path: Path) -> Journal:
    """A private copy of the journal, which may be in use; empty if there is none.

    Its file has no name any more when it is open, so that nothing is left however the run ends.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "journal.db"
        if journal_exists(path):
            try:
                with (
                    closing(sqlite3.connect(path.absolute())) as there,
                    closing(sqlite3.connect(copy)) as here,
                ):
                    there.backup(here)
            except sqlite3.Error as error:
                raise JournalError(_copying_advice(path, copy, error)) from error
        return Journal(copy, copy_of=path)


def _copying_advice(path: Path, copy: Path, error: sqlite3.Error) -> str:
    if is_full_disk(error):
        return (
            f"The disk is full: no room for a copy of the journal {path} in {copy.parent.parent};"
            " make room, or set TMPDIR to another folder"
        )
    return advice(path, error)
