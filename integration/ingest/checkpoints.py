"""The table etl_checkpoint: where each source continues.

A run reads the version once and counts it up with each page. If another run has moved the
checkpoint since, no row has that version, and the page is rolled back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from integration.core.clock import utc_now
from integration.database.write_errors import RowRefused
from integration.database.writing import to_text, to_time
from integration.ingest.errors import SourceBusy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from integration.database.reading import ReadSession
    from integration.database.writing import WriteSession


class Checkpoint(NamedTuple):
    """Where a source continues.

    Attributes:
        position: what the last page said, or None before the first.
        version: counts the pages that moved it; 0 before the first.
        run_id: the run that moved it last.
        updated_at: when.
    """

    position: dict[str, Any] | None = None
    version: int = 0
    run_id: int | None = None
    updated_at: datetime | None = None


def read_checkpoint(session: ReadSession, source: str) -> Checkpoint:
    """The checkpoint of a source."""
    rows = session.query(
        "SELECT position, version, run_id, updated_at FROM etl_checkpoint WHERE source = %s",
        (source,),
    )
    if not rows:
        return Checkpoint()
    position, version, run_id, updated_at = rows[0]
    return Checkpoint(orjson.loads(position), version, run_id, to_time(updated_at))


def move_checkpoint(
    session: WriteSession, source: str, version: int, position: Mapping[str, object], run_id: int
) -> None:
    """Move the checkpoint from `version` to the next one, in the transaction of the page.

    Raises:
        SourceBusy: it does not have this version any more.
    """
    text, now = orjson.dumps(position).decode(), to_text(utc_now())
    try:
        moved = (
            session.execute(
                "UPDATE etl_checkpoint SET position = %s, version = version + 1, run_id = %s,"
                " updated_at = %s WHERE source = %s AND version = %s",
                (text, run_id, now, source, version),
            )
            if version
            else session.execute(
                "INSERT INTO etl_checkpoint (source, position, version, run_id, updated_at)"
                " VALUES (%s, %s, 1, %s, %s)",
                (source, text, run_id, now),
            )
        )
    except RowRefused as error:
        raise _moved(source) from error
    if not moved:
        raise _moved(source)


def _moved(source: str) -> SourceBusy:
    return SourceBusy(
        f"Another run has moved the checkpoint of the source {source}: this page was not stored; "
        "wait until that run has ended"
    )
