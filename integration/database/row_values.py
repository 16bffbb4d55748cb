"""The values of all drivers as the same types: what MySQL's driver gives, bool, dict and list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Sequence

Convert = Callable[[Any], Any]


def with_converted(
    rows: Sequence[tuple[Any, ...]], converters: Mapping[int, Convert]
) -> Sequence[tuple[Any, ...]]:
    """The rows with the values at these places converted; NULL stays NULL."""
    if not converters:
        return rows
    converted = [list(row) for row in rows]
    for place, convert in converters.items():
        for row in converted:
            if row[place] is not None:
                row[place] = convert(row[place])
    return list(map(tuple, converted))


def plain(value: object) -> object:
    """A value, and all that it contains: times in UTC without a zone, UUIDs as text."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return naive_utc(value)
    return value


def naive_utc(moment: datetime) -> datetime:
    """A time in UTC without a zone; one without a zone is in UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
