"""Which row of `page_views` a record belongs to, and what it changes there. Pure.

A view belongs to the row that its source's key was connected with before, otherwise to one with
the same customer, page and time, which is also what the id of its event in Iterable is made of.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from integration.ingest.tables import VIEW_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from integration.ingest.models import ValidRow

# The customer, the page and the time are the first of VIEW_COLUMNS.
IDENTITY = 3
_DETAILS = VIEW_COLUMNS[IDENTITY:]

Values = tuple[object, ...]


class View(NamedTuple):
    """A view that is to be stored.

    Attributes:
        row: the record.
        id: of its row, or None for a new one.
        values: those of VIEW_COLUMNS; the time as text.
        is_new_link: whether the record is not yet connected with the row.
    """

    row: ValidRow
    id: int | None
    values: Values
    is_new_link: bool = True


class Stored(NamedTuple):
    """A row of the table, and the key of this source that it is connected with."""

    id: int
    values: Values
    key: str | None


def last_of_each(views: Sequence[View]) -> list[View]:
    """The last record of each view, in the order of the page."""
    identities = [view.row.source_key or view.values[:IDENTITY] for view in views]
    if len(set(identities)) == len(views):
        return list(views)
    last: dict[object, View] = {}
    for identity, view in zip(identities, views, strict=True):
        last.pop(identity, None)
        last[identity] = view
    return list(last.values())


def plan(
    views: Sequence[View], linked: Mapping[int, Stored], same: Mapping[int, Sequence[Stored]]
) -> tuple[list[View], list[View], list[View]]:
    """What to insert, to update and to leave."""
    if not linked and not same:
        return list(views), [], []
    inserts: list[View] = []
    updates: list[View] = []
    unchanged: list[View] = []
    used: set[int] = set()
    for place, view in enumerate(views):
        stored = linked.get(place) or _unused(same.get(place, ()), view.row.source_key, used)
        if stored is None:
            inserts.append(view)
            continue
        used.add(stored.id)
        values = _merged(view, stored)
        found = View(view.row, stored.id, values, stored.key is None)
        (unchanged if stored.values == values else updates).append(found)
    return inserts, updates, unchanged


def _unused(same: Sequence[Stored], key: str | None, used: AbstractSet[int]) -> Stored | None:
    """A row with the view's customer, page and time that no other key has."""
    for stored in same:
        if stored.id not in used and (key is None or stored.key is None):
            return stored
    return None


def values_of(owner: int, row: ValidRow) -> Values:
    """All columns of a new row."""
    given = row.values
    get = given.get
    time = time_text(given["event_time"])
    return owner, given["page"], time, get("device"), get("browser"), get("location")


def _merged(view: View, stored: Stored) -> Values:
    """The view's values; those that the source does not have stay as they are."""
    given = view.row.values
    old = stored.values[IDENTITY:]
    details = (given.get(name, value) for name, value in zip(_DETAILS, old, strict=True))
    return *view.values[:IDENTITY], *details


def time_text(moment: object) -> str:
    """A time as the column holds it: UTC, whole seconds, as text."""
    if isinstance(moment, datetime):
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
        return moment.strftime("%Y-%m-%d %H:%M:%S")
    return str(moment)[:19]
