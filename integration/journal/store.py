"""The journal: the users to send and their outcomes, in one SQLite file.

Users stream into it; the CSV, the delivery and the results file read from it page
by page, so that no list of users is ever in memory. One thread writes: before the first call
of a run, and after every answer in batches.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from integration.core.clock import utc_now_iso
from integration.core.models import (
    CALLS,
    NOT_ATTEMPTED,
    OutcomeGroup,
    PageView,
    Retries,
    StoredUser,
)
from integration.journal.backlog import copy_pending_users
from integration.journal.file import JournalError, JournalFile
from integration.journal.loading import store_users
from integration.journal.outcomes import update_outcomes, users_by_outcome
from integration.journal.packing import decode, unpack
from integration.journal.queries import record_last_sent, store_counts
from integration.journal.ranges import Update, position_ranges
from integration.journal.schema import (
    DONE,
    PENDING,
    CallStatus,
    path_column,
    result_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from integration.core.models import Call, CallResult, NewRun, NewUser, RunStatus
    from integration.journal.backlog import Backlog
    from integration.journal.ranges import OutcomeRange

__all__ = ["Journal", "JournalError"]


# With a flush every half second, no outcome waits five seconds for the disk.
SECONDS_BETWEEN_SYNCS = 4.0


class Journal(JournalFile):
    """The open journal of the run that holds its lock. Every method may raise JournalError."""

    def __init__(
        self,
        path: Path,
        copy_of: Path | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(path, copy_of)
        self._clock = clock
        self._sync_due = clock()
        self._buffered: list[Update] = []
        self._buffered_outcomes = 0
        self._earlier_retries = Retries()

    def begin(
        self, new_run: NewRun, users: Iterable[NewUser], columns: Sequence[str] = PageView._fields
    ) -> int:
        """Store a run and all its users in one transaction, or nothing if `users` fails."""
        with self.transaction():
            run = self.announce(new_run)
            self.load(run, new_run, users, columns)
        return run

    def announce(self, new_run: NewRun) -> int:
        """Store a run whose users are still to be loaded.

        A run of the same id that has no users starts again, and is the newest from then on.

        Returns:
            The number that the other methods know the run by.
        """
        with self.transaction():
            self.execute(
                "DELETE FROM runs WHERE run_id = ? AND status = 'loading'", (new_run.run_id,)
            )
            return self._add_run(new_run, status="loading")

    def load(
        self,
        run: int,
        new_run: NewRun,
        users: Iterable[NewUser],
        columns: Sequence[str] = PageView._fields,
    ) -> None:
        """Store all users of an announced run in one transaction, or none if `users` fails.

        `columns` are those of the query.

        Rejected users, and all rows of a customer but the first, are recorded as such. In an
        incremental run, users whose profile and event were last delivered like this count as
        unchanged.
        """
        with self.transaction():
            store_users(self, run, new_run, users, columns)

    def begin_retry(self, new_run: NewRun, source: Backlog) -> int:
        """Store a run of the users that another run left pending, in its mode."""
        with self.transaction():
            run = self._add_run(new_run, retry_of=source.run.number)
            copy_pending_users(self, source, run)
            self.execute(
                "UPDATE runs SET mode = (SELECT mode FROM runs WHERE run = :source),"
                " columns = (SELECT columns FROM runs WHERE run = :source),"
                " total_users = (SELECT COUNT(*) FROM users WHERE run = :run) WHERE run = :run",
                {"source": source.run.number, "run": run},
            )
        return run

    def resume(self, run: int) -> None:
        """Resume an unfinished run."""
        row = self.one("SELECT retries, seconds_waited FROM runs WHERE run = ?", (run,))
        self._earlier_retries = Retries(tuple(sorted(orjson.loads(row[0]).items())), row[1])
        with self.transaction():
            self.execute(
                "UPDATE runs SET status = 'running', stop_reason = NULL, finished_at = NULL,"
                " last_sent_recorded = 0, successful = NULL WHERE run = ?",
                (run,),
            )

    def move(self, run: int, project: str) -> None:
        """Give a run that has delivered nothing yet to another Iterable project."""
        with self.transaction():
            self.execute("UPDATE runs SET project = ? WHERE run = ?", (project, run))

    def pending(self, run: int) -> Iterator[StoredUser]:
        """The users with a call that is not known to have succeeded, in the query's order."""
        for users, rows in users_by_outcome(self, run, _pending_calls, unpack):
            calls = _pending_calls(users)
            for position, row in enumerate(rows, start=users.first):
                yield StoredUser(position, row, calls)

    def pending_users(self, run: int) -> int:
        """The number of users that `pending` yields."""
        (number,) = self.one(
            "SELECT COALESCE(SUM(users), 0) FROM outcome_counts WHERE run = ? AND pending", (run,)
        )
        return int(number)

    def rejected(self, run: int) -> Iterator[tuple[Any, str]]:
        """The users that cannot be sent: decoded row and reason."""
        for users, rows in users_by_outcome(
            self, run, lambda piece: CallStatus.REJECTED in _statuses(piece), decode
        ):
            reason = orjson.loads(users.users_update or users.events_track or "{}")["response"]
            yield from ((row, reason) for row in rows)

    def rows(self, run: int) -> Iterator[Sequence[Any]]:
        """The decoded rows of all users, in the query's order and in groups."""
        for _, rows in users_by_outcome(self, run, lambda _: True, decode):
            yield rows

    def record(self, positions: Iterable[int], call: Call, result: CallResult, at: str) -> None:
        """Buffer the outcome of `call` for these users; `flush` writes it."""
        status = CallStatus.DELIVERED if result.success else CallStatus.FAILED
        text = result_json(result)
        ascending = sorted(positions)
        self._buffered += [
            Update(first, last, call, at, int(status), text)
            for first, last in position_ranges(ascending)
        ]
        self._buffered_outcomes += len(ascending)

    @property
    def buffered(self) -> int:
        """How many outcomes wait for the next `flush`."""
        return self._buffered_outcomes

    def flush(self, run: int, retries: Retries) -> None:
        """Write what was recorded, and the retries so far, in one transaction.

        Now and then it is on the disk at once; a power cut costs what was written since, whose
        users are then sent again with the same effect.
        """
        retries = self._earlier_retries + retries
        is_due = self._clock() >= self._sync_due
        with self.transaction(synced=is_due):
            update_outcomes(self, run, self._buffered)
            self.execute(
                "UPDATE runs SET retries = ?, seconds_waited = ?, updated_at = ? WHERE run = ?",
                (
                    orjson.dumps(dict(retries.by_status)).decode(),
                    retries.seconds_waited,
                    utc_now_iso(),
                    run,
                ),
            )
        self._buffered.clear()
        self._buffered_outcomes = 0
        if is_due:
            self._sync_due = self._clock() + SECONDS_BETWEEN_SYNCS

    def set_mode(self, run: int, mode: str) -> None:
        """Record the run's mode."""
        with self.transaction():
            self.execute("UPDATE runs SET mode = ? WHERE run = ?", (mode, run))

    def finish(self, run: int, status: str, stop_reason: str | None, finished_at: str) -> None:
        """Record how the run ended, its counts, and what its users were last sent."""
        with self.transaction():
            self.execute(
                "UPDATE runs SET status = ?, stop_reason = ?, finished_at = ? WHERE run = ?",
                (status, stop_reason, finished_at, run),
            )
            store_counts(self, run)
            record_last_sent(self, run)

    def outcomes(self, run: int) -> Iterator[OutcomeGroup]:
        """All users of the run, in the query's order."""
        nothing = result_json(NOT_ATTEMPTED)
        for users, rows in users_by_outcome(self, run, lambda _: True, decode):
            profile, event = (
                "null" if status == CallStatus.NOT_WANTED else text or nothing
                for status, text in (
                    (users.users_update_status, users.users_update),
                    (users.events_track_status, users.events_track),
                )
            )
            yield OutcomeGroup(
                rows,
                users.at,
                profile,
                event,
                success=DONE.issuperset(_statuses(users)),
            )

    def _add_run(
        self, new_run: NewRun, *, status: RunStatus = "running", retry_of: int | None = None
    ) -> int:
        cursor = self.execute(
            "INSERT INTO runs (run_id, started_at, authentication, csv_file, results_file,"
            " dry_run, kind, project, user_limit, incremental, sync, status, retry_of)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                new_run.run_id,
                new_run.started_at,
                new_run.authentication,
                path_column(new_run.csv_file),
                path_column(new_run.results_file),
                new_run.dry_run,
                new_run.kind,
                new_run.project,
                new_run.limit,
                new_run.incremental,
                new_run.sync,
                status,
                retry_of,
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid


def _statuses(users: OutcomeRange) -> tuple[int | None, int | None]:
    return users.users_update_status, users.events_track_status


def _pending_calls(users: OutcomeRange) -> tuple[Call, ...]:
    return tuple(
        call for call, status in zip(CALLS, _statuses(users), strict=True) if status in PENDING
    )
