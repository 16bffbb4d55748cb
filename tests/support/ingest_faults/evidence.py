"""What the database holds, read by plain drivers."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.source.records import Entity
    from tests.support.ingest_faults.records import Row

    Query = Callable[[str], list[tuple[Any, ...]]]


class RunRow(NamedTuple):
    """A row of etl_runs."""

    run_id: int
    status: str
    pages: int
    records: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    error_code: str | None


class Page(NamedTuple):
    """A row of etl_raw_data."""

    run_id: int
    number: int
    records: int
    content: bytes
    is_intact: bool
    origin: str


class Rejected(NamedTuple):
    """A row of etl_rejected."""

    run_id: int
    page: int
    position: int
    source_key: str | None
    code: str


@dataclass
class Evidence:
    """Everything that a run may change.

    Attributes:
        rows: of the target by key.
        unlinked: rows of the target without a key, or with two.
        checkpoint: its position and version.
    """

    runs: list[RunRow]
    pages: list[Page]
    rejected: list[Rejected]
    rows: dict[str, Row]
    unlinked: int
    checkpoint: tuple[dict[str, Any], int] | None


_CUSTOMERS = "c.id, c.email, c.first_name, c.last_name, c.plan_type, c.candidate"
_VIEWS = "c.user_id, c.page, c.event_time, c.device, c.browser, c.location"


def collect(query: Query, entity: Entity) -> Evidence:
    """Read all tables; nothing writes meanwhile."""
    columns = _CUSTOMERS if entity == "customers" else _VIEWS
    linked = query(
        f"SELECT r.source_key, {columns} FROM etl_records r JOIN {entity} c ON c.id = r.target_id"
        f" WHERE r.entity = '{entity}'"
    )
    ((count,),) = query(f"SELECT COUNT(*) FROM {entity}")
    ((links, targets),) = query("SELECT COUNT(*), COUNT(DISTINCT target_id) FROM etl_records")
    checkpoints = query("SELECT position, version FROM etl_checkpoint")
    return Evidence(
        runs=[
            RunRow(*row)
            for row in query(
                "SELECT run_id, status, pages, records, inserted, updated, unchanged, rejected,"
                " error_code FROM etl_runs ORDER BY run_id"
            )
        ],
        pages=[
            _page(*row)
            for row in query(
                "SELECT run_id, page, records, content, sha256, origin FROM etl_raw_data"
                " ORDER BY run_id, page"
            )
        ],
        rejected=[
            Rejected(*row)
            for row in query("SELECT run_id, page, position, source_key, code FROM etl_rejected")
        ],
        rows={key: tuple(map(_plain, values)) for key, *values in linked},
        unlinked=abs(count - len(linked)) + abs(links - targets) + abs(links - len(linked)),
        checkpoint=(json.loads(checkpoints[0][0]), checkpoints[0][1]) if checkpoints else None,
    )


def _page(  # noqa: PLR0917
    run_id: int, number: int, records: int, packed: bytes, digest: str, origin: str
) -> Page:
    content = zlib.decompress(packed)
    is_intact = sha256(content).hexdigest() == digest
    return Page(run_id, number, records, content, is_intact, origin)


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, (int, str)) else str(value)
