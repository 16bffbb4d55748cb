"""Page views of a page: find the customers, read what is there, write what differs."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, cast

from integration.database.dialects import Column
from integration.ingest.customer_rules import unkeyed
from integration.ingest.links import KEY, add_links, remove_links
from integration.ingest.models import Rejection
from integration.ingest.outcome import Outcome
from integration.ingest.row_sets import as_json, chunks, write_set
from integration.ingest.tables import VIEW_COLUMNS
from integration.ingest.view_rules import (
    IDENTITY,
    Stored,
    Values,
    View,
    last_of_each,
    plan,
    values_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from integration.ingest.customers import Writer
    from integration.ingest.models import ValidRow

_SELECTED = ", ".join(f"v.{name}" for name in ("id", *VIEW_COLUMNS))
_INDEX = Column("i", "integer")
_REFERENCES = {"id": "user_id", "key": "customer_key", "email": "email"}


def write_page_views(to: Writer, rows: Sequence[ValidRow]) -> Outcome:
    """Store the page views of a page.

    Raises:
        RowRefused: the database refuses a row, and `split` is false.
    """
    references = _references(to, rows)
    owners = _owners(to, references)
    named = [(owners.get(one), row) for one, row in zip(references, rows, strict=True)]
    views = [View(row, None, values_of(owner, row)) for owner, row in named if owner is not None]
    unknown = tuple(_unknown(to, row) for owner, row in named if owner is None)
    last = last_of_each(views)
    # In the order of the index; the views of a customer stay in the order of the page.
    last.sort(key=_owner_of)
    outcome = Outcome(unchanged=len(views) - len(last), rejections=unknown)
    for some in chunks(last):
        outcome += _write(to, some)
    return outcome


def _owner_of(view: View) -> int:
    return cast("int", view.values[0])


def with_customer(to: Writer, rows: Sequence[ValidRow]) -> list[ValidRow]:
    """The views whose customer is in the table."""
    references = _references(to, rows)
    owners = _owners(to, references)
    return [row for one, row in zip(references, rows, strict=True) if one in owners]


def _references(to: Writer, rows: Sequence[ValidRow]) -> list[str]:
    """What each view names its customer."""
    name = _REFERENCES[to.source.customer]
    if to.source.customer == "email" and to.tables.ignores_case:
        return [str(row.values[name]).lower() for row in rows]
    return [str(row.values[name]) for row in rows]


def _owners(to: Writer, references: Sequence[str]) -> dict[str, int]:
    """The ids of the customers that the views name, by what they are named."""
    owners: dict[str, int] = {}
    # In the order of the index.
    for some in chunks(sorted(set(references))):
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


def _write(to: Writer, views: Sequence[View]) -> Outcome:
    linked = _linked(to, views)
    same = _same(to, views, linked)
    inserts, updates, unchanged = plan(views, linked, same)
    numbered: list[tuple[int, Sequence[View]]] = []
    inserted, refused_inserts = write_set(
        to.session,
        inserts,
        lambda some: numbered.append((_insert(to, some), some)),
        split=to.split,
    )
    updated, refused_updates = write_set(
        to.session, updates, lambda some: _update(to, some), split=to.split
    )
    for first, some in numbered:
        _link_new(to, some, first)
    _link(to, [*updated, *unchanged])
    return Outcome(
        len(inserted), len(updated), len(unchanged), (*refused_inserts, *refused_updates)
    )


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


def _same(
    to: Writer, views: Sequence[View], linked: Mapping[int, Stored]
) -> dict[int, list[Stored]]:
    """The rows with the customers, pages and times of these views, by place, lowest id first."""
    wanted = [
        (place, *view.values[:IDENTITY]) for place, view in enumerate(views) if place not in linked
    ]
    if not wanted:
        return {}
    dialect = to.session.dialect
    found = to.session.query(
        f"SELECT p.i, v.id, r.source_key, v.device, v.browser, v.location FROM {_identity(to)}"
        " LEFT JOIN etl_records r ON r.target_id = v.id"
        " AND r.entity = 'page_views' AND r.source = %s" + dialect.for_update("v"),
        (as_json(wanted), to.source.name),
    )
    same: dict[int, list[Stored]] = {}
    for place, number, key, *details in sorted(found, key=itemgetter(0, 1)):
        values = (*views[place].values[:IDENTITY], *details)
        same.setdefault(place, []).append(Stored(number, values, key))
    return same


def _identity(to: Writer, *columns: Column) -> str:
    """Page views by customer, page and time; the parameter has a number, these, and `columns`."""
    dialect, parts = to.session.dialect, to.tables.page_views[1 : 1 + IDENTITY]
    equal = " AND ".join(f"v.{column.name} = p.{column.name}" for column in parts)
    return f"{dialect.rows((_INDEX, *parts, *columns))} {dialect.join} page_views v ON {equal}"


def _as_text(values: Sequence[object]) -> Values:
    return tuple(str(value) if isinstance(value, datetime) else value for value in values)


def _insert(to: Writer, views: Sequence[View]) -> int:
    """Insert views, and return the lowest of their ids."""
    columns = to.tables.page_views[1:]
    names = ", ".join(column.name for column in columns)
    values = ", ".join(f"p.{column.name}" for column in columns)
    return to.session.insert(
        f"INSERT INTO page_views ({names}) SELECT {values} FROM {to.session.dialect.rows(columns)}",
        (as_json([view.values for view in views]),),
    )


def _update(to: Writer, views: Sequence[View]) -> None:
    to.session.execute(
        to.session.dialect.update("page_views", to.tables.page_views),
        (as_json([(view.id, *view.values) for view in views]),),
    )


def _link_new(to: Writer, views: Sequence[View], first: int) -> None:
    """Connect new views with the ids that the database gave them, from `first` on."""
    if not any(view.row.source_key for view in views) and _are_all(to, views, first):
        _link_range(to, first, first + len(views) - 1)
    elif len({view.values[:IDENTITY] for view in views}) < len(views):
        _link(to, _numbered(to, views, first))
    else:
        _link_by_identity(to, views, first)


def _are_all(to: Writer, views: Sequence[View], first: int) -> bool:
    """Whether the ids from `first` on are those of these views, without a gap.

    A concurrent writer may have stored others after them, or among them: with
    innodb_autoinc_lock_mode = 2, the ids of a statement need not be consecutive.
    """
    ((count, last),) = to.session.query(
        "SELECT COUNT(*), MAX(id) FROM page_views WHERE id >= %s", (first,)
    )
    return bool(count == len(views) == last - first + 1)


def _link_range(to: Writer, first: int, last: int) -> None:
    """Connect records without keys with the rows that have these ids."""
    to.session.execute(
        "INSERT INTO etl_records (source, entity, source_key, target_id, run_id)"
        f" SELECT %s, 'page_views', {to.session.dialect.unkeyed}, v.id, %s"
        " FROM page_views v WHERE v.id BETWEEN %s AND %s",
        (to.source.name, to.run_id, first, last),
    )


def _link_by_identity(to: Writer, views: Sequence[View], first: int) -> None:
    rows = [
        (place, *view.values[:IDENTITY], view.row.source_key) for place, view in enumerate(views)
    ]
    to.session.execute(
        "INSERT INTO etl_records (source, entity, source_key, target_id, run_id)"
        f" SELECT %s, 'page_views', COALESCE(p.source_key, {to.session.dialect.unkeyed}), v.id, %s"
        f" FROM {_identity(to, KEY)} AND v.id >= %s",
        (to.source.name, to.run_id, as_json(rows), first),
    )


def _numbered(to: Writer, inserted: Sequence[View], first: int) -> list[View]:
    """The new views with their ids, where several have one customer, page and time."""
    new: dict[Values, list[int]] = defaultdict(list)
    seen: set[int] = set()
    for some in _same(to, inserted, {}).values():
        for stored in reversed(some):
            if stored.id >= first and stored.id not in seen:
                seen.add(stored.id)
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
