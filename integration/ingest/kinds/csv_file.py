"""The kind csv: RFC 4180, with exact byte offsets.

Pages end between records. Without a quote in a page, its lines are its records. With quotes, a
record may have several lines: Python's csv module reads them, from lines whose lengths are known.
A record that it does not understand is malformed: its first line is kept, and reading continues at
the next line, so that a stray quote costs one record and not the rest of the file.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integration.ingest.errors import SourceError
from integration.ingest.kinds.csv_rows import Rows
from integration.ingest.kinds.file_formats import Taken
from integration.ingest.kinds.plain_records import PlainRecords
from integration.ingest.models import MAX_MALFORMED_TEXT, Malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.ingest.models import RawRecord

# Encodings in which a line break is not one byte, or depends on what precedes it.
_NOT_BY_BYTES = ("utf-16", "utf-32", "utf-7", "hz", "iso2022", "punycode", "idna", "unicode_escape")


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How CSV files are written.

    Args:
        delimiter: between cells; one character.
        encoding: any in which a line break is one byte; a byte order mark of UTF-8 is skipped.
        quote: around cells; one character, or "" if there are no quotes.

    Raises:
        ValueError: on creation; the message says which values can be used.
    """

    delimiter: str = ","
    encoding: str = "utf-8-sig"
    quote: str = '"'

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in "\r\n":
            raise ValueError(f"delimiter is {self.delimiter!r}, expected one character")
        if len(self.quote) > 1 or self.quote in {"\r", "\n"}:
            raise ValueError(f'quote is {self.quote!r}, expected one character, or ""')
        if self.quote == self.delimiter:
            raise ValueError(f"quote and delimiter are both {self.quote!r}")
        _check_encoding(self.encoding)

    @property
    def codec(self) -> str:
        """The name of the encoding; a byte order mark is no part of a page."""
        name = codecs.lookup(self.encoding).name
        return "utf-8" if name == "utf-8-sig" else name

    def rows(self, lines: list[bytes]) -> Rows:
        """The rows of these lines."""
        return Rows(lines, self.codec, self.delimiter, self.quote)

    def layout(self, beginning: bytes, name: str, *, at_end: bool) -> CsvLayout | None:
        """The layout that the header, the first line that is not blank, describes.

        Raises:
            SourceError: the header cannot be read.
        """
        has_mark = self.codec == "utf-8" and beginning.startswith(codecs.BOM_UTF8)
        mark = codecs.BOM_UTF8 if has_mark else b""
        lines = beginning[len(mark) :].split(b"\n")
        if not at_end or not lines[-1]:
            lines.pop()
        row, used = _first_row(lines, self, name, at_end=at_end)
        if row is None:
            return None
        length = len(mark) + sum(map(len, lines[:used])) + used
        return CsvLayout(self, _checked_names(row, name), beginning[:length])


def _check_encoding(encoding: str) -> None:
    try:
        name = codecs.lookup(encoding).name
        by_bytes = "\n\r\",'a".encode(encoding).endswith(b"\n\r\",'a")
    except (LookupError, UnicodeError):
        raise ValueError(f"encoding is {encoding!r}, which is not the name of one") from None
    if not by_bytes or name.startswith(_NOT_BY_BYTES):
        raise ValueError(f"encoding {encoding!r} cannot be read: convert the file to UTF-8")


def _first_row(
    lines: list[bytes], format_: CsvFormat, name: str, *, at_end: bool
) -> tuple[list[str] | None, int]:
    """The first row that is not blank, and the number of lines up to its end."""
    rows = format_.rows(lines)
    for row in rows:
        if isinstance(row, str):
            if rows.is_unclosed and not at_end:
                return None, 0
            raise SourceError(f"{name} has no header that can be read: {row}")
        if row:
            return row, rows.end
    return None, 0


def _checked_names(row: list[str], name: str) -> tuple[str, ...]:
    """The names of the columns.

    Raises:
        SourceError: two columns have the same name, so that one would hide the other.
    """
    names = tuple(cell.strip() for cell in row)
    twice = next((cell for cell in names if names.count(cell) > 1), None)
    if twice is not None and len(set(names)) < len(names):
        raise SourceError(f"{name} has two columns {twice!r}: rename or remove one of them")
    return names


class CsvLayout:
    """The layout of a file; see `file_formats.Layout`.

    Args:
        format_: how its cells are written.
        names: of its columns.
        preamble: everything up to the end of the header.
    """

    def __init__(self, format_: CsvFormat, names: tuple[str, ...], preamble: bytes) -> None:
        self._format = format_
        self._names = self.columns = names
        self.preamble = preamble

    @property
    def cells(self) -> int:
        """How many cells a record has."""
        return len(self._names)

    def take(self, data: bytes, limit: int, *, at_end: bool) -> Taken:
        """The records of the complete lines."""
        lines = data.split(b"\n", limit)
        rest = lines.pop()
        has_open_end = at_end and bool(rest) and len(lines) < limit
        size = len(data) if has_open_end else len(data) - len(rest)
        records = self._plain(data[:size])
        if records is not None:
            kept = size - len(rest) if has_open_end else size
            return Taken(records, size, kept)
        if has_open_end:
            lines.append(rest)
        is_all = at_end and size == len(data)
        taken = self._take_carefully(lines, limit, is_all=is_all, has_open_end=has_open_end)
        if taken.used or taken.cut_off or is_all:
            return taken
        return self._take_one_of_many_lines(data, at_end=at_end)

    def _take_one_of_many_lines(self, data: bytes, *, at_end: bool) -> Taken:
        """A record that has more lines than the limit allows records."""
        lines = data.split(b"\n")
        has_open_end = at_end and bool(lines[-1])
        if not has_open_end:
            lines.pop()
        return self._take_carefully(lines, 1, is_all=at_end, has_open_end=has_open_end)

    def take_all(self, data: bytes) -> Sequence[RawRecord]:
        """The records of a page."""
        plain = self._plain(data)
        if plain is not None:
            return plain
        lines = data.removesuffix(b"\n").split(b"\n")
        rows = self._format.rows(lines)
        return [self._record(row, lines[rows.start]) for row in rows if row]

    def _plain(self, page: bytes) -> PlainRecords | None:
        """The records of a page in which each line is one; None if they may be anything else."""
        format_, names = self._format, self._names
        if format_.quote and format_.quote.encode(format_.codec) in page:
            return None
        try:
            text = page.decode(format_.codec)
        except UnicodeDecodeError:
            return None
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        lines = text.removesuffix("\n").split("\n") if text else []
        if "\r" in text or len(names) == 1:
            return None
        try:
            return PlainRecords(lines, names, format_.delimiter)
        except ValueError:
            return None

    def _take_carefully(
        self, lines: list[bytes], limit: int, *, is_all: bool, has_open_end: bool
    ) -> Taken:
        """The records of these lines, of which one may have several.

        Args:
            lines: without their line breaks.
            limit: the maximum number of records.
            is_all: whether the file ends with these lines.
            has_open_end: whether the last line has no line break.
        """
        records: list[RawRecord] = []
        rows = self._format.rows(lines)
        lines_used = 0
        for row in rows:
            is_open = has_open_end and rows.end == len(lines)
            record = self._record(row, lines[rows.start]) if row else None
            if rows.is_unclosed or (is_open and isinstance(record, Malformed)):
                used = _size(lines, rows.start)
                return Taken(records, used, used, _cut_off(record) if is_all else "")
            if record is not None:
                records.append(record)
            lines_used = rows.end
            if is_open:
                return Taken(records, _size(lines, lines_used) - 1, _size(lines, rows.start))
            if len(records) >= limit:
                break
        used = _size(lines, lines_used)
        return Taken(records, used, used)

    def _record(self, row: list[str] | str, line: bytes) -> RawRecord:
        if isinstance(row, list):
            if len(row) == len(self._names):
                return dict(zip(self._names, row, strict=True))
            row = f"{len(row)} cells, expected {len(self._names)}"
        text = line[: 4 * MAX_MALFORMED_TEXT].decode(self._format.codec, "backslashreplace")
        return Malformed(row, text.rstrip("\r")[:MAX_MALFORMED_TEXT])


def _size(lines: list[bytes], count: int) -> int:
    """The size of the first lines, with their line breaks."""
    return sum(map(len, lines[:count])) + count


def _cut_off(record: RawRecord | None) -> str:
    reason = record.reason if isinstance(record, Malformed) else ""
    return "a quote is not closed" if "unexpected end" in reason else f"the last line has {reason}"
