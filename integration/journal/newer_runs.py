"""Which users of a run are in a newer run, too.

The newest run that has a customer has the newest data, so older runs neither send that customer
nor count them as pending. A customer is known by id and, since a profile in Iterable is one
email, by email: an address may have moved to another id meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from integration.journal.erased import IS_ERASED
from integration.journal.schema import EMAIL_DIGEST_BYTES, email_digests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from integration.journal.reading import JournalReader

# More pending users than this are looked up all at once, which reads the users of all newer runs.
MAX_USERS_LOOKED_UP = 100


def _is_in(view: str, condition: str = "") -> str:
    """SQL: whether a user, by customer or email, is in a run newer than :run for :projects."""
    newer = (
        f"FROM {view} n WHERE n.run > :run AND n.project GLOB :projects"
        f" AND n.sync = (SELECT sync FROM runs WHERE run = :run){condition}"
    )
    return (
        f"(customer_id IN (SELECT n.customer_id {newer})"
        f" OR (email_key IS NOT NULL AND email_key IN (SELECT n.email_key {newer}"
        " AND n.email_key IS NOT NULL)))"
    )


IN_NEWER_RUN = _is_in("loaded_users")
# In one other than :but.
IN_ANOTHER_NEWER_RUN = _is_in("loaded_users", " AND n.run != :but")
DELIVERED_BY_NEWER_RUN = _is_in("delivered_users")


def are_few_in_newer_runs(file: JournalReader, run: int, projects: str, users: str) -> bool:
    """Whether such users of a run are few, and all found in newer runs by their emails.

    Collecting the users of 60 runs takes seconds, and the few that failed weeks ago are usually in
    the next run. If this is false, nothing is known.

    Args:
        file: the journal.
        run: its number.
        projects: the projects whose newer runs count, as a pattern of SQLite's GLOB.
        users: the view that has these users.
    """
    keys = file.all(
        f"SELECT email_key FROM {users} WHERE run = ? AND NOT {IS_ERASED} LIMIT ?",
        (run, MAX_USERS_LOOKED_UP + 1),
    )
    if len(keys) > MAX_USERS_LOOKED_UP:
        return False
    newer = file.all(
        "SELECT run FROM runs WHERE run > :run AND project GLOB :projects AND total_users > 0"
        " AND sync = (SELECT sync FROM runs WHERE run = :run) ORDER BY run",
        {"run": run, "projects": projects},
    )
    return all(
        key is not None and any(positions_of(file, key, number) for (number,) in newer)
        for (key,) in keys
    )


def positions_of(file: JournalReader, key: bytes, run: int | None = None) -> list[tuple[int, int]]:
    """Run and position of the users with this `email_key`, newest run first.

    Args:
        file: the journal.
        key: of the email.
        run: the only run to look into.
    """
    digest = email_digests([key])
    within = "" if run is None else " AND run = :run"
    packs = file.all(
        f"SELECT run, first, digests FROM email_digests WHERE instr(digests, :digest){within}",
        {"digest": digest, "run": run},
    )
    return _with_key(file, key, _places(packs, digest))


def _with_key(
    file: JournalReader, key: bytes, places: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The places, as run and position, that have a user with this key and not just this digest."""
    chosen = list(places)
    if not chosen:
        return []
    return file.all(
        "SELECT u.run, u.position FROM json_each(?) CROSS JOIN users u"
        " ON u.run = json_extract(value, '$[0]') AND u.position = json_extract(value, '$[1]')"
        " WHERE u.email_key = ? ORDER BY u.run DESC, u.position",
        (orjson.dumps(chosen).decode(), key),
    )


def _places(packs: Iterable[tuple[int, int, bytes]], digest: bytes) -> Iterator[tuple[int, int]]:
    """Run and position of each user with this digest."""
    for run, first, digests in packs:
        place = digests.find(digest)
        while place >= 0:
            if place % EMAIL_DIGEST_BYTES == 0:
                yield run, first + place // EMAIL_DIGEST_BYTES
            place = digests.find(digest, place + 1)
