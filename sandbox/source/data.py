"""What a mock source has: records in the order of their last change, which can be changed."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from sandbox.source.records import Entity, customer, is_bad, page_view, spoiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.source.options import SourceOptions

ENTITIES: tuple[Entity, ...] = ("customers", "page_views")


class Key(NamedTuple):
    """The place of a record in the order: by change, then by position."""

    updated_at: datetime
    number: int


class Table:
    """The records of one entity."""

    def __init__(self, entity: Entity, options: SourceOptions) -> None:
        self.entity = entity
        self.count = options.customers if entity == "customers" else options.page_views
        self._options = options
        self._newest = datetime.fromisoformat(options.newest)
        self._changed: dict[int, tuple[datetime, int]] = {}
        self._order: Sequence[int] = range(self.count)

    def key(self, number: int) -> Key:
        """The place of a record."""
        return Key(self._state(number)[0], number)

    def since(self, moment: datetime | None) -> Sequence[int]:
        """The records that changed at this time or later, in order."""
        if moment is None:
            return self._order
        return self._order[bisect_left(self._order, Key(moment, -1), key=self.key) :]

    def after(self, key: Key, numbers: Sequence[int]) -> Sequence[int]:
        """Those of the records that come after a place."""
        return numbers[bisect_left(numbers, Key(key.updated_at, key.number + 1), key=self.key) :]

    def record(self, number: int) -> object:
        """A record as the API sends it."""
        updated_at, version = self._state(number)
        if self.entity == "customers":
            record = customer(number, updated_at, version)
        else:
            record = page_view(number, updated_at, version, self._options.customers)
        return spoiled(self.entity, number, record) if self.is_bad(number) else record

    def is_bad(self, number: int) -> bool:
        """Whether something is wrong with a record."""
        return is_bad(number, self._options.bad)

    def touch(self, count: int, moment: datetime) -> list[int]:
        """Change the `count` records that come first; they come last from then on."""
        touched = list(self._order[:count])
        for number in touched:
            self._changed[number] = (moment, self._state(number)[1] + 1)
        self._order = sorted(range(self.count), key=self.key)
        return touched

    def _state(self, number: int) -> tuple[datetime, int]:
        """When a record last changed, and how often it has changed."""
        original = self._newest - timedelta(seconds=self.count - 1 - number)
        return self._changed.get(number, (original, 0))


class SourceData:
    """All tables."""

    def __init__(self, options: SourceOptions) -> None:
        self.tables: dict[str, Table] = {entity: Table(entity, options) for entity in ENTITIES}
        # Counts the changes; what was made of the data before is out of date after one.
        self.version = 0

    def touch(self, entity: str, count: int, moment: datetime) -> list[int]:
        """Change records of one table; see `Table.touch`.

        Raises:
            ValueError: there is no such table.
        """
        if entity not in self.tables:
            raise ValueError(f"no such entity, use one of {', '.join(ENTITIES)}")
        self.version += 1
        return self.tables[entity].touch(count, moment)
