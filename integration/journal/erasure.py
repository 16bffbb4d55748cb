"""Erasing a person's data from the journal.

A user is found by the digest of the email or by the customer's id, in every run; the rows of up to
a thousand users are unpacked, changed and packed again. One transaction changes everything.
"""

from __future__ import annotations

import os
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from integration.core.mapping import person_in
from integration.core.models import CALLS
from integration.core.personal_data import Person
from integration.journal.erased import (
    erased_id,
    erased_row,
    without_response,
)
from integration.journal.outcomes import ranges_between, replace_range
from integration.journal.packing import decode, pack, unpack
from integration.journal.queries import read_run
from integration.journal.schema import EMAIL_DIGEST_BYTES, email_digests, email_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from integration.core.personal_data import PersonalData
    from integration.journal.file import JournalFile

_COLUMNS = "run, position, customer_id"


class _Texts(NamedTuple):
    """Columns of a table that may quote what was sent, and its primary key."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]


_TEXTS = (_Texts("outcomes", ("run", "first"), CALLS), _Texts("runs", ("run",), ("stop_reason",)))


class JournalTraces(NamedTuple):
    """What a journal has of a person.

    Attributes:
        users: rows of users, each of one run.
        runs: the runs that have them.
        digests: digests of the email, by which the person is found in all runs.
        last_sent: fingerprints of what was last sent.
        texts: outcomes of other users and reasons of runs that mention the person.
    """

    users: int
    runs: int
    digests: int
    last_sent: int
    texts: int


def known_of(file: JournalFile, person: Person) -> Person:
    """All addresses, names and ids of the users that are the person's."""
    ids, emails, names = set(), set(), set()
    for run, users in _by_run(_users_of(file, person)):
        columns = read_run(file, run).columns
        for _, customer_id, row in _rows_of(file, run, users):
            if not isinstance(customer_id, bytes):
                ids.add(customer_id)
            email, first, last = _identity(row, columns)
            if email:
                emails.add(email.lower())
            if first or last:
                names.add((first or "", last or ""))
    return Person(frozenset(emails), frozenset(names), frozenset(ids))


def run_folders(file: JournalFile) -> list[Path]:
    """The folders of the files that runs have written."""
    rows = file.all("SELECT DISTINCT csv_file, results_file FROM runs")
    return list({Path(os.fsdecode(path)).parent for paths in rows for path in paths})


def find_traces(file: JournalFile, person: Person, data: PersonalData) -> JournalTraces:
    """What there is to erase."""
    users = _users_of(file, person)
    where, values = _is_customer(person)
    (last_sent,) = file.one(f"SELECT COUNT(*) FROM last_sent WHERE {where}", values)
    texts = sum(len(_texts_of(file, person, data, place)) for place in _TEXTS)
    digests = sum(_count_digests(file, run, some) for run, some in _by_run(users))
    return JournalTraces(len(users), len({run for run, *_ in users}), digests, last_sent, texts)


def erase_traces(file: JournalFile, person: Person, data: PersonalData) -> None:
    """Erase the person, in one transaction."""
    where, values = _is_customer(person)
    file.execute("PRAGMA secure_delete = ON")
    with file.transaction():
        for run, users in _by_run(_users_of(file, person)):
            _erase_users(file, run, users)
        file.execute(f"DELETE FROM last_sent WHERE {where}", values)
        for place in _TEXTS:
            changes = ", ".join(f"{column} = ?" for column in place.columns)
            where = " AND ".join(f"{name} = ?" for name in place.key)
            rows = _texts_of(file, person, data, place)
            file.execute_many(f"UPDATE {place.table} SET {changes} WHERE {where}", rows)


def _users_of(file: JournalFile, person: Person) -> list[tuple[Any, ...]]:
    """Run, position and customer id of each user that is the person's."""
    where, values = _is_customer(person)
    keys = [email_key(email) for email in person.emails]
    by_email = f"email_key IN ({_marks(keys)})"
    return file.all(
        f"SELECT {_COLUMNS} FROM users WHERE {by_email} OR {where} ORDER BY run, position",
        (*keys, *values),
    )


def _is_customer(person: Person) -> tuple[str, list[object]]:
    """A condition for the customer's ids, as numbers, as text, or replaced by the email."""
    numbers = [str(one) for one in person.ids if isinstance(one, int)]
    # Version 3 of the schema put the email in place of an id that was lost.
    values: list[object] = [*person.ids, *numbers, *(email.encode() for email in person.emails)]
    return f"customer_id IN ({_marks(values)})", values


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _by_run(users: Iterable[tuple[Any, ...]]) -> Iterator[tuple[int, dict[int, Any]]]:
    """Customer ids by position, for each run."""
    for run, some in groupby(users, itemgetter(0)):
        yield run, {position: customer_id for _, position, customer_id in some}


def _packs_of(file: JournalFile, run: int, positions: Iterable[int]) -> dict[int, list[int]]:
    """The positions by the pack that has their rows, which its first position identifies."""
    packs: dict[int, list[int]] = {}
    for position in positions:
        (first,) = file.one(
            "SELECT MAX(first) FROM packed_rows WHERE run = ? AND first <= ?", (run, position)
        )
        file.check(first is not None, "rows are missing")
        packs.setdefault(first, []).append(position)
    return packs


def _pack_at(file: JournalFile, run: int, first: int) -> tuple[int, bytes]:
    """The number of rows of a pack, and its content."""
    last, content = file.one(
        "SELECT last, content FROM packed_rows WHERE run = ? AND first = ?", (run, first)
    )
    return last - first + 1, content


def _rows_of(file: JournalFile, run: int, users: dict[int, Any]) -> Iterator[tuple[int, Any, Any]]:
    """Position, customer id and decoded row of these users."""
    for first, positions in _packs_of(file, run, users).items():
        count, content = _pack_at(file, run, first)
        rows = file.unpacked(decode, content, count)
        for position in positions:
            yield position, users[position], rows[position - first]


def _identity(
    row: Any,  # noqa: ANN401  decoded JSON
    columns: Sequence[str],
) -> tuple[str | None, str | None, str | None]:
    """Email, first and last name of a row."""
    if isinstance(row, dict):
        profile = row["profile"]
        fields = profile.get("dataFields", {})
        return profile["email"], fields.get("first_name"), fields.get("last_name")
    found = person_in(columns, row)
    texts = {name: None if value is None else str(value) for name, value in found.items()}
    return texts["email"], texts["first_name"], texts["last_name"]


def _erase_users(file: JournalFile, run: int, users: dict[int, Any]) -> None:
    for first, positions in _packs_of(file, run, users).items():
        count, content = _pack_at(file, run, first)
        lines = file.unpacked(unpack, content, count)
        for position in positions:
            lines[position - first] = erased_row(lines[position - first])
        file.execute(
            "UPDATE packed_rows SET content = ? WHERE run = ? AND first = ?",
            (pack(lines), run, first),
        )
        _erase_digests(file, run, first, positions)
    file.execute_many(
        "UPDATE users SET customer_id = ?, email_key = NULL, fingerprint = NULL"
        " WHERE run = ? AND position = ?",
        [(erased_id(run, position), run, position) for position in users],
    )
    for position in users:
        (piece,) = ranges_between(file, run, position, position)
        replace_range(file, run, without_response(piece._replace(first=position, last=position)))


def _digests_at(file: JournalFile, run: int, first: int) -> bytearray:
    """The digests of the emails of a pack's users."""
    row = file.one("SELECT digests FROM email_digests WHERE run = ? AND first = ?", (run, first))
    file.check(row is not None, "digests are missing")
    return bytearray(row[0])


def _digest_slice(index: int) -> slice:
    return slice(index * EMAIL_DIGEST_BYTES, (index + 1) * EMAIL_DIGEST_BYTES)


def _count_digests(file: JournalFile, run: int, users: Iterable[int]) -> int:
    """How many of the users have a digest."""
    return sum(
        any(digests[_digest_slice(position - first)])
        for first, positions in _packs_of(file, run, users).items()
        for digests in [_digests_at(file, run, first)]
        for position in positions
    )


def _erase_digests(file: JournalFile, run: int, first: int, positions: Iterable[int]) -> None:
    """Leave those of users without an email in their place."""
    digests = _digests_at(file, run, first)
    for position in positions:
        digests[_digest_slice(position - first)] = email_digests([None])
    file.execute(
        "UPDATE email_digests SET digests = ? WHERE run = ? AND first = ?",
        (bytes(digests), run, first),
    )


def _texts_of(
    file: JournalFile, person: Person, data: PersonalData, place: _Texts
) -> list[tuple[Any, ...]]:
    """The rows whose texts mention one of the addresses: the masked texts, then the key."""
    patterns = [f"%{_escaped(form)}%" for email in person.emails for form in _forms(email)]
    likes = [f"{column} LIKE ? ESCAPE '!'" for column in place.columns for _ in patterns]
    rows = file.all(
        f"SELECT {', '.join((*place.columns, *place.key))} FROM {place.table}"
        f" WHERE {' OR '.join(likes)}",
        patterns * len(place.columns),
    )
    size = len(place.columns)
    masked = [
        (*(text and data.mask_emails(text) for text in row[:size]), *row[size:]) for row in rows
    ]
    return [new for new, old in zip(masked, rows, strict=True) if new != old]


def _forms(email: str) -> set[str]:
    """An address as JSON and, without letters that LIKE does not compare in any case, as text."""
    return {email, orjson.dumps(email).decode()[1:-1]}


def _escaped(text: str) -> str:
    """A pattern for LIKE, in which letters beyond ASCII are any character."""
    literal = text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return "".join(letter if letter.isascii() else "_" for letter in literal)
