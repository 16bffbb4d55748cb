"""Rows of `/data` and `/data/export`, read page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from integration.core.csv_lines import csv_line, csv_text
from integration.database.errors import QueryTooSlow
from integration.database.writing import to_time
from integration.service.masking import masked
from integration.service.row_queries import COUNT_LIMIT, row_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from integration.database.reading import ReadSession
    from integration.service.parameters import DataFilter
    from integration.service.parts import Parts
    from integration.service.row_queries import RowQuery

    Rows = Sequence[Sequence[Any]]

EXPORTED_ROWS = 2000
INDEX_HINT = "a search needs indexes on customers (first_name) and (last_name): see docs/window.md"


class _Exported(NamedTuple):
    """Rows of an export, with their sources."""

    query: RowQuery
    rows: Rows
    sources: Mapping[object, list[str]]


class RowPage(NamedTuple):
    """Rows, and the id that the next page begins after.

    Attributes:
        total: how many rows the filter finds, up to COUNT_LIMIT; None if counting took too long.
    """

    items: list[dict[str, object]]
    last_id: int | None
    total: int | None


def row_page(
    parts: Parts, chosen: DataFilter, *, after: int, skip: int, limit: int, total: int | None
) -> RowPage:
    """Rows of a filter in the order of their ids.

    Args:
        parts: what to read.
        chosen: the filter.
        after: the last id of the page before, or 0.
        skip: how many rows to leave out.
        limit: the maximum number of rows.
        total: how many there are, if that is known.
    """
    with parts.pool.session() as session:
        query, rows = _read(parts, session, chosen, after=after, limit=limit + 1, skip=skip)
        shown = rows[:limit]
        sources = _sources(session, query, shown)
        if total is None and not after:
            total = _count(session, query)
    items = documents_of(query, shown, sources, is_masked=parts.is_masked or chosen.masked)
    return RowPage(items, rows[limit - 1][0] if len(rows) > limit else None, total)


def _count(session: ReadSession, query: RowQuery) -> int | None:
    try:
        return min(int(session.query(*query.count_rows())[0][0]), COUNT_LIMIT)
    except QueryTooSlow:
        return None


def _read(
    parts: Parts, session: ReadSession, chosen: DataFilter, *, after: int, limit: int, skip: int = 0
) -> tuple[RowQuery, Rows]:
    has_records = parts.ingest.has_tables(session)
    query = row_query(chosen, session.dialect, has_records=has_records)
    try:
        return query, session.query(*query.rows_after(after, limit, skip))
    except QueryTooSlow as error:
        if chosen.search is None:
            raise
        raise QueryTooSlow(f"{error}; {INDEX_HINT}") from error


def _sources(session: ReadSession, query: RowQuery, rows: Rows) -> Mapping[object, list[str]]:
    """The names of the sources that have each row, without those that have none."""
    found: dict[object, list[str]] = {}
    if query.has_records and rows:
        for row, source in session.query(*query.sources_of([row[0] for row in rows])):
            names = found.setdefault(row, [])
            if source not in names:
                names.append(source)
    return found


def documents_of(
    query: RowQuery, rows: Rows, sources: Mapping[object, list[str]], *, is_masked: bool
) -> list[dict[str, object]]:
    """The rows by the names of their columns."""
    columns = query.columns[:-1]
    items = [dict(zip(columns, row, strict=True)) for row in rows]
    if "event_time" in columns:
        for item in items:
            item["event_time"] = to_time(item["event_time"])
    for item in items:
        item["sources"] = sources.get(item["id"], [])
    return [masked(item) for item in items] if is_masked else items


def export(parts: Parts, chosen: DataFilter, kind: str) -> Iterator[bytes]:
    """All rows of a filter as a file, a few thousand at a time.

    No connection is held between two of them, so that a slow client keeps none. The first rows are
    read at once: what fails then is an answer, and not half a file.
    """
    first = _exported(parts, chosen, 0)
    encode = _csv if kind == "csv" else _ndjson
    return _stream(parts, chosen, first, encode)


def _stream(
    parts: Parts,
    chosen: DataFilter,
    first: _Exported,
    encode: Callable[[Sequence[dict[str, object]]], bytes],
) -> Iterator[bytes]:
    query, rows, sources = first
    if encode is _csv:
        yield csv_line(query.columns).encode()
    while rows:
        items = documents_of(query, rows, sources, is_masked=parts.is_masked or chosen.masked)
        yield encode(items)
        if len(rows) < EXPORTED_ROWS:
            return
        query, rows, sources = _exported(parts, chosen, rows[-1][0])


def _exported(parts: Parts, chosen: DataFilter, after: int) -> _Exported:
    with parts.pool.session() as session:
        query, rows = _read(parts, session, chosen, after=after, limit=EXPORTED_ROWS)
        return _Exported(query, rows, _sources(session, query, rows))


def _csv(items: Sequence[dict[str, object]]) -> bytes:
    return csv_text([[_cell(value) for value in item.values()] for item in items]).encode()


def _cell(value: object) -> object:
    return " ".join(value) if isinstance(value, list) else value


def _ndjson(items: Sequence[dict[str, object]]) -> bytes:
    option = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
    return b"".join(orjson.dumps(item, option=option, default=str) for item in items)
