"""How the journal's file is laid out, and what its rows mean. Pure."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from integration.core.models import CALLS, NOT_ATTEMPTED, CallResult, Counts
from integration.iterable.payloads import undeliverable_reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCHEMA_VERSION = 3
# What every SQLite file begins with: https://www.sqlite.org/fileformat.html
SQLITE_HEADER = b"SQLite format 3\0"
# Primary result codes: https://www.sqlite.org/rescode.html
_SQLITE_IOERR, _SQLITE_CORRUPT, _SQLITE_FULL, _SQLITE_NOTADB = 10, 11, 13, 26

# Payloads and outcomes stand apart: outcomes are rewritten and counted, and are small.
_VERSION_1 = """
CREATE TABLE runs (
    run INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    status TEXT NOT NULL DEFAULT 'running',
    stop_reason TEXT,
    mode TEXT,
    authentication TEXT NOT NULL,
    csv_file TEXT NOT NULL,
    results_file TEXT NOT NULL,
    dry_run INTEGER NOT NULL,
    total_users INTEGER NOT NULL DEFAULT 0,
    retries TEXT NOT NULL DEFAULT '{}',
    seconds_waited REAL NOT NULL DEFAULT 0
);
CREATE TABLE users (
    run INTEGER NOT NULL,
    position INTEGER NOT NULL,
    customer_id INTEGER NOT NULL,
    email TEXT,
    profile BLOB NOT NULL,
    event BLOB NOT NULL,
    PRIMARY KEY (run, position)
) WITHOUT ROWID;
CREATE TABLE outcomes (
    run INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at TEXT NOT NULL,
    users_update_success INTEGER,
    users_update TEXT,
    events_track_success INTEGER,
    events_track TEXT,
    PRIMARY KEY (run, position)
) WITHOUT ROWID;
"""

# `settled`: the run's outcomes are in last_sent, which outlives the run.
_VERSION_2 = """
ALTER TABLE runs ADD COLUMN kind TEXT NOT NULL DEFAULT 'full';
ALTER TABLE runs ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN retry_of INTEGER;
CREATE TABLE last_sent (
    project TEXT NOT NULL,
    customer_id INTEGER NOT NULL,
    profile BLOB,
    event BLOB,
    PRIMARY KEY (project, customer_id)
) WITHOUT ROWID;
"""
# Columns without a type keep a customer's id as it is; INTEGER made 7 of the text 007, and a
# REAL of one with many digits. `named_by` tells whether an event's id was made from a
# customer's: a user whose id was changed is known by the email, as a BLOB, from then on.
# `updated_at`: the run's last sign of life; SQLite syncs no transaction that changes nothing.
_VERSION_3 = """
CREATE TABLE exact_users (
    run INTEGER NOT NULL,
    position INTEGER NOT NULL,
    customer_id NOT NULL,
    email TEXT,
    profile BLOB NOT NULL,
    event BLOB NOT NULL,
    PRIMARY KEY (run, position)
) WITHOUT ROWID;
INSERT INTO exact_users
    SELECT run, position,
        CASE WHEN typeof(customer_id) != 'real' AND named_by(event, customer_id)
            THEN customer_id ELSE CAST(COALESCE(lower(email), '') AS BLOB) END,
        email, profile, event
    FROM users ORDER BY run, position;
DROP TABLE users;
ALTER TABLE exact_users RENAME TO users;
CREATE TABLE exact_last_sent (
    project TEXT NOT NULL,
    customer_id NOT NULL,
    profile BLOB,
    event BLOB,
    PRIMARY KEY (project, customer_id)
) WITHOUT ROWID;
INSERT INTO exact_last_sent SELECT * FROM last_sent WHERE typeof(customer_id) != 'real';
DROP TABLE last_sent;
ALTER TABLE exact_last_sent RENAME TO last_sent;
ALTER TABLE runs ADD COLUMN updated_at TEXT;
ALTER TABLE runs ADD COLUMN user_limit INTEGER;
ALTER TABLE runs ADD COLUMN incremental INTEGER NOT NULL DEFAULT 0;
"""
# From an empty file to version 1, from version 1 to version 2, …
MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3)

# What stands in a success column: NULL is not attempted; LEFT is a user whom this run leaves to
# a later one, which has not delivered them either.
FAILED, DELIVERED, UNCHANGED, SUPERSEDED = 0, 1, 2, 3
DELIVERED_BEFORE = "unchanged: delivered by an earlier run"
SUPERSEDED_REASON = "not sent: a later run has newer data"
SECOND_ROW = "not sent: an earlier row of the query has the same customer id"

# Outcome o is of a row that is not sent as it is.
IS_INVALID = "json_extract(o.users_update, '$.error') IS 'invalid_record'"
# The rows of run :run whose customer has an earlier one. It costs a sort of the ids, on the disk
# if need be; CROSS JOIN keeps SQLite from going through all users for each such customer.
SECOND_ROWS = (
    "SELECT u.position FROM users u CROSS JOIN (SELECT customer_id, MIN(position) AS first"
    " FROM users WHERE run = :run GROUP BY customer_id HAVING COUNT(*) > 1) twice"
    " ON twice.customer_id = u.customer_id WHERE u.run = :run AND u.position > twice.first"
)


def _in_later_run(join: str = "", condition: str = "") -> str:
    """Whether user u of run :run is in a later run for :projects, too.

    The newest run that has a customer answers for them. A run that is being written has no
    users yet. An id that came from a journal of version 2 may have been a text: one that was
    changed is known by the email, one of digits only by both.
    """
    later = (
        f"FROM runs later JOIN users n ON n.run = later.run{join} WHERE later.run > :run"
        f" AND later.project GLOB :projects AND later.total_users > 0{condition}"
    )
    has_text_ids = (
        "(SELECT typeof(a.customer_id) FROM users a WHERE a.run = later.run"
        " ORDER BY a.position LIMIT 1) = 'text'"
    )
    return (
        f"(u.customer_id IN (SELECT n.customer_id {later})"
        " OR (typeof(u.customer_id) = 'integer'"
        " AND (CAST(u.customer_id AS TEXT), COALESCE(lower(u.email), ''))"
        f" IN (SELECT n.customer_id, COALESCE(lower(n.email), '') {later} AND {has_text_ids}))"
        " OR (typeof(u.customer_id) = 'blob' AND u.customer_id"
        f" IN (SELECT CAST(COALESCE(lower(n.email), '') AS BLOB) {later})))"
    )


IN_LATER_RUN = _in_later_run()
IN_ANOTHER_LATER_RUN = _in_later_run(condition=" AND later.run != :but")
DELIVERED_LATER = _in_later_run(
    " JOIN outcomes p ON p.run = n.run AND p.position = n.position",
    f" AND p.users_update_success IN ({DELIVERED}, {UNCHANGED})"
    f" AND p.events_track_success IN ({DELIVERED}, {UNCHANGED})",
)

# Notes one call of one user: run, position, time, success, result.
UPSERT = {
    call: (
        f"INSERT INTO outcomes (run, position, at, {call}_success, {call})"
        f" VALUES (?, ?, ?, ?, ?) ON CONFLICT (run, position) DO UPDATE SET at = excluded.at,"
        f" {call}_success = excluded.{call}_success, {call} = excluded.{call}"
    )
    for call in CALLS
}


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


def refusal_json(email: str | None) -> str | None:
    """The result of a user who cannot be sent, or None for one who can."""
    reason = undeliverable_reason(email)
    return None if reason is None else invalid_json(reason)


def invalid_json(reason: str) -> str:
    """The result of a row that is not sent as it is."""
    return result_json(
        CallResult(
            success=False, response=reason, status_code=None, attempts=0, error="invalid_record"
        )
    )


def unchanged_json(reason: str) -> str:
    """The result of a user to whom this run has nothing to send."""
    return result_json(
        CallResult(success=True, response=reason, status_code=None, attempts=0, error=None)
    )


def superseded_json() -> str:
    """The result of a user whom this run leaves to a later one that has not delivered them."""
    return result_json(replace(NOT_ATTEMPTED, response=SUPERSEDED_REASON))


def counts_of(groups: Iterable[tuple[int | None, int | None, int]], total: int) -> Counts:
    """Counts from (profile, event, users) groups; users in none were not attempted."""
    successful = partial = failed = unchanged = 0
    for profile, event, users in groups:
        if profile == event == SUPERSEDED:
            continue
        if profile == event == UNCHANGED:
            unchanged += users
        elif profile and event:
            successful += users
        elif profile or event:
            partial += users
        elif profile is not None or event is not None:
            failed += users
    return Counts(
        successful=successful,
        partial_failures=partial,
        total_failures=failed,
        not_attempted=total - successful - partial - failed - unchanged,
        unchanged=unchanged,
    )


def is_corruption(error: Exception) -> bool:
    """Whether SQLite found that the file is not, or no longer, what it wrote."""
    return _sqlite_code(error) in {_SQLITE_CORRUPT, _SQLITE_NOTADB}


def is_full_disk(error: Exception) -> bool:
    """Whether there is no room to write, for the system or for SQLite."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return _sqlite_code(error) == _SQLITE_FULL


def advice(path: Path, error: Exception) -> str:
    """What happened to the journal and what to do about it, in one line."""
    if is_full_disk(error):
        return (
            f"The disk is full: the journal {path} cannot be written."
            " Free some space, then run with --resume"
        )
    if is_corruption(error):
        return f"The journal {path} is damaged ({error}): move it away and run again"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    cure = "its disk" if _sqlite_code(error) == _SQLITE_IOERR else "its folder"
    return f"Cannot use the journal {path}: {text}; check JOURNAL_FILE and {cure}"


def _sqlite_code(error: Exception) -> int | None:
    """SQLite's primary result code; the sqlite3 module's own errors have none."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
