"""Journals of earlier versions, built by the statements of their time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from integration.core.csv_lines import csv_line
from integration.iterable.payloads import payloads
from integration.journal.migrations import (
    _VERSION_6,
    FUNCTIONS,
    _add_email_digests,
    _pack_page,
    migrate,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from integration.core.models import PageView

AT = "2026-01-13T14:30:46+00:00"
# The status and the result of both calls, as a row of `outcomes` has them.
Outcome = tuple[int | None, str | None, int | None, str | None]


@dataclass(frozen=True, slots=True)
class OldUser:
    """A user as versions 1 to 4 stored one; up to version 3 without the line of the CSV.

    Version 5 has users that were stored by version 4, at positions without gaps.
    """

    position: int
    customer_id: int | str
    email: str | None
    profile: bytes
    event: bytes
    csv_line: str
    outcome: Outcome | None = None


def old_user(
    position: int, view: PageView, outcome: Outcome | None = None, **fields: str
) -> OldUser:
    """The user of this row; `fields` are added to its profile, as older versions did."""
    profile, event = payloads(view)
    if fields:
        body = orjson.loads(profile)
        profile = orjson.dumps({**body, "dataFields": body["dataFields"] | fields})
    return OldUser(position, view.id, view.email, profile, event, csv_line(view), outcome)


def old_journal(
    path: Path, version: int, users: Iterable[OldUser], *, run: int = 1, **columns: object
) -> None:
    """Add a run to a journal of this version, which is made if it is missing."""
    users = list(users)
    values = {
        "run": run,
        "run_id": f"old-{run}",
        "started_at": AT,
        "status": "completed",
        "authentication": "API Key",
        "csv_file": "a.csv",
        "results_file": "a.json",
        "dry_run": 0,
        "total_users": len(users),
        **columns,
    }
    with closing(sqlite3.connect(path)) as database, database:
        _create(database, version)
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        database.execute(f"INSERT INTO runs ({names}) VALUES ({marks})", list(values.values()))
        if version >= 5:
            _add_packed(database, run, users)
        else:
            for user in users:
                _add(database, version, run, user)
        if version >= 6:
            _add_what_version_6_has(database)


def _create(database: sqlite3.Connection, version: int) -> None:
    for function in FUNCTIONS:
        database.create_function(function.__name__, -1, function)
    if database.execute("PRAGMA user_version").fetchone() == (0,):
        for step in range(version):
            migrate(database, step)
        database.execute(f"PRAGMA user_version = {version}")


def _add_packed(database: sqlite3.Connection, run: int, users: list[OldUser]) -> None:
    rows = [
        (
            *(user.customer_id, user.email, user.profile, user.event, user.csv_line),
            *((AT, *user.outcome) if user.outcome else (None,) * 5),
        )
        for user in users
    ]
    for start in range(0, len(rows), 1000):
        _pack_page(database, run, start + 1, rows[start : start + 1000])


def _add_what_version_6_has(database: sqlite3.Connection) -> None:
    """Counts and digests of all runs, as its step adds them to older ones."""
    database.execute("DELETE FROM email_digests")
    _add_email_digests(database)
    for statement in _VERSION_6.split(";"):
        if statement.strip().startswith("UPDATE"):
            database.execute(statement)


def _add(database: sqlite3.Connection, version: int, run: int, user: OldUser) -> None:
    row = [run, user.position, user.customer_id, user.email, user.profile, user.event]
    if version >= 4:
        row.append(user.csv_line)
    database.execute(f"INSERT INTO users VALUES ({', '.join('?' * len(row))})", row)
    if user.outcome:
        database.execute(
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)",
            (run, user.position, AT, *user.outcome),
        )
