"""Which row of `customers` a record belongs to, and what it changes there. Pure.

A record belongs to the customer that its source's key was connected with before. Otherwise to the
one with its id, if the source owns the ids, or with its email. No record changes another customer:
one whose email belongs to another customer is a conflict, with the emails as they were before the
page, so that two customers who have exchanged theirs are two conflicts.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from integration.ingest.models import Rejection
from integration.ingest.tables import CUSTOMER_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from integration.ingest.models import ValidRow


_all_columns = itemgetter(*CUSTOMER_COLUMNS)
_NOTHING = (None,) * len(CUSTOMER_COLUMNS)

Values = tuple[str | None, ...]
# A row of the table: its id, and the values of CUSTOMER_COLUMNS.
Customer = tuple[int, Values]


class Known(NamedTuple):
    """What the database knows about a record.

    Attributes:
        row: the record.
        linked: the customer that its key is connected with.
        by_id: the customer with its id, if the source owns the ids.
        by_email: the customer whose email is equal for the database, perhaps in case or accents.
        claims: keys of this source that `by_email` or `by_id` is connected with.
        is_foreign: whether another source has `by_id`.
    """

    row: ValidRow
    linked: Customer | None = None
    by_id: Customer | None = None
    by_email: Customer | None = None
    claims: frozenset[str] = frozenset()
    is_foreign: bool = False


class Change(NamedTuple):
    """A row to insert or update.

    Attributes:
        row: the record.
        id: of the customer; None if the database is to number it.
        values: all of CUSTOMER_COLUMNS.
        is_new_link: whether the record is not yet connected with the customer.
    """

    row: ValidRow
    id: int | None
    values: Values
    is_new_link: bool


class Compared(NamedTuple):
    """Records whose customers are known by their keys.

    Attributes:
        unchanged: how many are equal.
        updates: those that differ, but not in the email.
        open: the others: new, or with another email.
    """

    unchanged: int
    updates: list[Change]
    open: list[ValidRow]


class Plan(NamedTuple):
    """What a page does to the table."""

    inserts: list[Change]
    updates: list[Change]
    unchanged: list[Change]
    conflicts: list[Rejection]


def last_of_each(
    rows: Sequence[ValidRow], *, ignores_case: bool
) -> tuple[list[ValidRow], list[ValidRow]]:
    """The last record of each customer, in the order of the page, and those that it replaces.

    Args:
        rows: the records of a page.
        ignores_case: whether emails that differ only in case are the same to the database.
    """
    identities = [row.source_key or _email(row, ignores_case=ignores_case) for row in rows]
    if len(set(identities)) == len(rows):
        return list(rows), []
    last: dict[str, ValidRow] = {}
    replaced = []
    for identity, row in zip(identities, rows, strict=True):
        earlier = last.pop(identity, None)
        if earlier is not None:
            replaced.append(earlier)
        last[identity] = row
    return list(last.values()), replaced


def _email(row: ValidRow, *, ignores_case: bool) -> str:
    email = str(row.values["email"])
    return email.lower() if ignores_case else email


def compare(rows: Sequence[ValidRow], linked: Mapping[str, Customer]) -> Compared:
    """Settle the records that cannot be in conflict; in most pages all of them.

    Args:
        rows: the records.
        linked: the customers that keys are connected with.
    """
    unchanged, updates, others = 0, [], []
    for row in rows:
        customer = linked.get(row.source_key or "")
        if customer is None:
            others.append(row)
            continue
        number, existing = customer
        values = _values(row, existing)
        if values == existing:
            unchanged += 1
        elif values[0] == existing[0]:
            updates.append(Change(row, number, values, is_new_link=False))
        else:
            others.append(row)
    return Compared(unchanged, updates, others)


def plan(
    rows: Sequence[ValidRow], known: Mapping[int, Known], *, owns_ids: bool, ignores_case: bool
) -> Plan:
    """Decide for each record, in the order of the page; the first one with a new email gets it.

    Args:
        rows: the records.
        known: what the database knows about some of them, by place; the others are new.
        owns_ids: whether the source decides the ids.
        ignores_case: whether emails that differ only in case are the same to the database.
    """
    folded_emails = [_email(row, ignores_case=ignores_case) for row in rows]
    if not known and len(set(folded_emails)) == len(rows):
        return Plan([_insert(row, owns_ids=owns_ids) for row in rows], [], [], [])
    made = Plan([], [], [], [])
    emails: set[str] = set()
    ids: set[int] = set()
    for place, (row, folded) in enumerate(zip(rows, folded_emails, strict=True)):
        one = known.get(place)
        target = _target(one, owns_ids=owns_ids) if one else None
        if isinstance(target, str):
            made.conflicts.append(_conflict(row, target))
        elif folded in emails or (target is not None and target[0] in ids):
            made.conflicts.append(_conflict(row, "another record of the page has this email"))
        elif one is None or target is None:
            emails.add(folded)
            made.inserts.append(_insert(row, owns_ids=owns_ids))
        else:
            emails.add(folded)
            ids.add(target[0])
            _change(made, one, target)
    return made


def _insert(row: ValidRow, *, owns_ids: bool) -> Change:
    number = int(row.source_key) if owns_ids and row.source_key else None
    return Change(row, number, _values(row, _NOTHING), True)  # noqa: FBT003


def _target(known: Known, *, owns_ids: bool) -> Customer | str | None:
    """The customer that the record belongs to, None for a new one, or why it is a conflict."""
    owner, target = known.by_email, known.linked
    if target is None and owns_ids:
        target = known.by_id
        if target and not _same_email(target, known.row) and known.is_foreign:
            return "the customer with this id came from another source"
    elif target is None and owner is not None:
        if not _same_email(owner, known.row):
            return "the email of another customer differs only in accents"
        target = owner
    if target and not known.linked and _has_other_key(known, target):
        return "the customer has another key in this source"
    if owner and (target is None or owner[0] != target[0]):
        return "the email belongs to another customer"
    return target


def _same_email(customer: Customer, row: ValidRow) -> bool:
    return str(customer[1][0]).lower() == str(row.values["email"]).lower()


def _has_other_key(known: Known, target: Customer) -> bool:
    key = known.row.source_key
    return key is not None and bool(known.claims - {key, unkeyed(target[0])})


def unkeyed(number: int) -> str:
    """What stands for the key of a record without one: no personal data, in the order of the ids.

    `Dialect.unkeyed` is the same in SQL.
    """
    return f"#{number:015}"


def _change(made: Plan, known: Known, target: Customer) -> None:
    row, (number, existing) = known.row, target
    is_known = row.source_key in known.claims if row.source_key else bool(known.claims)
    values = _values(row, existing)
    change = Change(row, number, values, known.linked is None and not is_known)
    (made.unchanged if values == existing else made.updates).append(change)


def _values(row: ValidRow, existing: Values) -> Values:
    """All columns; those that the source does not have stay as they are."""
    try:
        values: Values = _all_columns(row.values)
    except KeyError:
        given = row.values
        return tuple(
            given.get(name, old)  # type: ignore[misc]  # texts or None
            for name, old in zip(CUSTOMER_COLUMNS, existing, strict=True)
        )
    return values


def _conflict(row: ValidRow, detail: str) -> Rejection:
    return Rejection(row.index, row.source_key, "conflict", "email", detail)
