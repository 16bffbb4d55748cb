"""Where a person came from: the records of the sources, with file and line or URL and position.

The tables say which run connected a record with its row; later runs may have read it again. The
newest place is found by looking for the email in the raw pages, as long as they are kept.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

import orjson

from integration.core.people import SourceRecord
from integration.database.writing import to_time
from integration.ingest.tables import has_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.database.reading import ReadSession

# Of later runs, and again of the run that connected the record. More are not searched: a person
# would wait too long.
MAX_PAGES = 200
# At once: of some megabytes each, in the worst case.
PAGES_READ = 8
_FILE_ORIGIN = re.compile(r"(.*):(\d+)-\d+", re.DOTALL)


class _Run(NamedTuple):
    run_id: int
    kind: str | None
    started_at: object


class _Page(NamedTuple):
    number: int
    content: bytes
    origin: str


def find_source_records(
    session: ReadSession, customer_id: object, email: str
) -> list[SourceRecord]:
    """The records of a person: those connected with the customer, and those still rejected.

    Args:
        session: a reading session; without the etl_ tables there are none.
        customer_id: the row, or None if there is none.
        email: the person's.
    """
    if not has_tables(session):
        return []
    return [*_stored(session, customer_id, email), *_rejected(session, email)]


def _stored(session: ReadSession, customer_id: object, email: str) -> Iterator[SourceRecord]:
    rows = session.query(
        "SELECT e.source, e.source_key, e.run_id, r.kind, r.started_at FROM etl_records e"
        " LEFT JOIN etl_runs r ON r.run_id = e.run_id"
        " WHERE e.entity = 'customers' AND e.target_id = %s ORDER BY e.source, e.source_key",
        (customer_id,),
    )
    for source, key, *run in rows:
        found, place = _newest_place(session, source, _Run(*run), email)
        started_at = to_time(found.started_at)
        yield SourceRecord(source, key, found.run_id, found.kind, started_at, place)


def _newest_place(
    session: ReadSession, source: str, connected: _Run, email: str
) -> tuple[_Run, str | None]:
    """The newest run of a source whose pages have the email, and the last place there."""
    left = MAX_PAGES
    for run in _later_runs(session, source, connected.run_id):
        numbers = _page_numbers(session, run.run_id, left)
        left -= len(numbers)
        if place := _last_place(session, run, numbers, email):
            return run, place
        if not left:
            break
    numbers = _page_numbers(session, connected.run_id, MAX_PAGES)
    return connected, _last_place(session, connected, numbers, email)


def _later_runs(session: ReadSession, source: str, run_id: int) -> list[_Run]:
    """Those with pages, newest first."""
    rows = session.query(
        "SELECT r.run_id, r.kind, r.started_at FROM etl_runs r"
        " WHERE r.source = %s AND r.run_id > %s"
        " AND EXISTS (SELECT 1 FROM etl_raw_data d WHERE d.run_id = r.run_id)"
        " ORDER BY r.run_id DESC LIMIT %s",
        (source, run_id, MAX_PAGES),
    )
    return list(map(_Run._make, rows))


def _last_place(session: ReadSession, run: _Run, numbers: list[int], email: str) -> str | None:
    pages = _pages(session, run.run_id, numbers)
    places = [place for _, place, _ in _occurrences(pages, email)]
    return places[-1] if places else None


def _rejected(session: ReadSession, email: str) -> Iterator[SourceRecord]:
    """The rejected records that have this email, newest first."""
    pages = session.query(
        "SELECT DISTINCT run_id, page FROM etl_rejected WHERE resolved_run IS NULL"
        " AND entity = 'customers' ORDER BY run_id DESC, page DESC LIMIT %s",
        (MAX_PAGES,),
    )
    numbers: dict[int, set[int]] = {}
    for run_id, number in pages:
        numbers.setdefault(run_id, set()).add(number)
    for run_id, wanted in numbers.items():
        # Those before are needed to count lines.
        before = [one for one in _page_numbers(session, run_id, MAX_PAGES) if one <= max(wanted)]
        for page, place, index in _occurrences(_pages(session, run_id, before), email):
            if page in wanted:
                yield from _rejection(session, run_id, page, place, index)


def _rejection(
    session: ReadSession, run_id: int, page: int, place: str, index: int
) -> Iterator[SourceRecord]:
    rows = session.query(
        "SELECT r.source, x.source_key, r.kind, r.started_at, x.code, x.field"
        " FROM etl_rejected x JOIN etl_runs r ON r.run_id = x.run_id WHERE x.run_id = %s"
        " AND x.page = %s AND x.position = %s AND x.resolved_run IS NULL",
        (run_id, page, index),
    )
    for source, key, kind, started_at, code, field in rows:
        yield SourceRecord(source, key, run_id, kind, to_time(started_at), place, code, field)


def _page_numbers(session: ReadSession, run_id: int, limit: int) -> list[int]:
    rows = session.query(
        "SELECT page FROM etl_raw_data WHERE run_id = %s ORDER BY page LIMIT %s", (run_id, limit)
    )
    return [number for (number,) in rows]


def _pages(session: ReadSession, run_id: int, numbers: list[int]) -> Iterator[_Page]:
    """Pages of a run; what is damaged is left out."""
    for first in range(0, len(numbers), PAGES_READ):
        some = numbers[first : first + PAGES_READ]
        rows = session.query(
            "SELECT page, content, origin FROM etl_raw_data WHERE run_id = %s"
            f" AND page IN ({', '.join(['%s'] * len(some))}) ORDER BY page",
            (run_id, *some),
        )
        for page, packed, origin in rows:
            try:
                yield _Page(page, zlib.decompress(packed), origin)
            except zlib.error:
                continue


class _Needle:
    """Finds an email in any case, and not as the end or the beginning of another one.

    Looking for a pattern in any case takes ten times as long as for bytes, and few pages have them.
    """

    def __init__(self, email: str) -> None:
        address = email.encode()
        self._lower = address.lower()
        self._pattern = re.compile(
            rb"(?<![\w.%+'-])" + re.escape(address) + rb"(?![\w.-])", re.IGNORECASE
        )

    def search(self, content: bytes) -> re.Match[bytes] | None:
        """The first occurrence."""
        return next(self.finditer(content), None)

    def finditer(self, content: bytes) -> Iterator[re.Match[bytes]]:
        """All occurrences."""
        # Both ignore the case of ASCII letters only.
        return self._pattern.finditer(content) if self._lower in content.lower() else iter(())


def _occurrences(pages: Iterator[_Page], email: str) -> Iterator[tuple[int, str, int]]:
    """Page, place and position (from 0) of the records with this email."""
    needle = _Needle(email)
    lines = _Lines()
    for page in pages:
        file = _FILE_ORIGIN.fullmatch(page.origin)
        if file and not page.origin.startswith(("http://", "https://")):
            yield from lines.occurrences(page, needle, file[1], int(file[2]))
        elif needle.search(page.content):
            index = _position_in_json(page.content, needle)
            place = f"{page.origin}, record {index + 1:,}" if index >= 0 else page.origin
            yield page.number, place, index


class _Lines:
    """Counts the lines of a file over its pages, which all begin with its header."""

    def __init__(self) -> None:
        self._file = ""
        self._header = b""
        self._line: int | None = None  # the number of lines before the page

    def occurrences(
        self, page: _Page, needle: _Needle, file: str, offset: int
    ) -> Iterator[tuple[int, str, int]]:
        """The occurrences in a page whose records begin at this offset of the file."""
        if file != self._file:
            self._begin(page.content, file, offset)
        body = page.content[len(self._header) :]
        for match in needle.finditer(body):
            index = body.count(b"\n", 0, match.start())
            place = f"{file}, byte {offset + match.start():,}"
            if self._line is not None:
                place = f"{file}, line {self._line + index + 1:,}"
            yield page.number, place, index
        if self._line is not None:
            self._line += body.count(b"\n")

    def _begin(self, content: bytes, file: str, offset: int) -> None:
        """The first page of a file; only if it was read from its beginning are lines known."""
        self._file = file
        first_line = content[: content.find(b"\n") + 1]
        # A run that continued a file of JSON Lines has no header, one of CSV has it again.
        starts_here = offset == len(first_line) or offset == 0
        is_json = content.lstrip()[:1] == b"{"
        self._header = b"" if is_json else first_line
        self._line = self._header.count(b"\n") if starts_here or not offset else None


def _position_in_json(content: bytes, needle: _Needle) -> int:
    """The position of the record, in the longest list of the answer; -1 if it is not found."""
    try:
        records = max(_lists_in(orjson.loads(content)), key=len, default=[])
    except orjson.JSONDecodeError:
        return -1
    found = (place for place, one in enumerate(records) if needle.search(orjson.dumps(one)))
    return next(found, -1)


def _lists_in(value: object) -> Iterator[Sequence[object]]:
    """The lists of objects in decoded JSON, down to the third level."""
    level = [value]
    for _ in range(3):
        yield from (one for one in level if isinstance(one, list))
        level = [item for one in level if isinstance(one, dict) for item in one.values()]
