"""What `forget` shows: where a person is, and what remains to be done. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from integration.core.personal_data import Person


@dataclass
class Findings:
    """Where a person was found.

    Attributes:
        places: lines such as "customers: 1 row".
        unreadable: what cannot be searched.
        kept: what still has the address for a while.
        others: the addresses of other customers who have or had one of the person's.
    """

    places: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    others: dict[int, str] = field(default_factory=dict)

    def add(self, place: str, number: int, what: str, more: str = "") -> None:
        """Add a place, unless it has nothing of the person."""
        if number:
            self.places.append(f"{place}: {amount(number, what)}{more}")


def amount(number: int, what: str) -> str:
    """A number of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def report_lines(
    email: str, person: Person, findings: Findings, sources: Sequence[str], *, done: bool
) -> list[str]:
    """The answer of the command."""
    unreadable = [f"Cannot be searched: {text}" for text in findings.unreadable]
    others = [
        f"Customer {number} has shared an address with them, and now has {address}; to erase that "
        f"customer: python cli.py forget {address} --yes"
        for number, address in sorted(findings.others.items())
    ]
    if not findings.places:
        return [f"{email} is in none of the places.", *others, *unreadable]
    return [
        f"{email} was erased:" if done else f"{email} is in these places:",
        *(f"  {place}" for place in findings.places),
        *_known(email, person),
        *others,
        *unreadable,
        *findings.kept,
        *(_remaining(person.emails, sources) if done else _advice(email)),
    ]


def _known(email: str, person: Person) -> list[str]:
    known = [
        *(sorted(person.emails - {email.lower()})),
        *(f"customer {one}" for one in sorted(person.ids, key=str)),
        *(f"{source} key {key}" for source, key in sorted(person.keys)),
    ]
    return [f"Also found by: {', '.join(known)}"] if known else []


def _advice(email: str) -> list[str]:
    return [f"Nothing was erased; to do it: python cli.py forget {email} --yes"]


def _remaining(emails: Iterable[str], sources: Sequence[str]) -> list[str]:
    """What is out of reach; of Iterable as in its API documentation."""
    lines = ["What remains to be done:"]
    for email in sorted(emails):
        body = orjson.dumps({"email": email}).decode()
        lines.append(
            f"  Iterable: POST /api/users/forget {body} deletes the user and prevents new data; "
            f"DELETE /api/users/{email} only deletes"
        )
    if sources:
        lines.append(
            f"  {', '.join(sources)}: erase the person there, or the next run that reads the "
            "record (with --full-refresh, any record) brings it back"
        )
    lines.append("  Backups, and the binary logs of a MySQL or MariaDB server until they expire")
    return lines
