"""Files as bytes: local ones, globs, and the decompression of .gz."""

from __future__ import annotations

import glob
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from integration.ingest.errors import SourceError, SourceUnavailable
from integration.ingest.kinds.file_positions import is_gzip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.ingest.kinds.file_positions import ByteFile

PART_BYTES = 1_048_576
_GZIP = 16 + zlib.MAX_WBITS


class LocalFile:
    """A file of this machine; see `ByteFile`."""

    is_local = True

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
            state = os.fstat(self._descriptor)
        except FileNotFoundError as error:
            raise SourceUnavailable(f"No file matches {path}: check the source's path") from error
        except OSError as error:
            raise _unreadable(path, error) from error
        self.size = state.st_size
        self.version = _version_of(state)

    def read_at(self, offset: int, size: int) -> bytes:
        """Read a range."""
        parts: list[bytes] = []
        try:
            while size > 0 and (part := os.pread(self._descriptor, size, offset)):
                parts.append(part)
                offset, size = offset + len(part), size - len(part)
        except OSError as error:
            raise _unreadable(self.name, error) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def check_unchanged(self) -> None:
        """Compare size, time and inode, those of the open file and those at its path."""
        try:
            states = [os.fstat(self._descriptor), Path(self.name).stat()]
        except OSError as error:
            raise _unreadable(self.name, error) from error
        if any(
            (state.st_size, _version_of(state)) != (self.size, self.version) for state in states
        ):
            raise changed_while_read(self.name)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def changed_while_read(name: str) -> SourceError:
    """The error for a file that changes while it is read."""
    return SourceError(
        f"{name} changed while it was read: let it be written completely (under another name,"
        " then renamed) before the next run. What was read before the change counts"
    )


def _version_of(state: os.stat_result) -> str:
    return f"{state.st_mtime_ns}:{state.st_ino}"


def _unreadable(path: str, error: OSError) -> SourceUnavailable:
    return SourceUnavailable(f"{path} cannot be read: {error.strerror or error}")


def matching_paths(patterns: Sequence[str]) -> list[str]:
    """The paths that the patterns name, each once: in the order of the patterns, then by name.

    A pattern that no file matches stands for itself: opening it says so, and the others are read.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        # A file whose name contains [ or * is still a file.
        is_file = Path(pattern).is_file()
        # Path.glob takes no absolute pattern.
        paths = [pattern] if is_file else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        files = [path for path in paths if Path(path).is_file()]
        found.update(dict.fromkeys(files or [pattern]))
    return list(found)


def parts_of(file: ByteFile, offset: int) -> Iterator[bytes]:
    """The content from an offset, in parts of about a megabyte, decompressed if it is .gz.

    Raises:
        SourceError: the file ends too early, or is damaged.
    """
    if is_gzip(file.name):
        return _gzip_parts(file, offset)
    return _plain_parts(file, offset)


def _plain_parts(file: ByteFile, offset: int) -> Iterator[bytes]:
    while offset < file.size:
        part = file.read_at(offset, min(PART_BYTES, file.size - offset))
        if not part:
            file.check_unchanged()
            raise SourceError(f"{file.name} ends at byte {offset}, expected {file.size} bytes")
        yield part
        offset += len(part)


def _gzip_parts(file: ByteFile, offset: int) -> Iterator[bytes]:
    for part in _decompressed(file):
        if offset < len(part):
            yield part[offset:]
        offset = max(0, offset - len(part))


def _decompressed(file: ByteFile) -> Iterator[bytes]:
    """All members of a gzip file, one after the other; memory stays flat whatever the ratio."""
    decompressor = zlib.decompressobj(_GZIP)
    for compressed in _plain_parts(file, 0):
        data = compressed
        while data:
            if decompressor.eof:
                data = data.lstrip(b"\0")  # padding between or after members
                if not data:
                    break
                decompressor = zlib.decompressobj(_GZIP)
            try:
                part = decompressor.decompress(data, PART_BYTES)
            except zlib.error as error:
                raise SourceError(f"{file.name} is not a gzip file, or damaged: {error}") from error
            if part:
                yield part
            data = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
    if file.size and not decompressor.eof:
        yield decompressor.flush()
    if file.size and not decompressor.eof:
        raise SourceError(f"{file.name} is cut off: the gzip file has no end. Write it again")
