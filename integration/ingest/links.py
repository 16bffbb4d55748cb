"""The table etl_records: which row of the target a record of a source belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.database.dialects import Column
from integration.ingest.row_sets import as_json, chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.database.writing import WriteSession
    from integration.ingest.models import Entity

KEY = Column("source_key")
TARGET = Column("target_id", "integer")


def add_links(
    session: WriteSession,
    source: str,
    entity: Entity,
    run_id: int,
    links: Sequence[tuple[str, int]],
) -> None:
    """Connect keys of a source with rows of the target, in the transaction of the page."""
    rows = session.dialect.rows((KEY, TARGET))
    for some in chunks(links):
        session.execute(
            "INSERT INTO etl_records (source, entity, source_key, target_id, run_id)"
            f" SELECT %s, %s, p.source_key, p.target_id, %s FROM {rows}",
            (source, entity, run_id, as_json(some)),
        )


def remove_links(session: WriteSession, source: str, entity: Entity, keys: Sequence[str]) -> None:
    """Forget keys whose row no longer exists."""
    session.execute_many(
        "DELETE FROM etl_records WHERE source = %s AND entity = %s AND source_key = %s",
        [(source, entity, key) for key in keys],
    )
