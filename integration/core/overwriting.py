"""Overwriting parts of files in place, so that what was there is not left on the disk.

A file may be in use and grow meanwhile: nothing moves, and what a kill interrupts is finished by
doing it again. Only compressed files are rewritten, under a temporary name.

UnreadableError    a FileError: a compressed file is damaged, so its content is not known
"""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, cast

from integration.core.files import FileError, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    # The pieces of a file in its order, each with what replaces it, of the same length.
    Replace = Callable[[Iterable[bytes]], Iterator[tuple[bytes, bytes]]]


class UnreadableError(FileError):
    """A compressed file is damaged."""


_GZIP_SUFFIX = ".gz"
_PART_SUFFIX = ".erasing.part"


def count_replaced(path: Path, replace: Replace) -> int:
    """How many pieces of a file would be replaced; 0 if it is no regular file.

    Raises:
        FileError: it cannot be read.
    """
    with _errors(path):
        if not _is_regular(path):
            return 0
        with _opened(path) as file:
            return sum(old != new for old, new in replace(file))
    return 0


def overwrite(path: Path, replace: Replace) -> int:
    """Replace pieces of a file, and sync it to the disk; returns how many.

    Raises:
        FileError: it cannot be read or written.
    """
    number = count_replaced(path, replace)
    if number:
        with _errors(path):
            (_rewrite if path.name.endswith(_GZIP_SUFFIX) else _overwrite)(path, replace)
    return number


def _overwrite(path: Path, replace: Replace) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        offset = 0
        with path.open("rb") as file:
            for old, new in replace(file):
                if old != new:
                    os.pwrite(descriptor, new, offset)
                offset += len(old)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rewrite(path: Path, replace: Replace) -> None:
    """Write a compressed file again, with the owner's rights and the old time."""
    status = path.stat()
    part = path.with_name(f"{path.name}{_PART_SUFFIX}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        with _opened(path) as file, gzip.GzipFile("", "wb", fileobj=output) as compressed:
            for _, new in replace(file):
                compressed.write(new)
        output.flush()
        os.fsync(output.fileno())
    part.chmod(stat.S_IMODE(status.st_mode))
    part.replace(path)
    sync_folder(path.parent)


def delete_overwritten(path: Path) -> None:
    """Overwrite a small file with zeros and delete it.

    Raises:
        FileError: it cannot be written.
    """
    with _errors(path):
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        sync_folder(path.parent)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path.name.endswith(_GZIP_SUFFIX):
        with gzip.open(path, "rb") as file:
            yield cast("BinaryIO", file)
    else:
        with path.open("rb") as plain:
            yield plain


def _is_regular(path: Path) -> bool:
    return stat.S_ISREG(path.stat().st_mode)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Translate errors; a file that is gone meanwhile needs nothing."""
    try:
        with suppress(FileNotFoundError):
            yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableError(f"Cannot read {path}: {error}") from error
    except OSError as error:
        raise FileError(f"Cannot erase in {path}: {error.strerror or error}") from error
