"""The records of lines in which nothing is quoted, made when they are needed.

A page of records that all exist at once is larger than a processor's cache: reading it again, to
validate it, would take longer than making the records a few hundred at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.ingest.models import RawRecord


class PlainRecords(Sequence["RawRecord"]):
    """A list of records that are made each time they are read.

    Args:
        lines: one for each record.
        names: of the cells.
        delimiter: between the cells.

    Raises:
        ValueError: on creation; a line has more or fewer cells.
    """

    def __init__(self, lines: Sequence[str], names: Sequence[str], delimiter: str) -> None:
        delimiters = len(names) - 1
        if any(line.count(delimiter) != delimiters for line in lines):
            raise ValueError("a line has more or fewer cells")
        self._lines = lines
        self._names = names
        self._delimiter = delimiter

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, place: int) -> RawRecord: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[RawRecord]: ...
    def __getitem__(self, place: int | slice) -> RawRecord | Sequence[RawRecord]:
        if isinstance(place, slice):
            return list(self._made(self._lines[place]))
        return next(self._made([self._lines[place]]))

    def __iter__(self) -> Iterator[RawRecord]:
        return self._made(self._lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def _made(self, lines: Sequence[str]) -> Iterator[RawRecord]:
        names, delimiter = self._names, self._delimiter
        for line in lines:
            yield dict(zip(names, line.split(delimiter), strict=True))
