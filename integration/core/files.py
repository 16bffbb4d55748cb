"""Files that are there whole or not at all, and that only their owner can read.

FileError    exit 78: a file or folder cannot be written; the message says which and why
"""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

# Each is waited for: this is half a minute.
MAX_STAMPS_TRIED = 30


# What a file system says that has no sync for folders, or a folder that may not be read.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES}


class FileError(AppError):
    """A file cannot be written; the message is one line that names it."""

    exit_code = ExitCode.CONFIGURATION


@contextmanager
def atomic_write(path: Path) -> Iterator[TextIO]:
    """A text file that gets the name `path` when the block ends well, and vanishes otherwise.

    Its content is on the disk before it has the name, and the name when the block has ended.
    Newlines are written as given; the encoding is UTF-8.

    Raises:
        FileError: the file cannot be written; nothing is left behind.
    """
    beside = _part_path(path)
    try:
        # What a killed run left, or somebody put there, is neither written into nor followed.
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                yield file
                file.flush()
                os.fsync(descriptor)
            beside.replace(path)
            sync_folder(path.parent)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FileError(f"Cannot write {path}: {error.strerror or error}") from error


def is_there(path: Path) -> bool:
    """Whether a file or folder has this name; unlike `Path.exists`, never a guess.

    Raises:
        FileError: it cannot be known, in a folder that may not be searched for example.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FileError(f"Cannot reach {path}: {error.strerror or error}") from error
    return True


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where the file system can.

    Without it a power cut may take away a file whose content is on the disk.
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
    """A path for people to read: from the working directory on, if it lies below.

    Bytes of its name that are not UTF-8 are shown as escapes: it is not for opening files.
    """
    try:
        working_directory = Path.cwd()
    except OSError:  # removed, or not to be reached
        working_directory = path
    below = path != working_directory and path.is_relative_to(working_directory)
    relative = path.relative_to(working_directory) if below else path
    return Path(os.fsencode(relative).decode(errors="backslashreplace"))


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths name one file, by whatever spelling or link; it may not be there yet."""
    with suppress(OSError):
        return one.samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)


def raise_open_file_limit(needed: int) -> None:
    """Raise this process's limit of open files if it is lower.

    Raises:
        FileError: it cannot be raised as far.
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
    """Make a folder, and those that it lies in, if they are missing.

    Raises:
        FileError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"Cannot make the folder {folder}: {error.strerror or error}") from error


def ensure_writable_folder(folder: Path) -> None:
    """Make the folder if needed and try that a file can be written in it.

    Raises:
        FileError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"room for a first block")
    except OSError as error:
        raise FileError(
            f"Cannot write in the folder {folder}: {error.strerror or error}; check OUTPUT_DIR"
        ) from error


def discard_part(path: Path) -> None:
    """Remove what a killed run has left of a file that it had not finished."""
    with suppress(OSError):
        _part_path(path).unlink(missing_ok=True)


@contextmanager
def reserve_timestamp(
    folder: Path,
    name_patterns: tuple[str, ...],
    clock: Callable[[], datetime],
    sleep: Callable[[float], object],
) -> Iterator[str]:
    """The time as `YYYYMMDD_HHMMSS`, in a second whose names nobody uses or has claimed.

    Waits for the next second if it must, so that no name is of a time to come. Two runs of the
    same second and folder get different ones, since the first file's `.part` is there, empty,
    until the block ends.

    Args:
        folder: where the files will be written.
        name_patterns: file names with `{}` in the place of the stamp.
        clock: the local time.
        sleep: takes seconds.

    Raises:
        FileError: the names of many seconds are taken, or none can be claimed.
    """
    stamp = _claim_stamp(folder, name_patterns, clock, sleep)
    try:
        yield stamp
    finally:
        # What ended the run may be that nothing can be written, or deleted, there any more.
        discard_part(folder / name_patterns[0].format(stamp))


def _claim_stamp(
    folder: Path,
    name_patterns: tuple[str, ...],
    clock: Callable[[], datetime],
    sleep: Callable[[float], object],
) -> str:
    for _ in range(MAX_STAMPS_TRIED):
        moment = clock()
        stamp = f"{moment:%Y%m%d_%H%M%S}"
        paths = [folder / pattern.format(stamp) for pattern in name_patterns]
        if not any(is_there(path) for path in paths) and _reserve(paths[0]):
            return stamp
        sleep(1 - moment.microsecond / 1_000_000)
    raise FileError(
        f"The names of this moment, such as {paths[0].name}, are taken in {folder}:"
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
