"""Where the reading of a file goes on: fingerprints, sizes and offsets.

    unchanged since it was read to its end     nothing to read
    written again with the same content        nothing to read
    grown, with the same beginning             from the offset
    anything else                              the whole file

The bytes before the offset have a fingerprint, too: a file that was written again with the same
beginning is read as a whole, instead of from the middle of a record. After the end of a local file,
all of its bytes have one, so that no corrected value is overlooked.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import Protocol

PART_BYTES = 1_048_576
HEAD_BYTES = 65_536
TAIL_BYTES = 4_096


class ByteFile(Protocol):
    """A file of which any range can be read.

    Attributes:
        name: its path, or its URL without secrets.
        size: in bytes; compressed, if it is.
        version: a text that differs after the file was written; empty if that is not known.
        is_local: whether reading it once more costs little.
    """

    name: str
    size: int
    version: str
    is_local: bool

    def read_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes, or up to the end of the file.

        Raises:
            SourceError: the file cannot be read.
        """
        ...

    def check_unchanged(self) -> None:
        """Check that the file is as it was when it was opened.

        Raises:
            SourceError: it has changed.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A digest of the bytes from `start` to `end`."""

    start: int
    end: int
    digest: str

    def matches(self, file: ByteFile) -> bool:
        """Whether the file has these bytes."""
        return file.size >= self.end and fingerprint(file, self.start, self.end) == self


def fingerprint(file: ByteFile, start: int, end: int) -> Fingerprint:
    """The fingerprint of a range of a file."""
    digest = hashlib.sha256()
    for offset in range(start, end, PART_BYTES):
        digest.update(file.read_at(offset, min(PART_BYTES, end - offset)))
    return Fingerprint(start, end, digest.hexdigest())


@dataclass(frozen=True, slots=True)
class FilePosition:
    """How far a file was read.

    Attributes:
        offset: the next record begins here; counted in uncompressed bytes.
        size: the file's size at that time.
        version: the file's version at that time.
        head: the beginning of the file.
        tail: the last bytes that were read, if that is known.
        whole: all of it, if it was read to its end and is a local one.
        done: whether the file was read to its end.
    """

    offset: int
    size: int
    version: str
    head: Fingerprint
    tail: Fingerprint | None
    whole: Fingerprint | None
    done: bool

    def as_json(self) -> dict[str, object]:
        """The position as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> FilePosition | None:
        """The position that `as_json` made, or None if this is none."""
        if not isinstance(value, dict) or value.keys() != {field.name for field in fields(cls)}:
            return None
        names = ("head", "tail", "whole")
        fingerprints = {name: _fingerprint_from_json(value[name]) for name in names}
        return None if fingerprints["head"] is None else cls(**{**value, **fingerprints})


def _fingerprint_from_json(value: object) -> Fingerprint | None:
    return Fingerprint(**value) if isinstance(value, dict) else None


def position_at(file: ByteFile, offset: int, *, done: bool) -> FilePosition:
    """The position at an offset, in uncompressed bytes.

    What follows it may change without consequences. In a compressed file it is not known where
    that begins: until such a file was read to its end, only its beginning counts.
    """
    end = file.size if done or is_gzip(file.name) else offset
    has_tail = done or not is_gzip(file.name)
    return FilePosition(
        offset=offset,
        size=file.size,
        version=file.version,
        head=fingerprint(file, 0, min(end, HEAD_BYTES)),
        tail=fingerprint(file, max(0, end - TAIL_BYTES), end) if has_tail else None,
        whole=fingerprint(file, 0, file.size) if done and file.is_local else None,
        done=done,
    )


def is_gzip(name: str) -> bool:
    """Whether a path or URL names a compressed file."""
    return name.partition("?")[0].lower().endswith(".gz")


def start_offset(known: FilePosition | None, file: ByteFile) -> int | None:
    """Where to read on, in uncompressed bytes, or None if there is nothing to read."""
    if known is None:
        return 0
    if known.done and file.version and (known.size, known.version) == (file.size, file.version):
        return None
    if not all(one is None or one.matches(file) for one in (known.head, known.tail, known.whole)):
        return 0
    if known.done and file.size == known.size:
        # Of a file elsewhere, the middle may differ: only its version says so.
        return 0 if known.whole is None and file.version else None
    return known.offset if file.size >= known.size else 0
