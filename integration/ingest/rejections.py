"""The table etl_rejected: records that could not be stored, as pointers into their raw pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from integration.core.clock import utc_now
from integration.database.dialects import Column
from integration.database.writing import to_text, to_time
from integration.ingest.links import KEY
from integration.ingest.row_sets import as_json, chunks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from integration.database.reading import ReadSession
    from integration.database.writing import WriteSession
    from integration.ingest.models import Code, Entity, Rejection

MAX_KEY_CHARACTERS = 255
# A record that is rejected for its key has none that tells it from others.
_KEY_FIELDS = ("id", "key")
_COLUMNS = (Column("position", "integer"), KEY, Column("code"), Column("field"))


class OpenPage(NamedTuple):
    """A page with records that are still rejected.

    Attributes:
        source: its source.
        run_id: the run that read it.
        number: its number in that run.
        positions: of the rejected records, from 0.
    """

    source: str
    run_id: int
    number: int
    positions: tuple[int, ...]


def store_rejections(
    session: WriteSession,
    run_id: int,
    page: int,
    entity: Entity,
    rejections: Sequence[Rejection],
) -> None:
    """Store the rejected records of a page, in its transaction: no values, one row per record."""
    now = to_text(utc_now())
    rows = [(one.index, _key(one.source_key), one.code, one.field) for one in rejections]
    for some in chunks(rows):
        session.execute(
            "INSERT INTO etl_rejected (run_id, page, position, entity, source_key, code, field,"
            " created_at) SELECT %s, %s, p.position, %s, p.source_key, p.code, p.field, %s"
            f" FROM {session.dialect.rows(_COLUMNS)}",
            (run_id, page, entity, now, as_json(some)),
        )


def key_of(rejection: Rejection) -> str | None:
    """The key of the record, unless that is what it was rejected for."""
    return None if rejection.field in _KEY_FIELDS else rejection.source_key


def _key(source_key: str | None) -> str | None:
    return source_key[:MAX_KEY_CHARACTERS] if source_key else None


def open_pages(
    session: ReadSession, *, source: str | None = None, code: Code | None = None
) -> list[OpenPage]:
    """The pages with open rejections, oldest first.

    Args:
        session: the writable session.
        source: only those of this source.
        code: only rejections with this code.
    """
    where, parameters = "x.resolved_run IS NULL", []
    for column, value in (("r.source", source), ("x.code", code)):
        if value is not None:
            where += f" AND {column} = %s"
            parameters.append(value)
    rows = session.query(
        "SELECT r.source, x.run_id, x.page, x.position"
        " FROM etl_rejected x JOIN etl_runs r ON r.run_id = x.run_id"
        f" WHERE {where} ORDER BY x.run_id, x.page, x.position",
        parameters,
    )
    pages: dict[tuple[str, int, int], list[int]] = {}
    for name, run_id, number, position in rows:
        pages.setdefault((name, run_id, number), []).append(position)
    return [OpenPage(*page, tuple(positions)) for page, positions in pages.items()]


def resolve(
    session: WriteSession, page: OpenPage, positions: Iterable[int], resolved_by: int
) -> None:
    """Mark rejected records of a page as stored by a later run, in that run's transaction."""
    session.execute_many(
        "UPDATE etl_rejected SET resolved_run = %s WHERE run_id = %s AND page = %s"
        " AND position = %s AND resolved_run IS NULL",
        [(resolved_by, page.run_id, page.number, position) for position in positions],
    )


def has_open_keys(session: WriteSession, source: str, entity: Entity) -> bool:
    """Whether a record of a source that has a key is still rejected."""
    return bool(
        session.query(
            "SELECT 1 FROM etl_rejected x JOIN etl_runs r ON r.run_id = x.run_id"
            " WHERE x.resolved_run IS NULL AND x.source_key IS NOT NULL AND x.entity = %s"
            " AND r.source = %s LIMIT 1",
            (entity, source),
        )
    )


def supersede(
    session: WriteSession, source: str, entity: Entity, keys: Iterable[str], run_id: int
) -> None:
    """Mark earlier rejections of these keys as resolved: the source has sent newer records.

    Otherwise a retry would store an older state of a record over a newer one.
    """
    dialect = session.dialect
    found = session.query(
        f"SELECT x.run_id, x.page, x.position FROM {dialect.rows((KEY,))}"
        f" {dialect.join} etl_rejected x ON x.entity = %s AND x.source_key = p.source_key"
        f" {dialect.join} etl_runs r ON r.run_id = x.run_id AND r.source = %s"
        " WHERE x.resolved_run IS NULL AND COALESCE(x.field, '') NOT IN (%s, %s)",
        (as_json([(key,) for key in keys]), entity, source, *_KEY_FIELDS),
    )
    for old_run, page, position in found:
        resolve(session, OpenPage(source, old_run, page, ()), [position], run_id)


def states_of(session: ReadSession, run_id: int, page: int) -> dict[int, bool]:
    """The records of a page that were ever rejected, by position: whether they still are."""
    rows = session.query(
        "SELECT position, resolved_run FROM etl_rejected WHERE run_id = %s AND page = %s",
        (run_id, page),
    )
    return {position: resolved_run is None for position, resolved_run in rows}


def reopen(session: WriteSession, page: OpenPage, positions: Iterable[int]) -> None:
    """Mark records of a page as rejected again."""
    session.execute_many(
        "UPDATE etl_rejected SET resolved_run = NULL WHERE run_id = %s AND page = %s"
        " AND position = %s",
        [(page.run_id, page.number, position) for position in positions],
    )


class RejectedRecord(NamedTuple):
    """A record that is still rejected, where its page came from, and more about the reason."""

    source: str
    run_id: int
    page: int
    position: int
    source_key: str | None
    code: str
    field: str | None
    created_at: datetime | None
    origin: str | None
    detail: str = ""


def open_records(session: ReadSession, source: str | None = None) -> list[RejectedRecord]:
    """The records that are still rejected, oldest first."""
    rows = session.query(
        "SELECT r.source, x.run_id, x.page, x.position, x.source_key, x.code, x.field,"
        " x.created_at, d.origin FROM etl_rejected x JOIN etl_runs r ON r.run_id = x.run_id"
        " LEFT JOIN etl_raw_data d ON d.run_id = x.run_id AND d.page = x.page"
        " WHERE x.resolved_run IS NULL"
        + ("" if source is None else " AND r.source = %s")
        + " ORDER BY x.run_id, x.page, x.position",
        () if source is None else (source,),
    )
    return [RejectedRecord(*row)._replace(created_at=to_time(row[7])) for row in rows]


def count_open(session: ReadSession, source: str) -> int:
    """How many records of a source are still rejected."""
    rows = session.query(
        "SELECT COUNT(*) FROM etl_rejected x JOIN etl_runs r ON r.run_id = x.run_id"
        " WHERE x.resolved_run IS NULL AND r.source = %s",
        (source,),
    )
    return int(rows[0][0])


def update_codes(session: WriteSession, page: OpenPage, rejections: Sequence[Rejection]) -> None:
    """Store why records are rejected now, if the reason has changed."""
    session.execute_many(
        "UPDATE etl_rejected SET code = %s, field = %s WHERE run_id = %s AND page = %s"
        " AND position = %s AND (code <> %s OR COALESCE(field, '') <> COALESCE(%s, ''))",
        [
            (one.code, one.field, page.run_id, page.number, one.index, one.code, one.field)
            for one in rejections
        ],
    )
