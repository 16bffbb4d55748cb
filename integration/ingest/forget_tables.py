"""A person's rows in the tables: who they are, how many there are, and their deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from integration.ingest.customer_rules import unkeyed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from integration.core.personal_data import Person, PersonalData
    from integration.database.writing import WriteSession

_TEXTS = ("error_detail", "warnings", "cursor_from", "cursor_to")


class Part(NamedTuple):
    """Rows to delete; `condition` has the ids of the customers at {ids}."""

    table: str
    condition: str
    needs_etl: bool = True


_VIEWS = "SELECT id FROM page_views WHERE user_id IN ({ids})"
# In the order of deletion: the customers come last.
PARTS = (
    Part("etl_records", f"entity = 'page_views' AND target_id IN ({_VIEWS})"),
    Part("page_views", "user_id IN ({ids})", needs_etl=False),
    Part("etl_records", "entity = 'customers' AND target_id IN ({ids})"),
    Part("customers", "id IN ({ids})", needs_etl=False),
)
_REJECTED = "SELECT x.run_id, x.page, x.position FROM etl_rejected x JOIN etl_runs u"
_REJECTED_CUSTOMERS = (
    f"{_REJECTED} ON u.run_id = x.run_id"
    " WHERE x.entity = 'customers' AND x.source_key = %s AND u.source = %s"
)
_REJECTED_VIEWS = (
    f"{_REJECTED} ON u.run_id = x.run_id JOIN etl_records r ON r.source = u.source"
    " AND r.source_key = x.source_key AND r.entity = 'page_views'"
    " JOIN page_views v ON v.id = r.target_id"
    " WHERE x.entity = 'page_views' AND v.user_id IN ({ids})"
)
# Run, page and position of a rejected record.
Pointer = tuple[int, int, int]


class Owner(NamedTuple):
    """A customer that has an address now."""

    id: int
    email: str
    name: tuple[str, str]


def owners_of(session: WriteSession, emails: Iterable[str]) -> list[Owner]:
    """The customers that have one of these addresses (in lower case) now, in any case."""
    found = []
    for email in emails:
        rows = session.query(
            "SELECT id, email, first_name, last_name FROM customers"
            " WHERE LOWER(email) LIKE %s ESCAPE '!'",
            (_pattern(email),),
        )
        # The database may take letters with and without accents for the same.
        found += [
            Owner(number, address.lower(), (first or "", last or ""))
            for number, address, first, last in rows
            if address.lower() == email
        ]
    return found


def emails_by_id(session: WriteSession, ids: Iterable[int | str]) -> dict[int, str]:
    """The addresses that customers with these ids have now."""
    numbers = [int(one) for one in ids if str(one).isdecimal()]
    if not numbers:
        return {}
    rows = session.query(
        f"SELECT id, email FROM customers WHERE id IN ({_marks(numbers)})", numbers
    )
    return {number: str(email).lower() for number, email in rows}


def keys_of(session: WriteSession, ids: Iterable[int | str]) -> frozenset[tuple[str, str]]:
    """The sources' keys of these customers, without those that stand for records without a key."""
    numbers = [one for one in ids if isinstance(one, int)]
    if not numbers:
        return frozenset()
    rows = session.query(
        "SELECT source, source_key, target_id FROM etl_records WHERE entity = 'customers'"
        f" AND target_id IN ({_marks(numbers)})",
        numbers,
    )
    return frozenset((source, key) for source, key, number in rows if key != unkeyed(number))


def ids_of_keys(
    session: WriteSession, keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """The customers that these keys are connected with; they may no longer be there."""
    found = {}
    for source, key in keys:
        for (number,) in session.query(
            "SELECT target_id FROM etl_records WHERE entity = 'customers'"
            " AND source_key = %s AND source = %s",
            (key, source),
        ):
            found[source, key] = number
    return found


def source_names(session: WriteSession) -> list[str]:
    """All sources that ever ran."""
    return [name for (name,) in session.query("SELECT DISTINCT source FROM etl_runs")]


def rejected_of(session: WriteSession, person: Person) -> set[Pointer]:
    """The rejected records that have a key of the person or of one of their page views."""
    found: set[Pointer] = set()
    for source, key in person.keys:
        found.update(session.query(_REJECTED_CUSTOMERS, (key, source)))
    if ids := _numbers(person):
        found.update(session.query(_REJECTED_VIEWS.format(ids=_marks(ids)), ids))
    return found


def count_rows(session: WriteSession, person: Person, *, has_etl: bool) -> dict[str, int]:
    """How many rows there are to delete, by table."""
    counts: dict[str, int] = {}
    for table, condition, ids in _conditions(person, has_etl=has_etl):
        ((number,),) = session.query(f"SELECT COUNT(*) FROM {table} WHERE {condition}", ids)
        counts[table] = counts.get(table, 0) + number
    return counts


def delete_rows(
    session: WriteSession,
    person: Person,
    data: PersonalData,
    rejected: Iterable[Pointer],
    *,
    has_etl: bool,
) -> None:
    """Delete all rows, and mask the texts of runs, in one transaction."""
    with session.transaction():
        if has_etl:
            session.execute_many(
                "DELETE FROM etl_rejected WHERE run_id = %s AND page = %s AND position = %s",
                list(rejected),
            )
            changes = ", ".join(f"{column} = %s" for column in _TEXTS)
            session.execute_many(
                f"UPDATE etl_runs SET {changes} WHERE run_id = %s",
                [(*texts, run_id) for run_id, texts in run_texts(session, data)],
            )
        for table, condition, ids in _conditions(person, has_etl=has_etl):
            session.execute(f"DELETE FROM {table} WHERE {condition}", ids)


def checkpoints_with(session: WriteSession, data: PersonalData) -> list[str]:
    """The sources that continue at a page whose address or token mentions the person."""
    rows = session.query("SELECT source, position FROM etl_checkpoint")
    return [name for name, position in rows if data.mask_emails(str(position)) != str(position)]


def run_texts(session: WriteSession, data: PersonalData) -> list[tuple[int, list[str | None]]]:
    """The runs whose texts mention the person: number, masked texts."""
    found = []
    for run_id, *texts in session.query(
        f"SELECT run_id, {', '.join(_TEXTS)} FROM etl_runs WHERE"
        f" {' OR '.join(f'{column} LIKE %s' for column in _TEXTS)}",
        ["%@%"] * len(_TEXTS),
    ):
        masked = [text and data.mask_emails(text) for text in texts]
        if masked != texts:
            found.append((run_id, masked))
    return found


def _conditions(person: Person, *, has_etl: bool) -> list[tuple[str, str, list[int]]]:
    """Table, condition and its parameters of each part."""
    ids = _numbers(person)
    return [
        (part.table, part.condition.format(ids=_marks(ids)), ids)
        for part in PARTS
        if ids and (has_etl or not part.needs_etl)
    ]


def _numbers(person: Person) -> list[int]:
    """The ids that `customers` can have."""
    return [one for one in person.ids if isinstance(one, int)]


def _marks(values: Sequence[object]) -> str:
    return ", ".join(["%s"] * len(values))


def _pattern(email: str) -> str:
    """For LIKE: the letters beyond ASCII, of which SQLite knows no cases, are any character."""
    literal = email.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return "".join(letter if letter.isascii() else "_" for letter in literal)
