"""Which stored records a source no longer has, after everything was read.

The rows that were seen are bits, by their id: a few bytes for a page of records, however many there
are.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from integration.ingest.links import KEY
from integration.ingest.row_sets import as_json, chunks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from integration.database.writing import WriteSession
    from integration.ingest.models import Rejection, ValidRow
    from integration.ingest.outcome import Destination

LINKS_AT_ONCE = 20_000
_BLOCK_BYTES = 8_192
_BLOCK_BITS = _BLOCK_BYTES * 8


class Bits:
    """A set of whole numbers from 0; a high number costs no more than a low one."""

    def __init__(self) -> None:
        self._blocks: defaultdict[int, bytearray] = defaultdict(partial(bytearray, _BLOCK_BYTES))

    def add(self, number: int) -> None:
        """Add a number."""
        block, bit = divmod(number, _BLOCK_BITS)
        self._blocks[block][bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, number: int) -> bool:
        block, bit = divmod(number, _BLOCK_BITS)
        return block in self._blocks and bool(self._blocks[block][bit >> 3] >> (bit & 7) & 1)


class SeenRecords:
    """The stored records that a complete read of a source has seen, by their keys.

    Args:
        session: the writable session.
        source: a source with keys, before the read.

    Attributes:
        unidentified: how many rejected records have no key that can be read; each of them may be
            one that seems to be missing.
        stored_before: how many rows the source had in the target before the read.
    """

    def __init__(self, session: WriteSession, source: Destination) -> None:
        self._session = session
        self._source = source
        self._targets = Bits()
        self.unidentified = 0
        ((self.stored_before,),) = session.query(
            f"SELECT COUNT(DISTINCT r.target_id) FROM {self._stored_rows}", self._parameters
        )

    def add(self, rows: Iterable[ValidRow], rejections: Iterable[Rejection]) -> None:
        """Add the records of a page after it was stored; rejected ones are not missing either."""
        rejected = [self._key_of(one) for one in rejections]
        keys = {row.source_key for row in rows} | set(rejected)
        dialect = self._session.dialect
        for some in chunks([(key,) for key in keys if key is not None]):
            found = self._session.query(
                f"SELECT r.target_id FROM {dialect.rows((KEY,))}"
                f" {dialect.join} etl_records r ON r.source_key = p.source_key"
                " AND r.entity = %s AND r.source = %s",
                (as_json(some), *self._parameters),
            )
            for (target,) in found:
                self._targets.add(target)
        self.unidentified += rejected.count(None)

    def missing(self) -> Iterator[list[int]]:
        """The ids of the source's rows that were not among those, in ascending order."""
        last = -1
        while True:
            rows = self._session.query(
                f"SELECT DISTINCT r.target_id FROM {self._stored_rows}"
                " AND r.target_id > %s ORDER BY r.target_id LIMIT %s",
                (*self._parameters, last, LINKS_AT_ONCE),
            )
            if not rows:
                return
            last = rows[-1][0]
            yield [target for (target,) in rows if target not in self._targets]

    @property
    def _stored_rows(self) -> str:
        """The source's records whose rows still exist; their parameters are `_parameters`."""
        return (
            f"etl_records r {self._session.dialect.join} {self._source.entity} t"
            " ON t.id = r.target_id WHERE r.entity = %s AND r.source = %s"
        )

    @property
    def _parameters(self) -> tuple[str, str]:
        return self._source.entity, self._source.name

    def _key_of(self, rejection: Rejection) -> str | None:
        """The key under which the record is stored, if it is; an id as its digits."""
        key = rejection.source_key
        if key is None or not self._source.owns_ids:
            return key
        return str(int(key)) if key.isascii() and key.isdigit() else None
