"""Earlier runs, their outcomes, and what each user was last sent."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from integration.core.models import CALLS, Counts, Retries, Run
from integration.journal.erased import IS_ERASED, is_erased
from integration.journal.newer_runs import IN_NEWER_RUN
from integration.journal.outcomes import users_by_outcome
from integration.journal.packing import unpack
from integration.journal.schema import DONE, CallStatus, columns_of, counts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.core.models import Call, NewRun
    from integration.journal.file import JournalFile
    from integration.journal.ranges import OutcomeRange
    from integration.journal.reading import JournalReader

# The fields of a Run, and the columns that have other names.
_RUN_FIELDS = (
    "number",
    "run_id",
    "started_at",
    "authentication",
    "csv_file",
    "results_file",
    "dry_run",
    "kind",
    "project",
    "limit",
    "incremental",
    "finished_at",
    "status",
    "stop_reason",
    "mode",
    "total_users",
    "retries",
    "seconds_waited",
    "columns",
    "sync",
)
# Beyond so many times the wanted customers, they are looked up one by one.
MAX_CUSTOMERS_READ = 4
_OTHER_COLUMNS = {"number": "run", "limit": "user_limit"}
# The fields of Counts, in their order.
_COUNTS = "successful, partial_failures, total_failures, not_attempted, unchanged"
# Conditions for runs; by their stored counts, most are ruled out at once.
_FAILURES = "successful IS NULL OR COALESCE(partial_failures + total_failures{more}, 1) > 0"
MAY_BE_PENDING = f"({_FAILURES.format(more=' + not_attempted')})"
HAS_REJECTED = (
    f"({_FAILURES.format(more='')}) AND EXISTS (SELECT 1 FROM outcomes o"
    f" WHERE o.run = runs.run AND o.users_update_status = {CallStatus.REJECTED:d})"
)
_RUNS = f"SELECT {', '.join(_OTHER_COLUMNS.get(name, name) for name in _RUN_FIELDS)} FROM runs"


def recent_runs(file: JournalReader, limit: int) -> list[Run]:
    """The newest runs, newest first."""
    return [_run(row) for row in file.all(f"{_RUNS} ORDER BY run DESC LIMIT ?", (limit,))]


def runs_before(file: JournalReader, before: int, limit: int) -> list[Run]:
    """The newest runs before the run `before`, newest first."""
    rows = file.all(f"{_RUNS} WHERE run < ? ORDER BY run DESC LIMIT ?", (before, limit))
    return [_run(row) for row in rows]


def find_run(file: JournalReader, number: int) -> Run | None:
    """The run with this number, if the journal still has it."""
    row = file.one(f"{_RUNS} WHERE run = ?", (number,))
    return _run(row) if row else None


def runs_that(
    file: JournalReader, condition: str, *values: str | None, sync: str | None = None
) -> Iterator[Run]:
    """The runs that meet a condition, newest first; found at once, and decoded one by one."""
    query = f"{_RUNS} WHERE {condition} AND sync = COALESCE(?, sync) ORDER BY run DESC"
    return map(_run, file.all(query, (*values, sync)))


def newest_loaded_run(file: JournalReader, sync: str = "") -> Run | None:
    """The newest run of a sync whose users were stored; without a name, of none."""
    query = f"{_RUNS} WHERE status != 'loading' AND sync = ? ORDER BY run DESC LIMIT 1"
    row = file.one(query, (sync,))
    return _run(row) if row else None


def read_run(file: JournalReader, number: int) -> Run:
    """One run."""
    return _run(file.one(f"{_RUNS} WHERE run = ?", (number,)))


def count_outcomes(file: JournalReader, number: int) -> Counts:
    """How many users of a run had which outcome; stored when the run has ended."""
    *stored, total = file.one(f"SELECT {_COUNTS}, total_users FROM runs WHERE run = ?", (number,))
    if None not in stored:
        return Counts(*stored)
    groups = file.all(
        "SELECT users_update_status, events_track_status, users FROM outcome_counts WHERE run = ?",
        (number,),
    )
    return counts_of(groups, total)


def store_counts(file: JournalFile, number: int) -> None:
    """Store the outcomes of a run that ends."""
    counts = count_outcomes(file, number)
    file.execute(
        f"UPDATE runs SET ({_COUNTS}) = (?, ?, ?, ?, ?) WHERE run = ?",
        (
            counts.successful,
            counts.partial_failures,
            counts.total_failures,
            counts.not_attempted,
            counts.unchanged,
            number,
        ),
    )


def files_of_crashed_runs(file: JournalReader) -> list[str]:
    """The CSV and results files that killed runs may have begun; for the lock's holder only."""
    rows = file.all(
        "SELECT csv_file, results_file FROM runs WHERE status IN ('running', 'loading')"
    )
    return [path for paths in rows for path in paths]


def delivered_users(
    file: JournalReader, run: int, limit: int | None
) -> Iterator[tuple[bytes, datetime, tuple[Call, ...]]]:
    """Users of a run whose calls all succeeded: all of them, or `limit` chosen at random.

    Yields:
        The user's `NewUser.row`, when the last call was over, and the calls.
    """
    chosen = None if limit is None else _random_positions(file, run, limit)
    for users, rows in users_by_outcome(file, run, _is_delivered, unpack):
        delivered_at = datetime.fromisoformat(str(users.at))
        statuses = zip(CALLS, (users.users_update_status, users.events_track_status), strict=True)
        calls = tuple(call for call, status in statuses if status != CallStatus.NOT_WANTED)
        for position, row in enumerate(rows, start=users.first):
            if (chosen is None or position in chosen) and not is_erased(row):
                yield row, delivered_at, calls


def _is_delivered(users: OutcomeRange) -> bool:
    return {users.users_update_status, users.events_track_status} <= DONE


def _random_positions(file: JournalReader, run: int, limit: int) -> set[int]:
    rows = file.all(
        f"SELECT position FROM delivered_users WHERE run = ? AND NOT {IS_ERASED}"
        " ORDER BY RANDOM() LIMIT ?",
        (run, limit),
    )
    return {position for (position,) in rows}


def record_last_sent(file: JournalFile, run: int) -> None:
    """Store what each user of a run was last sent.

    Unchanged users and rejected rows change nothing: Iterable still has what it had. Erased users
    are not remembered. A call that is not known to have succeeded clears the entry, because
    Iterable may have the data or not.
    """
    one = read_run(file, run)
    key = last_sent_key(one)
    with file.transaction():
        file.execute("INSERT OR IGNORE INTO projects (project) VALUES (?)", (key,))
        file.execute(
            "INSERT INTO last_sent"
            " SELECT (SELECT number FROM projects WHERE project = :key), customer_id,"
            " CASE WHEN users_update_status IN (:delivered, :not_wanted)"
            " AND events_track_status IN (:delivered, :not_wanted) THEN fingerprint END"
            " FROM user_outcomes WHERE run = :run"
            " AND COALESCE(users_update_status, :failed) NOT IN (:unchanged, :rejected)"
            " AND (users_update_status IS NOT :not_wanted"
            " OR COALESCE(events_track_status, :failed) NOT IN (:unchanged, :rejected))"
            f" AND NOT {IS_ERASED} AND NOT {IN_NEWER_RUN}"
            " ON CONFLICT (project, customer_id) DO UPDATE SET fingerprint = excluded.fingerprint",
            {
                "run": run,
                "key": key,
                "projects": one.project,
                "not_wanted": CallStatus.NOT_WANTED,
                "failed": CallStatus.FAILED,
                "delivered": CallStatus.DELIVERED,
                "unchanged": CallStatus.UNCHANGED,
                "rejected": CallStatus.REJECTED,
            },
        )
        file.execute("UPDATE runs SET last_sent_recorded = 1 WHERE run = ?", (run,))


def last_sent_key(run: NewRun) -> str:
    """What the last sent data of a run is kept by: the project, and within it the sync."""
    return f"{run.project} {run.sync}" if run.sync else run.project


def record_last_sent_of_crashed_runs(file: JournalFile) -> None:
    """Do for crashed runs what their end would have done."""
    for (run,) in file.all("SELECT run FROM runs WHERE NOT last_sent_recorded ORDER BY run"):
        record_last_sent(file, run)


def last_sent(
    file: JournalReader, project: str, customer_ids: Sequence[int | str]
) -> dict[int | str, bytes | None]:
    """The fingerprints of what was last delivered to these customers, and maybe to some others."""
    select = (
        "SELECT customer_id, fingerprint FROM last_sent"
        " WHERE project = (SELECT number FROM projects WHERE project = :project)"
    )
    numbers = [customer_id for customer_id in customer_ids if isinstance(customer_id, int)]
    if len(numbers) == len(customer_ids) > 0:
        # Query 2 returns the customers in order, so one range usually has few others.
        limit = MAX_CUSTOMERS_READ * len(customer_ids)
        span = {"low": min(numbers), "high": max(numbers), "limit": limit}
        within = "customer_id BETWEEN :low AND :high LIMIT :limit"
        rows = file.all(f"{select} AND {within}", {"project": project, **span})
        if len(rows) < limit:
            return dict(rows)
    ids = orjson.dumps(customer_ids).decode()
    chosen = "customer_id IN (SELECT value FROM json_each(:ids))"
    return dict(file.all(f"{select} AND {chosen}", {"project": project, "ids": ids}))


def _run(row: tuple[Any, ...]) -> Run:
    values = dict(zip(_RUN_FIELDS, row, strict=True))
    by_status = tuple(sorted(orjson.loads(values.pop("retries")).items()))
    waited = values.pop("seconds_waited")
    return Run(
        **{
            **values,
            "csv_file": os.fsdecode(values["csv_file"]),
            "results_file": os.fsdecode(values["results_file"]),
            "dry_run": bool(values["dry_run"]),
            "incremental": bool(values["incremental"]),
            "retries": Retries(by_status, waited),
            "columns": columns_of(values["columns"]),
        }
    )
