"""What the journal's rows and errors mean. Pure."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import Counter
from dataclasses import replace
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

import orjson

from integration.core.models import NOT_ATTEMPTED, CallResult, Counts, PageView
from integration.journal.packing import DamagedRowsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

EMAIL_KEY_BYTES = 8
EMAIL_DIGEST_BYTES = 2
FINGERPRINT_BYTES = 12
# What every SQLite file begins with: https://www.sqlite.org/fileformat.html
SQLITE_HEADER = b"SQLite format 3\0"
# Primary result codes: https://www.sqlite.org/rescode.html
_SQLITE_IOERR, _SQLITE_CORRUPT, _SQLITE_FULL, _SQLITE_NOTADB = 10, 11, 13, 26


class CallStatus(IntEnum):
    """The status of a call in the journal; a call without one was not attempted."""

    FAILED = 0
    DELIVERED = 1
    UNCHANGED = 2  # delivered by another run
    SUPERSEDED = 3  # left to a newer run, which has not delivered it yet
    REJECTED = 4  # the row cannot be sent as it is
    NOT_WANTED = 5  # not to be made: the query has no events, or the row no profile


SUCCEEDED = frozenset({CallStatus.DELIVERED, CallStatus.UNCHANGED})
NOT_SUCCEEDED = frozenset({CallStatus.FAILED, CallStatus.REJECTED})
# Nothing is left to do for a user whose calls have these.
DONE = SUCCEEDED | {CallStatus.NOT_WANTED}
# Calls that are to be made, as long as no newer run has the user.
PENDING = frozenset({None, CallStatus.FAILED})

# The fields of Counts.
UserOutcome = Literal[
    "successful", "partial_failures", "total_failures", "not_attempted", "unchanged"
]

DELIVERED_BEFORE = "unchanged: delivered by an earlier run"
SUPERSEDED_REASON = "not sent: a later run has newer data"
SECOND_ROW = "not sent: an earlier row of the query has the same customer id"

# The rows of run :run whose customer has an earlier one. It costs a sort of the ids, on the disk
# if need be; CROSS JOIN keeps SQLite from scanning all users for each such customer.
SECOND_ROWS = (
    "SELECT u.position FROM users u CROSS JOIN (SELECT customer_id, MIN(position) AS first"
    " FROM users WHERE run = :run GROUP BY customer_id HAVING COUNT(*) > 1) twice"
    " ON twice.customer_id = u.customer_id WHERE u.run = :run AND u.position > twice.first"
)


def path_column(path: str) -> str | bytes:
    """A path as the journal keeps it: text, or bytes if it is not UTF-8. Reading: `os.fsdecode`."""
    name = os.fsencode(path)
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name


def stored_id(customer_id: int | str) -> int | str:
    """A customer's id as SQLite can hold it: a number of more than 64 bits as its digits."""
    fits = isinstance(customer_id, str) or -(2**63) <= customer_id < 2**63
    return customer_id if fits else str(customer_id)


def email_key(email: str | None) -> bytes | None:
    """What finds an email in the journal: a digest of it in lower case; None without an email.

    Collisions are negligible: one among 18 quintillion pairs of different emails.
    """
    return _digest(str(email).lower().encode(), EMAIL_KEY_BYTES) if email else None


def email_digests(keys: Iterable[bytes | None]) -> bytes:
    """The first bytes of the keys of consecutive users: enough to rule out most others."""
    none = bytes(EMAIL_DIGEST_BYTES)
    return b"".join([(key or none)[:EMAIL_DIGEST_BYTES] for key in keys])


def fingerprint(row: bytes) -> bytes:
    """A short digest of a user's row; collisions are negligible."""
    return _digest(row, FINGERPRINT_BYTES)


def columns_column(columns: Sequence[str]) -> str | None:
    """The columns of a run's query as the journal keeps them: None for the documented ones."""
    return None if tuple(columns) == PageView._fields else orjson.dumps(columns).decode()


def columns_of(stored: str | None) -> tuple[str, ...]:
    """The columns that were stored so."""
    return PageView._fields if stored is None else tuple(orjson.loads(stored))


def _digest(content: bytes, size: int) -> bytes:
    return hashlib.blake2s(content, digest_size=size).digest()


def result_json(result: CallResult) -> str:
    """A result as the results file shows it."""
    return orjson.dumps(
        {
            "success": result.success,
            "response": result.response,
            "status_code": result.status_code,
            "attempts": result.attempts,
            "error": result.error,
        }
    ).decode()


def invalid_json(reason: str) -> str:
    """The result of a row that is not sent as it is."""
    return result_json(
        CallResult(
            success=False, response=reason, status_code=None, attempts=0, error="invalid_record"
        )
    )


def unchanged_json(reason: str) -> str:
    """The result of a user for which this run has nothing to send."""
    return result_json(
        CallResult(success=True, response=reason, status_code=None, attempts=0, error=None)
    )


def superseded_json() -> str:
    """The result of a user that this run leaves to a newer one, which has not delivered it."""
    return result_json(replace(NOT_ATTEMPTED, response=SUPERSEDED_REASON))


def outcome_of(profile: int | None, event: int | None) -> UserOutcome:
    """The outcome of a user from the statuses of the two calls."""
    statuses = {profile, event} - {CallStatus.NOT_WANTED}
    if statuses == {CallStatus.UNCHANGED}:
        return "unchanged"
    if statuses and statuses <= SUCCEEDED:
        return "successful"
    if statuses & SUCCEEDED:
        return "partial_failures"
    return "total_failures" if statuses & NOT_SUCCEEDED else "not_attempted"


def counts_of(groups: Iterable[tuple[int | None, int | None, int]], total: int) -> Counts:
    """Counts from (profile status, event status, users) groups.

    Users in no group were not attempted.
    """
    counts: Counter[str] = Counter()
    for profile, event, users in groups:
        counts[outcome_of(profile, event)] += users
    del counts["not_attempted"]
    return Counts(**counts, not_attempted=total - counts.total())


def is_corruption(error: Exception) -> bool:
    """Whether the file is not, or no longer, what was written."""
    damage = {_SQLITE_CORRUPT, _SQLITE_NOTADB}
    return isinstance(error, DamagedRowsError) or _sqlite_code(error) in damage


def is_full_disk(error: Exception) -> bool:
    """Whether there is no room to write, for the system or for SQLite."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return _sqlite_code(error) == _SQLITE_FULL


def advice(path: Path, error: Exception, next_step: str = "run with --resume") -> str:
    """What is wrong with the journal and what to do about it, in one line."""
    if is_full_disk(error):
        return (
            f"The disk is full: the journal {path} cannot be written."
            f" Free some space, then {next_step}"
        )
    if is_corruption(error):
        return f"The journal {path} is damaged ({error}): move it away and run again"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    cure = "its disk" if _sqlite_code(error) == _SQLITE_IOERR else "its folder"
    return f"Cannot use the journal {path}: {text}; check JOURNAL_FILE and {cure}"


def copying_advice(path: Path, folder: Path, error: Exception) -> str:
    """Why there is no copy of the journal in a temporary folder, and what to do about it."""
    if is_full_disk(error):
        return (
            f"The disk is full: no room for a copy of the journal {path} in {folder};"
            " make room, or set TMPDIR to another folder"
        )
    return advice(path, error)


def _sqlite_code(error: Exception) -> int | None:
    """SQLite's primary result code; the sqlite3 module's own errors have none."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
