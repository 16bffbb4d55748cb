"""Earlier runs: how their users fared, and what each user was last sent."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from integration.core.models import Counts, DeliveredUser, Retries, RunHeader, RunRecord
from integration.journal.schema import (
    DELIVERED,
    IN_LATER_RUN,
    IS_INVALID,
    LOADING,
    UNCHANGED,
    count_outcomes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.journal.file import JournalFile

_RUN_COLUMNS = (
    "run, run_id, started_at, authentication, csv_file, results_file, dry_run, kind, project,"
    " user_limit, incremental, finished_at, status, stop_reason, mode, retries, seconds_waited,"
    " total_users"
)


_BOTH_DELIVERED = (
    f"o.users_update_success IN ({DELIVERED}, {UNCHANGED})"
    f" AND o.events_track_success IN ({DELIVERED}, {UNCHANGED})"
)


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run and how its users fared."""

    run: int
    record: RunRecord
    counts: Counts

    @property
    def is_loaded(self) -> bool:
        """Whether the run came to have its users; until then it has sent nothing."""
        return self.record.status != LOADING

    @property
    def open_users(self) -> int:
        """Users with a call that did not succeed."""
        counts = self.counts
        return counts.partial_failures + counts.total_failures + counts.not_attempted

    @property
    def delivered_users(self) -> int:
        """Users with a call that succeeded, now or, for the unchanged, before."""
        counts = self.counts
        return counts.successful + counts.partial_failures + counts.unchanged


def past_runs(file: JournalFile, limit: int) -> list[PastRun]:
    """The newest runs, newest first."""
    rows = file.all(f"SELECT {_RUN_COLUMNS} FROM runs ORDER BY run DESC LIMIT ?", (limit,))
    return [_past_run(file, row) for row in rows]


def newest_loaded_run(file: JournalFile) -> PastRun | None:
    """The newest run that came to have its users."""
    row = file.one(
        f"SELECT {_RUN_COLUMNS} FROM runs WHERE status != ? ORDER BY run DESC LIMIT 1", (LOADING,)
    )
    return _past_run(file, row) if row else None


def files_of_dead_runs(file: JournalFile) -> list[str]:
    """The CSV and results files that killed runs may have begun; for the lock's holder only."""
    rows = file.all(
        "SELECT csv_file, results_file FROM runs WHERE status IN ('running', ?)", (LOADING,)
    )
    return [path for paths in rows for path in paths]


def past_run(file: JournalFile, run: int) -> PastRun:
    """One run."""
    return _past_run(file, file.one(f"SELECT {_RUN_COLUMNS} FROM runs WHERE run = ?", (run,)))


def delivered_users(file: JournalFile, run: int, limit: int | None) -> Iterator[DeliveredUser]:
    """Users of a run whose two calls succeeded: a random choice of `most`, or all."""
    chosen = None if limit is None else _random_positions(file, run, limit)
    rows = file.pages(
        "SELECT u.position, u.email, u.profile, u.event, o.at FROM users u JOIN outcomes o"
        " ON o.run = u.run AND o.position = u.position WHERE u.run = ? AND u.position > ?"
        f" AND {_BOTH_DELIVERED} ORDER BY u.position LIMIT ?",
        run,
    )
    for position, email, profile, event, at in rows:
        if chosen is None or position in chosen:
            yield DeliveredUser(email, profile, event, datetime.fromisoformat(at))


def _random_positions(file: JournalFile, run: int, limit: int) -> set[int]:
    rows = file.all(
        f"SELECT position FROM outcomes o WHERE run = ? AND {_BOTH_DELIVERED}"
        " ORDER BY RANDOM() LIMIT ?",
        (run, limit),
    )
    return {position for (position,) in rows}


def record_last_sent(file: JournalFile, run: int) -> None:
    """Note what each user of a run was last sent.

    A row that was not sent as it is changes nothing: Iterable has what it had. A call without a
    known success leaves nothing: whatever Iterable has now, the next run must not take it for
    known.
    """
    with file.transaction():
        file.execute(
            "INSERT INTO last_sent SELECT r.project, u.customer_id,"
            " CASE WHEN o.users_update_success = :delivered THEN fingerprint(u.profile) END,"
            " CASE WHEN o.events_track_success = :delivered THEN fingerprint(u.event) END"
            " FROM runs r JOIN users u ON u.run = r.run"
            " LEFT JOIN outcomes o ON o.run = u.run AND o.position = u.position"
            " WHERE r.run = :run AND o.users_update_success IS NOT :unchanged"
            f" AND NOT {IS_INVALID} AND NOT {IN_LATER_RUN}"
            " ON CONFLICT (project, customer_id)"
            " DO UPDATE SET profile = excluded.profile, event = excluded.event",
            {
                "run": run,
                "projects": past_run(file, run).record.header.project,
                "delivered": DELIVERED,
                "unchanged": UNCHANGED,
            },
        )
        file.execute("UPDATE runs SET settled = 1 WHERE run = ?", (run,))


def record_last_sent_of_crashed_runs(file: JournalFile) -> None:
    """Do for runs that were killed what their end would have done."""
    for (run,) in file.all("SELECT run FROM runs WHERE NOT settled ORDER BY run"):
        record_last_sent(file, run)


def last_sent(
    file: JournalFile, project: str, customer_ids: Sequence[int | str]
) -> dict[int | str, tuple[bytes | None, bytes | None]]:
    """The fingerprints of profile and event last delivered to these customers."""
    rows = file.all(
        "SELECT customer_id, profile, event FROM last_sent WHERE project = ?"
        " AND customer_id IN (SELECT value FROM json_each(?))",
        (project, orjson.dumps(customer_ids).decode()),
    )
    return {customer_id: (profile, event) for customer_id, profile, event in rows}


def _past_run(file: JournalFile, row: tuple[Any, ...]) -> PastRun:
    run, run_id, started_at, authentication, csv_file, results_file, dry_run, *rest = row
    (
        kind,
        project,
        limit,
        incremental,
        finished_at,
        status,
        stop_reason,
        mode,
        retries,
        seconds_waited,
        total,
    ) = rest
    header = RunHeader(
        run_id=run_id,
        started_at=started_at,
        authentication=authentication,
        csv_file=os.fsdecode(csv_file),
        results_file=os.fsdecode(results_file),
        dry_run=bool(dry_run),
        kind=kind,
        project=project,
        limit=limit,
        incremental=bool(incremental),
    )
    by_status = tuple(sorted(orjson.loads(retries).items()))
    record = RunRecord(
        header, finished_at, status, stop_reason, mode, Retries(by_status, seconds_waited)
    )
    groups = file.all(
        "SELECT users_update_success, events_track_success, COUNT(*)"
        " FROM outcomes WHERE run = ? GROUP BY 1, 2",
        (run,),
    )
    return PastRun(run, record, count_outcomes(groups, total))
