"""The journal's tables and views, and the migrations from older versions.

The steps are frozen: a new version adds a step, with the functions it needs, and never changes
an earlier one.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Any

import orjson

from integration.journal.early_versions import (
    VERSION_1,
    VERSION_2,
    VERSION_3,
    VERSION_4,
    csv_line_of,
    named_by,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

# users: each user of a run, by position from 1 without gaps, with what finds it in other runs
# packed_rows: the rows of consecutive users, compressed (see packing.py)
# outcomes: ranges of positions that cover each user of a run exactly once (see ranges.py)
# last_sent: projects by number, and one fingerprint of what is sent. What earlier versions kept
# is dropped, so that the next incremental run sends all users once more.
# The views are those of version 4; outcome_counts also tells which users are pending.
_VERSION_5 = """
DROP VIEW outcome_counts;
DROP VIEW delivered_users;
DROP VIEW loaded_users;
DROP VIEW rejected_users;
DROP VIEW pending_users;
DROP VIEW user_outcomes;
ALTER TABLE users RENAME TO users_4;
ALTER TABLE outcomes RENAME TO outcomes_4;
DROP TABLE last_sent;
CREATE TABLE users (
    run INTEGER NOT NULL,
    position INTEGER NOT NULL,
    customer_id NOT NULL,
    email_key BLOB,
    fingerprint BLOB,
    PRIMARY KEY (run, position)
) WITHOUT ROWID;
CREATE TABLE packed_rows (
    run INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (run, first)
);
CREATE TABLE outcomes (
    run INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    at TEXT,
    users_update_status INTEGER,
    users_update TEXT,
    events_track_status INTEGER,
    events_track TEXT,
    PRIMARY KEY (run, first)
) WITHOUT ROWID;
CREATE TABLE projects (
    number INTEGER PRIMARY KEY,
    project TEXT NOT NULL UNIQUE
);
CREATE TABLE last_sent (
    project INTEGER NOT NULL,
    customer_id NOT NULL,
    fingerprint BLOB,
    PRIMARY KEY (project, customer_id)
) WITHOUT ROWID;
CREATE VIEW user_outcomes AS
    SELECT o.run, u.position, u.customer_id, u.email_key, u.fingerprint, o.at,
        o.users_update_status, o.users_update, o.events_track_status, o.events_track
    FROM outcomes o CROSS JOIN users u
        ON u.run = o.run AND u.position BETWEEN o.first AND o.last;
CREATE VIEW pending_users AS
    SELECT * FROM user_outcomes
    WHERE COALESCE(users_update_status, 0) = 0 OR COALESCE(events_track_status, 0) = 0;
CREATE VIEW rejected_users AS
    SELECT *, json_extract(users_update, '$.response') AS reason
    FROM user_outcomes WHERE users_update_status = 4;
CREATE VIEW loaded_users AS
    SELECT u.run, u.position, r.project, u.customer_id, u.email_key
    FROM runs r JOIN users u ON u.run = r.run
    WHERE r.total_users > 0;
CREATE VIEW delivered_users AS
    SELECT o.*, r.project
    FROM runs r JOIN user_outcomes o ON o.run = r.run
    WHERE r.total_users > 0
        AND o.users_update_status IN (1, 2) AND o.events_track_status IN (1, 2);
CREATE VIEW outcome_counts AS
    SELECT run, users_update_status, events_track_status, SUM(last - first + 1) AS users,
        COALESCE(users_update_status, 0) = 0 OR COALESCE(events_track_status, 0) = 0 AS pending
    FROM outcomes GROUP BY run, users_update_status, events_track_status;
"""
# runs: the outcomes of its users, once it has ended; NULL before
# email_digests: the first two bytes of the email_key of each user in packed_rows (see people.py)
_VERSION_6 = """
ALTER TABLE runs ADD COLUMN successful INTEGER;
ALTER TABLE runs ADD COLUMN partial_failures INTEGER;
ALTER TABLE runs ADD COLUMN total_failures INTEGER;
ALTER TABLE runs ADD COLUMN not_attempted INTEGER;
ALTER TABLE runs ADD COLUMN unchanged INTEGER;
CREATE TABLE email_digests (
    run INTEGER NOT NULL,
    first INTEGER NOT NULL,
    digests BLOB NOT NULL,
    PRIMARY KEY (run, first)
);
UPDATE runs SET successful = 0, partial_failures = 0, total_failures = 0, unchanged = 0
    WHERE status NOT IN ('loading', 'running');
UPDATE runs SET successful = c.successful, partial_failures = c.partial_failures,
        total_failures = c.total_failures, unchanged = c.unchanged
    FROM (
        SELECT run,
            SUM(users) FILTER (WHERE profile = 2 AND event = 2) AS unchanged,
            SUM(users) FILTER (WHERE profile IN (1, 2) AND event IN (1, 2)
                AND NOT (profile = 2 AND event = 2)) AS successful,
            SUM(users) FILTER (WHERE (profile IN (1, 2)) <> (event IN (1, 2)))
                AS partial_failures,
            SUM(users) FILTER (WHERE NOT profile IN (1, 2) AND NOT event IN (1, 2)
                AND (profile IN (0, 4) OR event IN (0, 4))) AS total_failures
        FROM (
            SELECT run, users, COALESCE(users_update_status, -1) AS profile,
                COALESCE(events_track_status, -1) AS event
            FROM outcome_counts
        ) GROUP BY run
    ) c
    WHERE runs.run = c.run AND runs.successful IS NOT NULL;
UPDATE runs SET successful = COALESCE(successful, 0),
        partial_failures = COALESCE(partial_failures, 0),
        total_failures = COALESCE(total_failures, 0), unchanged = COALESCE(unchanged, 0)
    WHERE status NOT IN ('loading', 'running');
UPDATE runs SET not_attempted =
    total_users - successful - partial_failures - total_failures - unchanged;
"""
# notified: what was last told of a delivery or a source; see notified.py
_VERSION_7 = """
CREATE TABLE notified (
    scope TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    at TEXT NOT NULL
) WITHOUT ROWID;
"""

# runs: the columns of the query as JSON, NULL for those of Query 2; the sync that a run is one of.
# A call with status 5 is not to be made, so that it is neither pending nor failed.
_VERSION_8 = """
ALTER TABLE runs ADD COLUMN columns TEXT;
ALTER TABLE runs ADD COLUMN sync TEXT NOT NULL DEFAULT '';
DROP VIEW delivered_users;
DROP VIEW loaded_users;
DROP VIEW rejected_users;
CREATE VIEW rejected_users AS
    SELECT *, json_extract(COALESCE(users_update, events_track), '$.response') AS reason
    FROM user_outcomes WHERE users_update_status = 4 OR events_track_status = 4;
CREATE VIEW loaded_users AS
    SELECT u.run, u.position, r.project, r.sync, u.customer_id, u.email_key
    FROM runs r JOIN users u ON u.run = r.run
    WHERE r.total_users > 0;
CREATE VIEW delivered_users AS
    SELECT o.*, r.project, r.sync
    FROM runs r JOIN user_outcomes o ON o.run = r.run
    WHERE r.total_users > 0
        AND o.users_update_status IN (1, 2, 5) AND o.events_track_status IN (1, 2, 5);
"""


def _add_email_digests(database: sqlite3.Connection) -> None:
    packs = database.execute("SELECT run, first, last FROM packed_rows").fetchall()
    for run, first, last in packs:
        keys = database.execute(
            "SELECT email_key FROM users WHERE run = ? AND position BETWEEN ? AND ?"
            " ORDER BY position",
            (run, first, last),
        )
        digests = b"".join([(key or b"\0\0")[:2] for (key,) in keys])
        database.execute("INSERT INTO email_digests VALUES (?, ?, ?)", (run, first, digests))


def _pack_users(database: sqlite3.Connection) -> None:
    """Copy the users and outcomes of version 4, whose positions may have gaps."""
    for (run,) in database.execute("SELECT run FROM runs ORDER BY run").fetchall():
        rows = database.execute(
            "SELECT customer_id, email, profile, event, csv_line, at, users_update_status,"
            " users_update, events_track_status, events_track"
            " FROM users_4 u LEFT JOIN outcomes_4 o ON o.run = u.run AND o.position = u.position"
            " WHERE u.run = ? ORDER BY u.position",
            (run,),
        )
        first = 1
        while page := rows.fetchmany(_PAGE_SIZE):
            _pack_page(database, run, first, page)
            first += len(page)
    for table in ("users_4", "outcomes_4"):
        database.execute(f"DROP TABLE {table}")


def _pack_page(
    database: sqlite3.Connection, run: int, first: int, page: Sequence[tuple[Any, ...]]
) -> None:
    database.executemany(
        "INSERT INTO users VALUES (?, ?, ?, ?, NULL)",
        [
            (run, position, customer_id, _email_key(email))
            for position, (customer_id, email, *_) in enumerate(page, first)
        ],
    )
    lines = [
        b'{"profile":%b,"event":%b,"csv_line":%b}' % (profile, event, orjson.dumps(line))
        for _, _, profile, event, line, *_ in page
    ]
    content = zlib.compress(b"\n".join(lines), 1)
    database.execute(
        "INSERT INTO packed_rows VALUES (?, ?, ?, ?)", (run, first, first + len(page) - 1, content)
    )
    database.executemany(
        "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(run, position, position, *row[5:]) for position, row in enumerate(page, first)],
    )


def _email_key(email: str | None) -> bytes | None:
    content = (email or "").lower().encode()
    return hashlib.blake2s(content, digest_size=8).digest() if email else None


# From an empty file to version 1, from version 1 to version 2, …: SQL statements and functions.
MIGRATIONS: tuple[tuple[str | Callable[[sqlite3.Connection], None], ...], ...] = (
    (VERSION_1,),
    (VERSION_2,),
    (VERSION_3,),
    (VERSION_4,),
    (_VERSION_5, _pack_users),
    (_VERSION_6, _add_email_digests),
    (_VERSION_7,),
    (_VERSION_8,),
)
SCHEMA_VERSION = len(MIGRATIONS)


def migrate(database: sqlite3.Connection, step: int) -> None:
    """Take a step, counted from 0, in an open transaction."""
    for part in MIGRATIONS[step]:
        if isinstance(part, str):
            for statement in part.split(";"):
                database.execute(statement)
        else:
            part(database)


_PAGE_SIZE = 1000

# The SQL functions that the steps call.
FUNCTIONS: tuple[Callable[..., bool | str], ...] = (named_by, csv_line_of)
