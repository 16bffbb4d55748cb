"""Erasing records of a stored page: all other bytes stay as they are. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from integration.ingest.erased import MARK
from integration.ingest.kinds.csv_file import CsvFormat
from integration.ingest.kinds.jsonl_file import JsonlFormat
from integration.ingest.sources import CsvSource, HttpSource, JsonlSource

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from integration.ingest.sources import Source

_ERASED_OBJECT = json.dumps({MARK: True})
_SPACE = " \t\n\r"
_DECODER = json.JSONDecoder()


def without_records(source: Source, content: bytes, positions: Collection[int]) -> bytes:
    """A page in which the records at these positions, from 0, are erased.

    Raises:
        ValueError: the page is not of the form that its source describes.
    """
    if isinstance(source, HttpSource):
        return _without_items(content, source.records, positions)
    if isinstance(source, CsvSource):
        format_ = CsvFormat(source.delimiter, source.encoding, source.quote)
        return _without_csv_records(content, format_, positions)
    if isinstance(source, JsonlSource):
        return _without_lines(content, positions)
    raise ValueError("not known how records are written")


def _without_items(content: bytes, path: str, positions: Collection[int]) -> bytes:
    text = content.decode()
    start = _list_start(text, path.split(".") if path else [])
    pieces, end = [], 0
    for position, (first, last) in enumerate(_item_spans(text, start)):
        if position in positions:
            pieces += [text[end:first], _ERASED_OBJECT]
            end = last
    return "".join([*pieces, text[end:]]).encode()


def _list_start(text: str, names: Sequence[str]) -> int:
    """Where the value at a path of names begins; of several with one name, JSON takes the last."""
    start = _skip(text, len(text) - len(text.lstrip("\ufeff")))
    for name in names:
        start = _member_start(text, start, name)
    return start


def _member_start(text: str, start: int, name: str) -> int:
    found = None
    place = _skip(text, _after(text, start, "{"))
    while text[place : place + 1] == '"':
        key, place = _DECODER.raw_decode(text, place)
        place = _skip(text, _after(text, _skip(text, place), ":"))
        if key == name:
            found = place
        _, place = _DECODER.raw_decode(text, place)
        place = _next(text, place)
    if found is None:
        raise ValueError(f"no member {name}")
    return found


def _item_spans(text: str, start: int) -> list[tuple[int, int]]:
    """Where each item of a list begins and ends."""
    spans = []
    place = _skip(text, _after(text, start, "["))
    while text[place : place + 1] != "]":
        _, end = _DECODER.raw_decode(text, place)
        spans.append((place, end))
        place = _next(text, end)
    return spans


def _next(text: str, place: int) -> int:
    """Behind a comma, if there is one."""
    place = _skip(text, place)
    return _skip(text, place + 1) if text[place : place + 1] == "," else place


def _after(text: str, place: int, expected: str) -> int:
    if text[place : place + 1] != expected:
        raise ValueError(f"no {expected} at position {place}")
    return place + 1


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in _SPACE:
        place += 1
    return place


def _without_csv_records(content: bytes, format_: CsvFormat, positions: Collection[int]) -> bytes:
    layout = format_.layout(content, "the page", at_end=True)
    if layout is None:
        return content
    data = content[len(layout.preamble) :]
    lines = data.removesuffix(b"\n").split(b"\n")
    erased = f"{MARK}{format_.delimiter * (layout.cells - 1)}".encode(format_.codec)
    kept, used, position = [layout.preamble], 0, 0
    rows = format_.rows(lines)
    for row in rows:
        if not row:
            continue
        if position in positions:
            end = b"\r" if lines[rows.end - 1].endswith(b"\r") else b""
            kept += [*(line + b"\n" for line in lines[used : rows.start]), erased + end + b"\n"]
            used = rows.end
        position += 1
    kept += [line + b"\n" for line in lines[used:]]
    page = b"".join(kept)
    return page if data.endswith(b"\n") else page.removesuffix(b"\n")


def _without_lines(content: bytes, positions: Collection[int]) -> bytes:
    layout = JsonlFormat().layout(content, "the page", at_end=True)
    preamble = layout.preamble if layout else b""
    lines = content[len(preamble) :].split(b"\n")
    places = [place for place, line in enumerate(lines) if line and not line.isspace()]
    for position in positions:
        place = places[position]
        lines[place] = _ERASED_OBJECT.encode() + (b"\r" if lines[place].endswith(b"\r") else b"")
    return preamble + b"\n".join(lines)
