"""What the reading of files needs to know of the way in which their records are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.ingest.models import RawRecord


class Taken(NamedTuple):
    """Records from the beginning of a piece of a file.

    Attributes:
        used: the bytes that they take.
        kept: the part of these that the next run need not read again.
        fields: the names that all records have, if that is known.
        cut_off: what is wrong with the record after them, which the file's end cuts off.
    """

    records: Sequence[RawRecord]
    used: int
    kept: int
    cut_off: str = ""
    fields: frozenset[str] | None = None


class Layout(Protocol):
    """How the records of one file are written, as its beginning says."""

    @property
    def preamble(self) -> bytes:
        """What precedes the first record: the header of a CSV file."""
        ...

    def take(self, data: bytes, limit: int, *, at_end: bool) -> Taken:
        """The complete records at the beginning of `data`, at most `limit`.

        Args:
            data: a piece of the file that begins with a record.
            limit: the maximum number of records.
            at_end: whether the file ends with `data`.
        """
        ...

    def take_all(self, data: bytes) -> Sequence[RawRecord]:
        """The records of a page, again."""
        ...


class Format(Protocol):
    """How the records of a kind of file are written."""

    def layout(self, beginning: bytes, name: str, *, at_end: bool) -> Layout | None:
        """The layout of the file that begins like this; None if more of it is needed.

        Raises:
            SourceError: it is not such a file.
        """
        ...
