"""What earlier runs mean for the next one: whom they left open, what each user was last sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from journal_format import DELIVERED, LEFT_TO_LATER, UNCHANGED, add_up, unchanged_json
from payloads import undeliverable_reason
from records import Counts, Retries, RunHeader, RunRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journal_file import JournalFile

_RUN_COLUMNS = (
    "run, run_id, started_at, authentication, csv_file, results_file, dry_run, kind, project,"
    " finished_at, status, stop_reason, mode, retries, seconds_waited, total_users"
)


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run and how its users fared."""

    run: int
    record: RunRecord
    counts: Counts

    @property
    def open_users(self) -> int:
        """Users with a call that did not succeed."""
        counts = self.counts
        return counts.partial_failures + counts.total_failures + counts.not_attempted


def past_runs(file: JournalFile, most: int) -> list[PastRun]:
    """The newest runs, newest first."""
    rows = file.all(f"SELECT {_RUN_COLUMNS} FROM runs ORDER BY run DESC LIMIT ?", (most,))
    return [_past_run(file, row) for row in rows]


def past_run(file: JournalFile, run: int) -> PastRun:
    """One run."""
    return _past_run(file, file.one(f"SELECT {_RUN_COLUMNS} FROM runs WHERE run = ?", (run,)))


def unfinished_run(file: JournalFile) -> int | None:
    """The newest run that did not finish, unless a later one has sent everybody newer data."""
    row = file.one(
        "SELECT run FROM runs r WHERE status != 'completed' AND run > COALESCE((SELECT MAX(run)"
        " FROM runs f WHERE f.status = 'completed' AND f.kind = 'full'"
        " AND f.project = r.project), 0)"
        # Whom a run left open, its retry has taken over.
        " AND run NOT IN (SELECT retry_of FROM runs WHERE retry_of IS NOT NULL)"
        " ORDER BY run DESC LIMIT 1"
    )
    return None if row is None else int(row[0])


def finished_run(file: JournalFile) -> int | None:
    """The newest run that came to an end of its own: completed, stopped or interrupted."""
    row = file.one("SELECT MAX(run) FROM runs WHERE status != 'running'")
    return None if row[0] is None else int(row[0])


def copy_open_users(file: JournalFile, source: int, target: int) -> int:
    """Give a new run the users of another that have a call left, and what is done of them.

    Returns:
        How many.
    """
    position = 0
    rows = file.pages(
        "SELECT u.position, u.customer_id, u.email, u.profile, u.event, o.at,"
        " o.users_update_success, o.users_update, o.events_track_success, o.events_track"
        " FROM users u LEFT JOIN outcomes o ON o.run = u.run AND o.position = u.position"
        " WHERE u.run = ? AND u.position > ? ORDER BY u.position LIMIT ?",
        source,
    )
    for _, customer_id, email, profile, event, at, *outcome in rows:
        if outcome[0] and outcome[2]:
            continue
        position += 1
        file.execute(
            "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)",
            (target, position, customer_id, email, profile, event),
        )
        kept = _kept_of(email, outcome)
        if any(kept):
            file.execute(
                "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)", (target, position, at, *kept)
            )
    return position


def _kept_of(email: str | None, outcome: list[Any]) -> list[Any]:
    """Success, and what can never succeed; the other calls are to be made again."""
    if undeliverable_reason(email):
        return outcome
    profile_success, profile, event_success, event = outcome
    kept_profile = [profile_success, profile] if profile_success else [None, None]
    return kept_profile + ([event_success, event] if event_success else [None, None])


# Users of run :run for whom a later run for the same project has made a call, or may have.
_SENT_LATER = (
    "u.customer_id IN (SELECT n.customer_id FROM runs later JOIN users n ON n.run = later.run"
    " LEFT JOIN outcomes p ON p.run = n.run AND p.position = n.position WHERE later.run > :run"
    " AND later.project = (SELECT project FROM runs WHERE run = :run)"
    " AND (p.run IS NOT NULL OR later.status = 'running'))"
)


def leave_to_later_runs(file: JournalFile, run: int, at: str) -> None:
    """Count those whom a later run has sent newer data as unchanged: theirs is the last word."""
    with file.transaction():
        file.execute(
            "INSERT INTO outcomes SELECT u.run, u.position, :at, :unchanged, :text, :unchanged,"
            " :text FROM users u"
            " LEFT JOIN outcomes o ON o.run = u.run AND o.position = u.position"
            " WHERE u.run = :run AND NOT (COALESCE(o.users_update_success, 0)"
            f" AND COALESCE(o.events_track_success, 0)) AND {_SENT_LATER}"
            " ON CONFLICT (run, position) DO UPDATE SET at = excluded.at,"
            " users_update_success = excluded.users_update_success,"
            " users_update = excluded.users_update,"
            " events_track_success = excluded.events_track_success,"
            " events_track = excluded.events_track",
            {"run": run, "at": at, "unchanged": UNCHANGED, "text": unchanged_json(LEFT_TO_LATER)},
        )


def settle(file: JournalFile, run: int) -> None:
    """Note what each user of a run was last sent.

    A call without a known success leaves nothing: whatever Iterable has now, the next run
    must not take it for known.
    """
    with file.transaction():
        file.execute(
            "INSERT INTO last_sent SELECT r.project, u.customer_id,"
            " CASE WHEN o.users_update_success = :delivered THEN fingerprint(u.profile) END,"
            " CASE WHEN o.events_track_success = :delivered THEN fingerprint(u.event) END"
            " FROM runs r JOIN users u ON u.run = r.run"
            " LEFT JOIN outcomes o ON o.run = u.run AND o.position = u.position"
            " WHERE r.run = :run AND o.users_update_success IS NOT :unchanged"
            f" AND NOT {_SENT_LATER}"
            " ON CONFLICT (project, customer_id)"
            " DO UPDATE SET profile = excluded.profile, event = excluded.event",
            {"run": run, "delivered": DELIVERED, "unchanged": UNCHANGED},
        )
        file.execute("UPDATE runs SET settled = 1 WHERE run = ?", (run,))


def settle_crashed_runs(file: JournalFile) -> None:
    """Do for runs that were killed what their end would have done."""
    for (run,) in file.all("SELECT run FROM runs WHERE NOT settled ORDER BY run"):
        settle(file, run)


def prune(file: JournalFile, before: str) -> int:
    """Forget runs that began before this ISO time; what was last sent stays.

    Returns:
        How many.
    """
    runs = file.all("SELECT run FROM runs WHERE settled AND started_at < ?", (before,))
    for (run,) in runs:
        with file.transaction():
            for table in ("outcomes", "users", "runs"):
                file.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
    return len(runs)


def last_sent(
    file: JournalFile, project: str, customer_ids: Sequence[int]
) -> dict[int, tuple[bytes | None, bytes | None]]:
    """The fingerprints of profile and event last delivered to these customers."""
    rows = file.all(
        "SELECT customer_id, profile, event FROM last_sent WHERE project = ?"
        " AND customer_id IN (SELECT value FROM json_each(?))",
        (project, orjson.dumps(customer_ids).decode()),
    )
    return {customer_id: (profile, event) for customer_id, profile, event in rows}


def _past_run(file: JournalFile, row: tuple[Any, ...]) -> PastRun:
    run, *header, finished_at, status, stop_reason, mode, retries, waited, total = row
    header[5] = bool(header[5])
    by_status = tuple(sorted(orjson.loads(retries).items()))
    record = RunRecord(
        RunHeader(*header), finished_at, status, stop_reason, mode, Retries(by_status, waited)
    )
    groups = file.all(
        "SELECT users_update_success, events_track_success, COUNT(*)"
        " FROM outcomes WHERE run = ? GROUP BY 1, 2",
        (run,),
    )
    return PastRun(run, record, add_up(groups, total))
