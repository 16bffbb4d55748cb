"""Page views of a page: find the customers, read what is there, write what differs.

A view belongs to the row that its source's key was connected with before, otherwise to the one with
the same customer, page and time, which is also what the id of its event in Iterable is made of.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from integration.database.dialects import Column
from integration.ingest.customer_rules import unkeyed
from integration.ingest.links import KEY, add_links, remove_links
from integration.ingest.models import Rejection
from integration.ingest.outcome import Outcome
from integration.ingest.row_sets import as_json, chunks, write_set
from integration.ingest.tables import VIEW_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from integration.ingest.customers import Writer
    from integration.ingest.models import ValidRow

_SELECTED = ", ".join(f"v.{name}" for name in ("id", *VIEW_COLUMNS))
_INDEX = Column("i", "integer")
# The first columns of VIEW_COLUMNS.
_IDENTITY = 3
_DETAILS = VIEW_COLUMNS[_IDENTITY:]
_REFERENCES = {"id": "user_id", "key": "customer_key", "email": "email"}

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


def write_page_views(to: Writer, rows: Sequence[ValidRow]) -> Outcome:
    """Store the page views of a page.

    Raises:
        RowRefused: the database refuses a row, and `split` is false.
    """
    owners = _owners(to, rows)
    views, unknown = [], []
    for row in rows:
        owner = owners.get(_reference(to, row))
        if owner is None:
            unknown.append(_unknown(to, row))
        else:
            views.append(View(row, None, _values(owner, row)))
    last = _last_of_each(views)
    outcome = Outcome(unchanged=len(views) - len(last), rejections=tuple(unknown))
    for some in chunks(last):
        outcome += _write(to, some)
    return outcome


def with_customer(to: Writer, rows: Sequence[ValidRow]) -> list[ValidRow]:
    """The views whose customer is in the table."""
    owners = _owners(to, rows)
    return [row for row in rows if _reference(to, row) in owners]


def _reference(to: Writer, row: ValidRow) -> str:
    value = str(row.values[_REFERENCES[to.source.customer]])
    return value.lower() if to.source.customer == "email" and to.tables.ignores_case else value


def _owners(to: Writer, rows: Sequence[ValidRow]) -> dict[str, int]:
    """The ids of the customers that the views name, by what they are named."""
    owners: dict[str, int] = {}
    for some in chunks(list({_reference(to, row) for row in rows})):
        owners.update(_find_owners(to, some))
    return owners


def _find_owners(to: Writer, references: Sequence[str]) -> dict[str, int]:
    dialect, kind = to.session.dialect, to.source.customer
    wanted = as_json([(int(one) if kind == "id" else one,) for one in references])
    if kind == "key":
        found = to.session.query(
            f"SELECT p.source_key, c.id FROM {dialect.rows((KEY,))} {dialect.join} etl_records r"
            " ON r.source_key = p.source_key AND r.entity = 'customers' AND r.source = %s"
            f" {dialect.join} customers c ON c.id = r.target_id",
            (wanted, to.source.customer_source),
        )
        return dict(found)
    column = to.tables.customers[0] if kind == "id" else to.tables.email
    found = to.session.query(
        f"SELECT p.{column.name}, c.{column.name}, c.id FROM {dialect.rows((column,))}"
        f" {dialect.join} customers c ON c.{column.name} = p.{column.name}",
        (wanted,),
    )
    # An email that differs in accents is another person's.
    return {
        str(name): number
        for name, value, number in found
        if str(name).lower() == str(value).lower()
    }


def _unknown(to: Writer, row: ValidRow) -> Rejection:
    field = _REFERENCES[to.source.customer]
    return Rejection(
        row.index, row.source_key, "unknown_customer", field, "the customer has not arrived yet"
    )


def _values(owner: int, row: ValidRow) -> Values:
    given = row.values
    details = (given.get(name) for name in _DETAILS)
    return owner, given["page"], time_text(given["event_time"]), *details


def _merged(view: View, stored: Stored) -> Values:
    """The view's values; those that the source does not have stay as they are."""
    given = view.row.values
    old = stored.values[_IDENTITY:]
    details = (given.get(name, value) for name, value in zip(_DETAILS, old, strict=True))
    return *view.values[:_IDENTITY], *details


def time_text(moment: object) -> str:
    """A time as the column holds it: UTC, whole seconds, as text."""
    if isinstance(moment, datetime):
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
        return moment.strftime("%Y-%m-%d %H:%M:%S")
    return str(moment)[:19]


def _last_of_each(views: Iterable[View]) -> list[View]:
    """The last record of each view, in the order of the page."""
    last: dict[object, View] = {}
    for view in views:
        identity = view.row.source_key or view.values[:_IDENTITY]
        last.pop(identity, None)
        last[identity] = view
    return list(last.values())


def _write(to: Writer, views: Sequence[View]) -> Outcome:
    linked = _linked(to, views)
    same = _with_identity(to, [view for place, view in enumerate(views) if place not in linked])
    old = {stored.id for some in same.values() for stored in some}
    inserts, updates, unchanged = _plan(views, linked, same)
    inserted, refused_inserts = write_set(
        to.session, inserts, lambda some: _insert(to, some), split=to.split
    )
    updated, refused_updates = write_set(
        to.session, updates, lambda some: _update(to, some), split=to.split
    )
    _link(to, [*_numbered(to, inserted, old), *updated, *unchanged])
    return Outcome(
        len(inserted), len(updated), len(unchanged), (*refused_inserts, *refused_updates)
    )


def _plan(
    views: Sequence[View], linked: Mapping[int, Stored], same: Mapping[Values, list[Stored]]
) -> tuple[list[View], list[View], list[View]]:
    """What to insert, to update and to leave."""
    inserts: list[View] = []
    updates: list[View] = []
    unchanged: list[View] = []
    for place, view in enumerate(views):
        stored = linked.get(place) or _take(same, view)
        if stored is None:
            inserts.append(view)
            continue
        values = _merged(view, stored)
        found = View(view.row, stored.id, values, stored.key is None)
        (unchanged if stored.values == values else updates).append(found)
    return inserts, updates, unchanged


def _take(same: Mapping[Values, list[Stored]], view: View) -> Stored | None:
    """A row with the view's customer, page and time that no other key has."""
    for stored in same.get(view.values[:_IDENTITY], ()):
        if view.row.source_key is None or stored.key in {None, view.row.source_key}:
            if view.row.source_key is not None:
                same[view.values[:_IDENTITY]].remove(stored)
            return stored
    return None


def _linked(to: Writer, views: Sequence[View]) -> dict[int, Stored]:
    """The rows that the keys are connected with, by place."""
    keys = [(place, view.row.source_key) for place, view in enumerate(views) if view.row.source_key]
    if not keys:
        return {}
    dialect = to.session.dialect
    found = to.session.query(
        f"SELECT p.i, r.source_key, {_SELECTED} FROM {dialect.rows((_INDEX, KEY))}"
        f" {dialect.join} etl_records r ON r.source_key = p.source_key"
        " AND r.entity = 'page_views' AND r.source = %s"
        " LEFT JOIN page_views v ON v.id = r.target_id" + dialect.for_update("r", "v"),
        (as_json(keys), to.source.name),
    )
    deleted = [key for _, key, number, *_ in found if number is None]
    remove_links(to.session, to.source.name, "page_views", deleted)
    return {
        place: Stored(number, _as_text(values), key)
        for place, key, number, *values in found
        if number is not None
    }


def _with_identity(to: Writer, views: Sequence[View]) -> dict[Values, list[Stored]]:
    """The rows with the customers, pages and times of these views, lowest id first."""
    same: dict[Values, list[Stored]] = defaultdict(list)
    identities = list({view.values[:_IDENTITY] for view in views})
    if not identities:
        return same
    dialect, columns = to.session.dialect, to.tables.page_views[1 : 1 + _IDENTITY]
    equal = " AND ".join(f"v.{column.name} = p.{column.name}" for column in columns)
    found = to.session.query(
        f"SELECT r.source_key, {_SELECTED} FROM {dialect.rows(columns)}"
        f" {dialect.join} page_views v ON {equal} LEFT JOIN etl_records r ON r.target_id = v.id"
        " AND r.entity = 'page_views' AND r.source = %s" + dialect.for_update("v"),
        (as_json(identities), to.source.name),
    )
    for key, number, *values in sorted(found, key=itemgetter(1)):
        stored = Stored(number, _as_text(values), key)
        same[stored.values[:_IDENTITY]].append(stored)
    return same


def _as_text(values: Sequence[object]) -> Values:
    return tuple(str(value) if isinstance(value, datetime) else value for value in values)


def _insert(to: Writer, views: Sequence[View]) -> None:
    columns = to.tables.page_views[1:]
    names = ", ".join(column.name for column in columns)
    values = ", ".join(f"p.{column.name}" for column in columns)
    to.session.execute(
        f"INSERT INTO page_views ({names}) SELECT {values} FROM {to.session.dialect.rows(columns)}",
        (as_json([view.values for view in views]),),
    )


def _update(to: Writer, views: Sequence[View]) -> None:
    to.session.execute(
        to.session.dialect.update("page_views", to.tables.page_views),
        (as_json([(view.id, *view.values) for view in views]),),
    )


def _numbered(to: Writer, inserted: Sequence[View], old: AbstractSet[int]) -> list[View]:
    """The new views with the ids that the database gave them."""
    new: dict[Values, list[int]] = defaultdict(list)
    for some in _with_identity(to, inserted).values():
        for stored in reversed(some):
            if stored.id not in old:
                new[stored.values].append(stored.id)
    # A value that the table has changed is not found, nor is its view connected until it returns.
    return [view._replace(id=new[view.values].pop()) for view in inserted if new.get(view.values)]


def _link(to: Writer, views: Iterable[View]) -> None:
    links = [
        (view.row.source_key or unkeyed(view.id), view.id)
        for view in views
        if view.is_new_link and view.id is not None
    ]
    add_links(to.session, to.source.name, "page_views", to.run_id, links)
