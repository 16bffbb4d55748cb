"""What the tables must hold after some pages: an independent account of the ingest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.support.ingest_faults.records import Row, Stored, stored_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.source.records import Entity

EMAIL = 1


class PageOutcome(NamedTuple):
    """What became of the records of a page; `rejected` are their positions."""

    inserted: int
    updated: int
    unchanged: int
    rejected: frozenset[int]


@dataclass
class Model:
    """The rows by key; each page that is stored changes them.

    Attributes:
        entity: what the source has.
        customers: how many customers there are for page views.
    """

    entity: Entity
    customers: int
    rows: dict[str, Row] = field(default_factory=dict)
    _emails: dict[str, str] = field(default_factory=dict)

    def store(self, records: Sequence[object]) -> PageOutcome:
        """Store a page: the last record of a key wins, a taken email is a conflict."""
        last: dict[str, tuple[int, Stored]] = {}
        rejected: set[int] = set()
        counts = {"inserted": 0, "updated": 0, "unchanged": 0}
        for position, record in enumerate(records):
            stored = stored_as(self.entity, record, self.customers)
            if stored is None:
                rejected.add(position)
                continue
            counts["unchanged"] += last.pop(stored.key, None) is not None
            last[stored.key] = position, stored
        for position, stored in last.values():
            outcome = self._store(stored)
            if outcome is None:
                rejected.add(position)
            else:
                counts[outcome] += 1
        return PageOutcome(**counts, rejected=frozenset(rejected))

    def _store(self, stored: Stored) -> str | None:
        if self.entity == "customers":
            email = str(stored.row[EMAIL]).lower()
            if self._emails.setdefault(email, stored.key) != stored.key:
                return None
        known = self.rows.get(stored.key)
        self.rows[stored.key] = stored.row
        if known is None:
            return "inserted"
        return "unchanged" if known == stored.row else "updated"
