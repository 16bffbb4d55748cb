"""The journal's first four versions: their tables and views, and the functions that the steps call.

Frozen, as all steps of `migrations`.
"""

from __future__ import annotations

import uuid

import orjson

from integration.core.csv_lines import csv_line

# Payloads and outcomes are separate tables: outcomes are small, and are rewritten and counted.
VERSION_1 = """
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

# `settled`: the run's outcomes are in last_sent, which outlives the run. Renamed in version 4.
VERSION_2 = """
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
# Columns without a type keep a customer's id as it is; INTEGER turned the text 007 into 7, and
# one with many digits into a REAL. `named_by` shows whether an event's id was derived from the
# customer's; a user whose id was changed is identified by the email, as a BLOB, from then on.
# `updated_at`: SQLite does not sync a transaction that changes nothing.
VERSION_3 = """
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
# The statuses are those of schema.CallStatus; NULL, or no outcome, is a call not attempted.
# user_outcomes: each user with the outcome so far
# pending_users: those with a call that is to be made
# loaded_users, delivered_users: users by project, with what identifies them in all versions
VERSION_4 = """
ALTER TABLE runs RENAME COLUMN settled TO last_sent_recorded;
ALTER TABLE outcomes RENAME COLUMN users_update_success TO users_update_status;
ALTER TABLE outcomes RENAME COLUMN events_track_success TO events_track_status;
UPDATE outcomes SET users_update_status = 4, events_track_status = 4
    WHERE users_update_status = 0 AND json_extract(users_update, '$.error') = 'invalid_record';
ALTER TABLE users ADD COLUMN csv_line TEXT NOT NULL DEFAULT '';
UPDATE users SET csv_line = csv_line_of(customer_id, profile, event);
CREATE VIEW user_outcomes AS
    SELECT u.run, u.position, u.customer_id, u.email, u.profile, u.event, u.csv_line, o.at,
        o.users_update_status, o.users_update, o.events_track_status, o.events_track
    FROM users u LEFT JOIN outcomes o ON o.run = u.run AND o.position = u.position;
CREATE VIEW pending_users AS
    SELECT * FROM user_outcomes
    WHERE COALESCE(users_update_status, 0) = 0 OR COALESCE(events_track_status, 0) = 0;
CREATE VIEW rejected_users AS
    SELECT o.run, o.position, u.customer_id, u.email,
        json_extract(o.users_update, '$.response') AS reason
    FROM outcomes o JOIN users u ON u.run = o.run AND u.position = o.position
    WHERE o.users_update_status = 4;
CREATE VIEW loaded_users AS
    SELECT u.run, u.position, r.project, u.customer_id, u.email, u.profile, u.event,
        COALESCE(lower(u.email), '') AS email_key
    FROM runs r JOIN users u ON u.run = r.run
    WHERE r.total_users > 0;
CREATE VIEW delivered_users AS
    SELECT l.*, o.at
    FROM loaded_users l JOIN outcomes o ON o.run = l.run AND o.position = l.position
    WHERE o.users_update_status IN (1, 2) AND o.events_track_status IN (1, 2);
CREATE VIEW outcome_counts AS
    SELECT run, users_update_status, events_track_status, COUNT(*) AS users
    FROM outcomes GROUP BY run, users_update_status, events_track_status;
"""

_EVENT_NAMESPACE = uuid.UUID("8c0e4a52-6b1f-5d1c-9a53-2f4f0c1a7be1")


def named_by(event: bytes, customer_id: object) -> bool:
    """Whether the id of an event that version 1 or 2 stored was derived from this customer id."""
    stored = orjson.loads(event)
    view = stored["dataFields"]
    email = str(stored["email"] or "").lower()
    name = f"{customer_id}|{email}|{view['page']}|{view['timestamp']}"
    return bool(stored["id"] == str(uuid.uuid5(_EVENT_NAMESPACE, name)))


def csv_line_of(customer_id: int | str | bytes, profile: bytes, event: bytes) -> str:
    """The CSV line of a user that version 1 to 3 stored, rebuilt from the payloads.

    The id is empty where version 1 or 2 lost it (bytes).
    """
    user, view = orjson.loads(profile), orjson.loads(event)
    fields, details = user["dataFields"], view["dataFields"]
    cells = [
        None if isinstance(customer_id, bytes) else customer_id,
        user["email"],
        *(fields[name] for name in ("first_name", "last_name", "plan_type", "candidate")),
        *(details[name] for name in ("page", "device", "browser", "location", "timestamp")),
    ]
    return csv_line(cells)
