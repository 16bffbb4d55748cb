"""Atomic files that only their owner can read, folders, and paths for messages.

FileError    exit 78: a file or folder cannot be used; the message says which and why
"""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

# One attempt per second: half a minute.
MAX_TIMESTAMPS_TRIED = 30
# Fewer system calls than with Python's default.
BUFFER_BYTES = 262_144
# The file system cannot sync folders, or the folder is not readable.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES}


class FileError(AppError):
    """A file or folder cannot be used; the one-line message names it."""

    exit_code = ExitCode.CONFIGURATION


class AtomicFile:
    """A text file that is written under a temporary name until it is complete.

    UTF-8; newlines are not translated. Every method may raise FileError; then `discard` it.

    Args:
        path: the name that it gets in the end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = _part_path(path)
        with _write_errors(path):
            # Never write into, or follow, a leftover of a killed run or a symlink placed there.
            self._part.unlink(missing_ok=True)
            descriptor = os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        self._file = os.fdopen(descriptor, "wb", BUFFER_BYTES)

    def write(self, text: str) -> None:
        """Append text."""
        with _write_errors(self._path):
            self._file.write(text.encode())

    def finish(self) -> None:
        """Sync the content to the disk, give the file its name, and sync that."""
        with _write_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
            sync_folder(self._path.parent)

    def discard(self) -> None:
        """Delete the unfinished file."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"Cannot write {path}: {error.strerror or error}") from error


@contextmanager
def atomic_write(path: Path) -> Iterator[AtomicFile]:
    """A file that gets its name when the block succeeds, and is deleted when it raises.

    Raises:
        FileError: the file cannot be written; nothing is left behind.
    """
    file = AtomicFile(path)
    try:
        yield file
        file.finish()
    except BaseException:
        file.discard()
        raise


def is_there(path: Path) -> bool:
    """Whether the path exists; unlike `Path.exists`, errors are not taken for "no".

    Raises:
        FileError: it cannot be determined, for example in a folder without search permission.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FileError(f"Cannot reach {path}: {error.strerror or error}") from error
    return True


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk, if the file system supports it.

    Without it, a file whose content was synced may still be lost in a power cut.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def display_path(path: Path) -> Path:
    """The path for messages: relative if it is below the working directory.

    Bytes that are not UTF-8 are shown as escapes, so the result is not for opening files.
    """
    try:
        working_directory = Path.cwd()
    except OSError:  # removed or not accessible
        working_directory = path
    below = path != working_directory and path.is_relative_to(working_directory)
    relative = path.relative_to(working_directory) if below else path
    return Path(os.fsencode(relative).decode(errors="backslashreplace"))


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same file, also through links; it may not exist yet."""
    with suppress(OSError):
        return one.samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)


def raise_open_file_limit(needed: int) -> None:
    """Raise this process's limit of open files to `needed` if it is lower.

    Raises:
        FileError: the hard limit is too low.
    """
    allowed, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, limit))
    except ValueError as error:
        raise FileError(
            f"{needed} open files are needed, but {limit} are allowed (ulimit -n):"
            " lower MAX_WORKERS, or raise the limit"
        ) from error


def make_folder(folder: Path) -> None:
    """Create a folder and its parents if they are missing.

    Raises:
        FileError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"Cannot create the folder {folder}: {error.strerror or error}") from error


def ensure_writable_folder(folder: Path) -> None:
    """Create the folder if needed, and check that a file can be written in it.

    Raises:
        FileError: no file can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"any content")
    except OSError as error:
        raise FileError(
            f"Cannot write in the folder {folder}: {error.strerror or error}; check OUTPUT_DIR"
        ) from error


def discard_part(path: Path) -> None:
    """Delete the unfinished part of `path` that a killed run has left."""
    with suppress(OSError):
        _part_path(path).unlink(missing_ok=True)


@contextmanager
def reserve_timestamp(
    folder: Path,
    name_patterns: tuple[str, ...],
    clock: Callable[[], datetime],
    sleep: Callable[[float], object],
) -> Iterator[str]:
    """The current time as `YYYYMMDD_HHMMSS`, reserved for this run's file names.

    If the names of this second are in use, waits for the next one; a name is never ahead of the
    clock. An empty `.part` file reserves the timestamp until the block ends.

    Args:
        folder: where the files will be written.
        name_patterns: file names with `{}` in place of the timestamp.
        clock: returns the local time.
        sleep: takes seconds.

    Raises:
        FileError: the names of many seconds are taken, or none can be reserved.
    """
    timestamp = _reserve_free_timestamp(folder, name_patterns, clock, sleep)
    try:
        yield timestamp
    finally:
        # `discard_part` ignores errors: the run may have ended because the folder is not writable.
        discard_part(folder / name_patterns[0].format(timestamp))


def _reserve_free_timestamp(
    folder: Path,
    name_patterns: tuple[str, ...],
    clock: Callable[[], datetime],
    sleep: Callable[[float], object],
) -> str:
    for _ in range(MAX_TIMESTAMPS_TRIED):
        moment = clock()
        timestamp = f"{moment:%Y%m%d_%H%M%S}"
        paths = [folder / pattern.format(timestamp) for pattern in name_patterns]
        if not any(is_there(path) for path in paths) and _reserve(paths[0]):
            return timestamp
        sleep(1 - moment.microsecond / 1_000_000)
    raise FileError(
        f"File names with the current time, such as {paths[0].name}, are taken in {folder}:"
        " is the clock right? Move the files away, or change OUTPUT_DIR"
    )


def _reserve(path: Path) -> bool:
    try:
        os.close(os.open(_part_path(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    except OSError as error:
        raise FileError(f"Cannot write {path}: {error.strerror or error}") from error
    return True


def _part_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
