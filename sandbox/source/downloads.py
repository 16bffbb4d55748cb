"""The records of a mock source as files: CSV and JSON Lines, also compressed."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
from typing import TYPE_CHECKING

import orjson

from sandbox.answers import Answer
from sandbox.source.styles import json_safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.source.data import SourceData, Table
    from sandbox.source.records import Record

_NAME = re.compile(r"(customers|page_views)\.(csv|jsonl)(\.gz)?")
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")
_COLUMNS = {
    "customers": ("id", "email", "first_name", "last_name", "plan_type", "candidate", "updated_at"),
    "page_views": (
        "id",
        "email",
        "page",
        "device",
        "browser",
        "location",
        "event_time",
    ),
}
# What a record that is no object becomes, one after the other.
_BAD_CSV_LINES = (b"1,2", b"caf\xe9,\xff" + b"," * 5, b"x" * 50 + b"," * 20, b'"un"closed,2')
_BAD_JSON_LINES = (b'{"cut":', b"[1,2]", b'"text"', b'{"bytes":"\xff"}')
_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl", "gz": "application/gzip"}


class Downloads:
    """The files, each made when it is asked for, and again after the data has changed."""

    def __init__(self, data: SourceData) -> None:
        self._data = data
        self._made: dict[str, tuple[int, bytes]] = {}

    def answer(self, name: str, wanted_range: str) -> Answer | None:
        """Return a file or, with 206, the range of it that is wanted; None if there is none."""
        content = self._content(name)
        if content is None:
            return None
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        type_ = _TYPES[name.rpartition(".")[2]]
        headers = (("ETag", etag), ("Accept-Ranges", "bytes"))
        found = _RANGE.fullmatch(wanted_range)
        if found is None:
            return Answer(200, content, type_, headers)
        first, size = int(found[1]), len(content)
        last = min(int(found[2] or size), size - 1)
        if first > last:
            return Answer(416, b"", type_, (*headers, ("Content-Range", f"bytes */{size}")))
        located = ("Content-Range", f"bytes {first}-{last}/{size}")
        return Answer(206, content[first : last + 1], type_, (*headers, located))

    def _content(self, name: str) -> bytes | None:
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        version, content = self._made.get(name, (-1, b""))
        if version != self._data.version:
            table = self._data.tables[found[1]]
            lines = csv_lines(table) if found[2] == "csv" else json_lines(table)
            content = b"".join(lines)
            content = gzip.compress(content, 1, mtime=0) if found[3] else content
            self._made[name] = (self._data.version, content)
        return content


def csv_lines(table: Table) -> Iterator[bytes]:
    """Return the lines of a CSV file, in the order of change."""
    columns = _COLUMNS[table.entity]
    yield _csv_line(columns)
    for number in table.since(None):
        record = table.record(number)
        if isinstance(record, dict):
            row = flat(record)
            yield _csv_line([row.get(column) for column in columns])
        else:
            yield _BAD_CSV_LINES[number % len(_BAD_CSV_LINES)] + b"\r\n"


def _csv_line(cells: object) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)  # type: ignore[arg-type]  # the cells of a list or a tuple
    return text.getvalue().encode()


def json_lines(table: Table) -> Iterator[bytes]:
    """Return the lines of a JSON Lines file, in the order of change."""
    for number in table.since(None):
        record = table.record(number)
        if isinstance(record, dict):
            yield orjson.dumps(json_safe(record)) + b"\n"
        else:
            yield _BAD_JSON_LINES[number % len(_BAD_JSON_LINES)] + b"\n"


def flat(record: Record) -> Record:
    """Return a record with nested values under the names that the files have for them."""
    row = dict(record)
    person: Record = record.get("contact") or record.get("customer") or {}
    row["email"] = person.get("email")
    name = record.get("name", {})
    row["first_name"], row["last_name"] = name.get("first"), name.get("last")
    return row
