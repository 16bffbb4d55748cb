"""The journal under its lock: one run at a time.

LockedError    exit 75: another run holds the lock
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.journal.file import journal_exists, refuse_other_files
from integration.journal.schema import copying_advice
from integration.journal.store import Journal, JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

# Long enough for a glance of --status at the lock, short enough to be "at once".
LOCK_SECONDS = 0.2
SECONDS_BETWEEN_ATTEMPTS = 0.05


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


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a journal, which need not exist.

    Raises:
        LockedError: a run holds the lock.
    """
    with _lock_of(path):
        yield


def project_lock(folder: Path, project: str) -> AbstractContextManager[None]:
    """Hold the lock of an Iterable project among the syncs of a folder, whose journals may differ.

    Raises:
        LockedError: a run of another sync holds it.
    """
    return _lock_of(folder / f".{project.replace(':', '-')}")


def is_locked(path: Path) -> bool:
    """Whether a run holds this journal's lock now. Creates and changes nothing.

    Raises:
        JournalError: the lock file cannot be read.
    """
    try:
        descriptor = os.open(_lock_file(path), os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _lock_error("read", _lock_file(path), error) from error
    try:
        # Shared, so that two who look at the same time do not take each other for a run.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _lock_of(path: Path) -> Iterator[None]:
    """A lock that the system releases when the process ends, for any reason."""
    file = _lock_file(path)
    try:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(file)
    except OSError as error:
        raise _lock_error("write", file, error) from error
    try:
        yield
    finally:
        os.close(descriptor)


def _lock_error(action: str, file: str, error: OSError) -> JournalError:
    reason = error.strerror or error
    return JournalError(f"Cannot {action} {file}: {reason}; check JOURNAL_FILE and its folder")


def _acquire(file: str) -> int:
    """Lock the file, which is created if it is missing; closing the descriptor releases the lock.

    Raises:
        LockedError: another process still holds it after LOCK_SECONDS.
    """
    give_up_at = time.monotonic() + LOCK_SECONDS
    while (descriptor := _try_to_acquire(file)) is None:
        if time.monotonic() >= give_up_at:
            raise LockedError(
                f"Another run holds {file}: nothing was sent; wait until it has ended"
            )
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)
    return descriptor


def _try_to_acquire(file: str) -> int | None:
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    with ExitStack() as cleanup:
        cleanup.callback(os.close, descriptor)
        # Some file systems report a lock that is taken as EACCES.
        with suppress(BlockingIOError, PermissionError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # If the file was deleted since it was opened, the next run would lock another one.
            if os.fstat(descriptor).st_nlink > 0:
                cleanup.pop_all()
                return descriptor
    return None


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
                raise JournalError(copying_advice(path, copy.parent.parent, error)) from error
        return Journal(copy, copy_of=path)
