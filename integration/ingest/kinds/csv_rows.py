"""The rows of lines, of which one row may have several."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Rows:
    """The rows of some lines; a row that cannot be read is the reason, as a text.

    After a row that cannot be read, the next one begins on the line after its first.

    Attributes:
        start, end: the lines of the last row.
        is_unclosed: the last row had a quote that is not closed in these lines.
    """

    def __init__(self, lines: list[bytes], codec: str, delimiter: str, quote: str) -> None:
        self._texts, self._undecodable = _decoded(lines, codec)
        self._codec = codec
        self._delimiter = delimiter
        self._quote = quote
        self._next = 0
        self.start = self.end = 0
        self.is_unclosed = False

    def __iter__(self) -> Iterator[list[str] | str]:
        while self._next < len(self._texts):
            yield from self._read()

    def _read(self) -> Iterator[list[str] | str]:
        """Read up to the end of the lines, or a quote that is not closed there."""
        reader = self._reader()
        while True:
            self.start = self._next
            try:
                row: list[str] | str = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                at_end = self._next == len(self._texts)
                self.is_unclosed = at_end and "unexpected end" in str(error)
                yield self._unreadable(str(error))
                self.is_unclosed = False
                if at_end:
                    return
                continue
            self.end = self._next
            if self._undecodable and not self._undecodable.isdisjoint(range(self.start, self.end)):
                row = self._unreadable(f"not {self._codec}: check the encoding of the source")
            yield row

    def _unreadable(self, reason: str) -> str:
        self._next = self.end = self.start + 1
        return reason

    def _reader(self) -> Iterator[list[str]]:
        return csv.reader(
            self._feed(),
            delimiter=self._delimiter,
            quotechar=self._quote or None,
            quoting=csv.QUOTE_MINIMAL if self._quote else csv.QUOTE_NONE,
            strict=True,
        )

    def _feed(self) -> Iterator[str]:
        texts = self._texts
        while self._next < len(texts):
            text = texts[self._next]
            self._next += 1
            yield text + "\n"


def _decoded(lines: list[bytes], codec: str) -> tuple[list[str], set[int]]:
    """The lines as text, and the numbers of those that are not in this encoding."""
    try:
        return b"\n".join(lines).decode(codec).split("\n") if lines else [], set()
    except UnicodeDecodeError:
        pass
    texts: list[str] = []
    undecodable: set[int] = set()
    for number, line in enumerate(lines):
        try:
            texts.append(line.decode(codec))
        except UnicodeDecodeError:
            undecodable.add(number)
            texts.append(line.decode("ascii", "replace"))
    return texts, undecodable
