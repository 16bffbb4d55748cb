"""Customers of a page: read what is there, decide, write what differs.

Never INSERT … ON DUPLICATE KEY UPDATE: with two unique keys, it changes the customer who has the
email instead of the one with the id. Emails are compared by the database, with its collation.
"""

from __future__ import annotations

from collections import defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from integration.database.dialects import Column
from integration.ingest.customer_rules import (
    Change,
    Customer,
    Known,
    compare,
    last_of_each,
    plan,
    unkeyed,
)
from integration.ingest.links import KEY, add_links, remove_links
from integration.ingest.outcome import Outcome
from integration.ingest.row_sets import as_json, chunks, write_set
from integration.ingest.tables import CUSTOMER_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from integration.database.writing import WriteSession
    from integration.ingest.models import ValidRow
    from integration.ingest.outcome import Destination
    from integration.ingest.tables import TargetTables

_SELECTED = ", ".join(f"c.{name}" for name in ("id", *CUSTOMER_COLUMNS))
_INDEX = Column("i", "integer")
_ID = Column("id", "integer")
_UNCLAIMED: tuple[frozenset[str], bool] = (frozenset(), False)


class Writer(NamedTuple):
    """Where customers are written to.

    Attributes:
        session: in a transaction.
        tables: the columns of the target.
        source: what the configuration says about the source.
        run_id: the run.
        split: write halves of a set when the database refuses one of its rows.
        mostly_unchanged: whether most records of the run so far were.
    """

    session: WriteSession
    tables: TargetTables
    source: Destination
    run_id: int
    split: bool
    mostly_unchanged: bool = False


def write_customers(to: Writer, rows: Sequence[ValidRow]) -> Outcome:
    """Store the customers of a page.

    Raises:
        RowRefused: the database refuses a row, and `split` is false.
    """
    last, replaced = last_of_each(rows, ignores_case=to.tables.ignores_case)
    outcome = Outcome(unchanged=len(replaced))
    for some in chunks(last):
        outcome += _write(to, some)
    return outcome


def _write(to: Writer, page: Sequence[ValidRow]) -> Outcome:
    rows = _differing(to, page) if to.mostly_unchanged else page
    linked = _linked(to, rows)
    settled = compare(rows, linked)
    made = plan(
        settled.open,
        _read(to, settled.open, linked),
        owns_ids=to.source.owns_ids,
        ignores_case=to.tables.ignores_case,
    )
    inserted, refused_inserts = write_set(
        to.session, made.inserts, lambda some: _insert(to, some), split=to.split
    )
    updated, refused_updates = write_set(
        to.session,
        [*settled.updates, *made.updates],
        lambda some: _update(to, some),
        split=to.split,
    )
    _link(to, [*_numbered(to, inserted), *updated, *made.unchanged])
    return Outcome(
        inserted=len(inserted),
        updated=len(updated),
        unchanged=len(page) - len(rows) + settled.unchanged + len(made.unchanged),
        rejections=(*made.conflicts, *refused_inserts, *refused_updates),
    )


def _differing(to: Writer, rows: Sequence[ValidRow]) -> Sequence[ValidRow]:
    """The records that are not yet stored as they are; the database compares them.

    It takes longer than comparing them here, but at the same time as another page is validated.
    """
    columns = [Column(name) for name in CUSTOMER_COLUMNS if name in rows[0].values]
    values_of = itemgetter(*(column.name for column in columns))
    if len({len(row.values) for row in rows}) > 1:
        return rows
    try:
        wanted = [(place, row.source_key, *values_of(row.values)) for place, row in enumerate(rows)]
    except KeyError:  # not all records have the same columns
        return rows
    dialect = to.session.dialect
    equal = " AND ".join(dialect.is_same(f"p.{name}", f"c.{name}") for name, *_ in columns)
    found = to.session.query(
        f"SELECT p.i FROM {dialect.rows((_INDEX, KEY, *columns))}"
        " LEFT JOIN etl_records r ON r.source_key = p.source_key"
        " AND r.entity = 'customers' AND r.source = %s"
        " LEFT JOIN customers c ON c.id = r.target_id"
        f" WHERE c.id IS NULL OR NOT ({equal})" + dialect.for_update("r", "c"),
        (as_json(wanted), to.source.name),
    )
    return [rows[place] for place in sorted(place for (place,) in found)]


def _linked(to: Writer, rows: Sequence[ValidRow]) -> dict[str, Customer]:
    """The customers that the keys are connected with, locked, by key."""
    keys = [(row.source_key,) for row in rows if row.source_key]
    if not keys:
        return {}
    dialect = to.session.dialect
    found = to.session.query(
        f"SELECT p.source_key, {_SELECTED} FROM {dialect.rows((KEY,))}"
        f" {dialect.join} etl_records r ON r.source_key = p.source_key"
        " AND r.entity = 'customers' AND r.source = %s"
        " LEFT JOIN customers c ON c.id = r.target_id" + dialect.for_update("r", "c"),
        (as_json(keys), to.source.name),
    )
    deleted = [row[0] for row in found if row[1] is None]
    remove_links(to.session, to.source.name, "customers", deleted)
    return {row[0]: (row[1], row[2:]) for row in found if row[1] is not None}


def _read(to: Writer, rows: Sequence[ValidRow], linked: Mapping[str, Customer]) -> dict[int, Known]:
    """What the database knows about records that are new or have another email, by place."""
    by_email = _customers(to, to.tables.email, [row.values["email"] for row in rows])
    unlinked = {
        place: row.source_key or ""
        for place, row in enumerate(rows)
        if (row.source_key or "") not in linked
    }
    by_id = _by_id(to, unlinked) if to.source.owns_ids else {}
    candidates = by_id if to.source.owns_ids else by_email
    claims = _claims(to, {candidates[place][0] for place in unlinked if place in candidates})
    changed = [place for place in range(len(rows)) if place not in unlinked]
    return {
        place: Known(
            rows[place],
            linked.get(rows[place].source_key or ""),
            by_id.get(place),
            by_email.get(place),
            *_claimed(to, candidates.get(place), claims),
        )
        for place in {*changed, *by_email, *by_id}
    }


def _by_id(to: Writer, keys: Mapping[int, str]) -> dict[int, Customer]:
    """The customers with the ids of the source, by place."""
    if not keys:
        return {}
    ((highest,),) = to.session.query("SELECT MAX(id) FROM customers")
    wanted = [(place, int(key)) for place, key in keys.items()]
    possible = [(place, number) for place, number in wanted if number <= (highest or 0)]
    found = _customers(to, _ID, [number for _, number in possible])
    return {possible[place][0]: customer for place, customer in found.items()}


def _claimed(
    to: Writer, candidate: Customer | None, claims: Mapping[int, Sequence[tuple[str, str]]]
) -> tuple[frozenset[str], bool]:
    """The keys of this source that the customer has, and whether another source has it."""
    owners = claims.get(candidate[0]) if candidate else None
    if not owners:
        return _UNCLAIMED
    own = frozenset(key for source, key in owners if source == to.source.name)
    return own, len(own) < len(owners)


def _customers(to: Writer, column: Column, wanted: Sequence[object]) -> dict[int, Customer]:
    """The customers with these values of a unique column, locked, by place in `wanted`."""
    if not wanted:
        return {}
    dialect = to.session.dialect
    found = to.session.query(
        f"SELECT p.i, {_SELECTED} FROM {dialect.rows((_INDEX, column))}"
        f" {dialect.join} customers c ON c.{column.name} = p.{column.name}"
        + dialect.for_update("c"),
        (as_json(list(enumerate(wanted))),),
    )
    return {row[0]: (row[1], row[2:]) for row in found}


def _claims(to: Writer, ids: Iterable[int]) -> dict[int, list[tuple[str, str]]]:
    """The sources and keys that customers are connected with."""
    dialect = to.session.dialect
    claims: dict[int, list[tuple[str, str]]] = defaultdict(list)
    wanted = [(number,) for number in ids]
    if wanted:
        for number, source, key in to.session.query(
            f"SELECT p.id, r.source, r.source_key FROM {dialect.rows((_ID,))}"
            f" {dialect.join} etl_records r ON r.target_id = p.id AND r.entity = 'customers'",
            (as_json(wanted),),
        ):
            claims[number].append((source, key))
    return claims


def _insert(to: Writer, changes: Sequence[Change]) -> None:
    columns = to.tables.customers if changes[0].id is not None else to.tables.customers[1:]
    names = ", ".join(column.name for column in columns)
    values = ", ".join(f"p.{column.name}" for column in columns)
    rows = [one.values if one.id is None else (one.id, *one.values) for one in changes]
    to.session.execute(
        f"INSERT INTO customers ({names}) SELECT {values} FROM {to.session.dialect.rows(columns)}",
        (as_json(rows),),
    )


def _update(to: Writer, changes: Sequence[Change]) -> None:
    to.session.execute(
        to.session.dialect.update("customers", to.tables.customers),
        (as_json([(one.id, *one.values) for one in changes]),),
    )


def _numbered(to: Writer, inserted: Sequence[Change]) -> Sequence[Change]:
    """The new customers with the ids that the database gave them."""
    if not inserted or inserted[0].id is not None:
        return inserted
    found = _customers(to, to.tables.email, [one.values[0] for one in inserted])
    return [one._replace(id=found[place][0]) for place, one in enumerate(inserted)]


def _link(to: Writer, changes: Iterable[Change]) -> None:
    links = [
        (one.row.source_key or unkeyed(one.id), one.id)
        for one in changes
        if one.is_new_link and one.id is not None
    ]
    add_links(to.session, to.source.name, "customers", to.run_id, links)
