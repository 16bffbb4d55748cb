"""The table etl_raw_data: each page exactly as it was received, compressed."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, NamedTuple

from integration.core.clock import utc_now
from integration.database.write_errors import WriteFailed
from integration.database.writing import to_text
from integration.ingest.errors import IngestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.database.writing import WriteSession
    from integration.ingest.models import RawPage

# Level 1 costs a third of the default's time for a tenth more space.
COMPRESSION_LEVEL = 1
# The driver escapes binary values: at most two bytes for one, and the rest of the statement.
ESCAPED = 2
OTHER_BYTES = 10_000


class StoredPage(NamedTuple):
    """A page of an earlier run."""

    run_id: int
    number: int
    content: bytes
    origin: str


class PackedPage(NamedTuple):
    """A page ready to be stored: its compressed content, and the digest of what was received."""

    content: bytes
    sha256: str


def pack(content: bytes) -> PackedPage:
    """Compress a page, once for all attempts to store it."""
    return PackedPage(
        zlib.compress(content, COMPRESSION_LEVEL), hashlib.sha256(content).hexdigest()
    )


def store_page(session: WriteSession, run_id: int, page: RawPage, packed: PackedPage) -> None:
    """Store a page, in its transaction.

    Raises:
        WriteFailed: the server does not accept so large a value.
    """
    if len(packed.content) * ESCAPED + OTHER_BYTES > session.max_packet:
        raise WriteFailed(
            f"Page {page.number} has {len(packed.content):,} bytes when compressed, which may be "
            f"twice as many in a statement: more than the {session.max_packet:,} that the server "
            "accepts. Raise max_allowed_packet there, or lower the source's page_size if it has one"
        )
    session.execute(
        "INSERT INTO etl_raw_data (run_id, page, records, content, sha256, fetched_at, origin)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            run_id,
            page.number,
            len(page.records),
            packed.content,
            packed.sha256,
            to_text(utc_now()),
            page.origin,
        ),
    )


def replace_content(session: WriteSession, page: StoredPage, content: bytes, origin: str) -> None:
    """Store other content of a page, and its digest, in an open transaction."""
    packed = pack(content)
    session.execute(
        "UPDATE etl_raw_data SET content = %s, sha256 = %s, origin = %s"
        " WHERE run_id = %s AND page = %s",
        (packed.content, packed.sha256, origin, page.run_id, page.number),
    )


def read_page(session: WriteSession, run_id: int, number: int) -> StoredPage:
    """A stored page, as it was received.

    Raises:
        IngestError: it is not there any more, or is damaged.
    """
    rows = session.query(
        "SELECT content, sha256, origin FROM etl_raw_data WHERE run_id = %s AND page = %s",
        (run_id, number),
    )
    if not rows:
        raise IngestError(
            f"Page {number} of run {run_id} is no longer stored: see RAW_RETENTION_DAYS"
        )
    packed, digest, origin = rows[0]
    try:
        content = zlib.decompress(packed)
    except zlib.error as error:
        raise _damaged(run_id, number) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise _damaged(run_id, number)
    return StoredPage(run_id, number, content, origin)


def _damaged(run_id: int, number: int) -> IngestError:
    return IngestError(
        f"Page {number} of run {run_id} is damaged in etl_raw_data: restore the table from a "
        "backup, or read the source again with --full-refresh"
    )


def pages_of(session: WriteSession, run_id: int) -> Iterator[StoredPage]:
    """The pages of a run, one at a time."""
    numbers = session.query(
        "SELECT page FROM etl_raw_data WHERE run_id = %s ORDER BY page", (run_id,)
    )
    for (number,) in numbers:
        yield read_page(session, run_id, number)
