"""Which stored records a source no longer has, after everything was read.

The rows that were seen are bits of one array, by their id: a few bytes for a page of records,
however many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.ingest.links import KEY
from integration.ingest.row_sets import as_json, chunks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from integration.database.writing import WriteSession
    from integration.ingest.models import Rejection, ValidRow
    from integration.ingest.outcome import Destination

LINKS_AT_ONCE = 20_000


class Bits:
    """A set of whole numbers from 0."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, number: int) -> None:
        """Add a number."""
        place, bit = divmod(number, 8)
        if place >= len(self._bytes):
            self._bytes.extend(bytes(place + 1 - len(self._bytes)))
        self._bytes[place] |= 1 << bit

    def __contains__(self, number: int) -> bool:
        place, bit = divmod(number, 8)
        return place < len(self._bytes) and bool(self._bytes[place] >> bit & 1)


class SeenRecords:
    """The stored records that a complete read of a source has seen, by their keys.

    Args:
        session: the writable session.
        source: a source with keys.
    """

    def __init__(self, session: WriteSession, source: Destination) -> None:
        self._session = session
        self._source = source
        self._targets = Bits()

    def add(self, rows: Iterable[ValidRow], rejections: Iterable[Rejection]) -> None:
        """Add the records of a page after it was stored; rejected ones are not missing either."""
        dialect = self._session.dialect
        keys = {row.source_key for row in rows} | {one.source_key for one in rejections}
        for some in chunks([(key,) for key in keys if key is not None]):
            found = self._session.query(
                f"SELECT r.target_id FROM {dialect.rows((KEY,))}"
                f" {dialect.join} etl_records r ON r.source_key = p.source_key"
                " AND r.entity = %s AND r.source = %s",
                (as_json(some), self._source.entity, self._source.name),
            )
            for (target,) in found:
                self._targets.add(target)

    def count_missing(self) -> int:
        """How many of the source's stored records were not among those."""
        return sum(target not in self._targets for target in self._stored())

    def _stored(self) -> Iterator[int]:
        last = -1
        while True:
            rows = self._session.query(
                "SELECT target_id FROM etl_records WHERE entity = %s AND source = %s"
                " AND target_id > %s ORDER BY target_id LIMIT %s",
                (self._source.entity, self._source.name, last, LINKS_AT_ONCE),
            )
            if not rows:
                return
            yield from (row[0] for row in rows)
            last = rows[-1][0]
