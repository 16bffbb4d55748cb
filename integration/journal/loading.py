"""Storing the users of a new run, with the outcomes that are known before the first call."""

from __future__ import annotations

from itertools import groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING

from integration.core.models import CALLS
from integration.journal.file import PAGE_SIZE
from integration.journal.outcomes import add_ranges, add_rows, update_outcomes
from integration.journal.queries import last_sent, last_sent_key
from integration.journal.ranges import OutcomeRange, Update, position_ranges, updated
from integration.journal.schema import (
    DELIVERED_BEFORE,
    SECOND_ROW,
    SECOND_ROWS,
    CallStatus,
    columns_column,
    email_key,
    fingerprint,
    invalid_json,
    stored_id,
    unchanged_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from integration.core.models import NewRun, NewUser
    from integration.journal.file import JournalFile


def store_users(
    file: JournalFile, run: int, new_run: NewRun, users: Iterable[NewUser], columns: Sequence[str]
) -> None:
    """Store all users of a run, and the columns of their query, in an open transaction."""
    stored = columns_column(columns)
    file.execute("UPDATE runs SET columns = ? WHERE run = ?", (stored, run))
    add_ranges(file, run, _stored_ranges(file, run, new_run, iter(users), stored or ""))
    _reject_second_rows(file, run, new_run.started_at)
    file.execute(
        "UPDATE runs SET status = 'running', total_users ="
        " (SELECT COALESCE(MAX(position), 0) FROM users WHERE run = :run) WHERE run = :run",
        {"run": run},
    )


def _stored_ranges(
    file: JournalFile, run: int, new_run: NewRun, users: Iterator[NewUser], columns: str
) -> Iterator[OutcomeRange]:
    """Store the users, and yield their outcomes as they are stored."""
    first = 1
    # The same values of other columns are other fields.
    names = columns.encode()
    while page := list(islice(users, PAGE_SIZE)):
        fingerprints: list[bytes | None] = [fingerprint(names + user.row) for user in page]
        unchanged = _unchanged(file, new_run, page, fingerprints) if new_run.incremental else []
        for index in unchanged:
            fingerprints[index] = None  # this run sends nothing that would have to be remembered
        _add_users(file, run, first, page, fingerprints)
        at = new_run.started_at
        updates = [*_unchanged_updates(first, unchanged, at), *_rejections(first, page, at)]
        yield from updated(_wanted_calls(first, page), updates)
        first += len(page)


def _wanted_calls(first: int, users: Sequence[NewUser]) -> Iterator[OutcomeRange]:
    """The users without an outcome, in ranges with the same calls to make."""
    for calls, same in groupby(users, attrgetter("calls")):
        last = first + sum(1 for _ in same) - 1
        profile, event = (None if call in calls else CallStatus.NOT_WANTED for call in CALLS)
        yield OutcomeRange(first, last, users_update_status=profile, events_track_status=event)
        first = last + 1


def _add_users(
    file: JournalFile,
    run: int,
    first: int,
    users: Sequence[NewUser],
    fingerprints: Sequence[bytes | None],
) -> None:
    keys = [email_key(user.email) for user in users]
    rows = [
        (run, position, stored_id(user.customer_id), key, digest)
        for position, (user, key, digest) in enumerate(
            zip(users, keys, fingerprints, strict=True), first
        )
    ]
    file.execute_many(
        "INSERT INTO users (run, position, customer_id, email_key, fingerprint)"
        " VALUES (?, ?, ?, ?, ?)",
        rows,
    )
    add_rows(file, run, first, [user.row for user in users], keys)


def _unchanged(
    file: JournalFile,
    new_run: NewRun,
    users: Sequence[NewUser],
    fingerprints: Sequence[bytes | None],
) -> list[int]:
    """The indexes of users that were last sent the same."""
    ids = [stored_id(user.customer_id) for user in users]
    known = last_sent(file, last_sent_key(new_run), ids)
    return [
        index
        for index, (customer_id, digest) in enumerate(zip(ids, fingerprints, strict=True))
        if known.get(customer_id) == digest
    ]


def _unchanged_updates(first: int, unchanged: Sequence[int], at: str) -> Iterator[Update]:
    text = unchanged_json(DELIVERED_BEFORE)
    for start, end in position_ranges(unchanged):
        yield Update(first + start, first + end, None, at, CallStatus.UNCHANGED, text)


def _rejections(first: int, users: Sequence[NewUser], at: str) -> Iterator[Update]:
    for position, user in enumerate(users, start=first):
        if user.rejection:
            text = invalid_json(user.rejection)
            yield Update(position, position, None, at, CallStatus.REJECTED, text)


def _reject_second_rows(file: JournalFile, run: int, at: str) -> None:
    """Reject all rows of a customer but the first."""
    text = invalid_json(SECOND_ROW)
    positions = [position for (position,) in file.all(SECOND_ROWS, {"run": run})]
    updates = [
        Update(first, last, None, at, CallStatus.REJECTED, text)
        for first, last in position_ranges(sorted(positions))
    ]
    for start in range(0, len(updates), PAGE_SIZE):
        update_outcomes(file, run, updates[start : start + PAGE_SIZE])
