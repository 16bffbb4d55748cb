"""The journal: the users to send and their outcomes, in one SQLite file.

Users stream into it; the CSV, the delivery and the results file read from it page
by page, so that no list of users is ever in memory. One thread writes: before the first call
of a run, and after every answer in batches.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

import orjson

from integration.core.clock import utc_now_iso
from integration.core.models import CALLS, NOT_ATTEMPTED, PendingUser, Retries, UserOutcome
from integration.journal.backlog import copy_pending_users
from integration.journal.file import PAGE_SIZE, JournalError, JournalFile, fingerprint
from integration.journal.queries import last_sent, record_last_sent
from integration.journal.schema import (
    DELIVERED_BEFORE,
    PENDING,
    SECOND_ROW,
    SECOND_ROWS,
    SUCCEEDED,
    UPSERT,
    CallStatus,
    invalid_json,
    path_column,
    result_json,
    stored_id,
    unchanged_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from integration.core.models import Call, CallResult, NewRun, NewUser, RunStatus
    from integration.journal.backlog import Backlog

    # Users with their positions in the run.
    _Numbered = Sequence[tuple[int, NewUser]]

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
        self._buffered: dict[Call, list[tuple[object, ...]]] = {call: [] for call in CALLS}
        self._earlier_retries = Retries()

    def begin(self, new_run: NewRun, users: Iterable[NewUser]) -> int:
        """Store a run and all its users in one transaction, or nothing if `users` fails."""
        with self.transaction():
            run = self.announce(new_run)
            self.load(run, new_run, users)
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

    def load(self, run: int, new_run: NewRun, users: Iterable[NewUser]) -> None:
        """Store all users of an announced run in one transaction, or none if `users` fails.

        Rejected users, and all rows of a customer but the first, are recorded as such. In an
        incremental run, users whose profile and event were last delivered like this count as
        unchanged.
        """
        with self.transaction():
            numbered = enumerate(users, start=1)
            total = 0
            while chunk := list(islice(numbered, PAGE_SIZE)):
                self._add_users(run, chunk)
                self._add_rejected(run, new_run.started_at, chunk)
                if new_run.incremental:
                    self._add_unchanged(run, new_run, chunk)
                total += len(chunk)
            self._add_second_rows(run, new_run.started_at)
            self.execute(
                "UPDATE runs SET total_users = ?, status = 'running' WHERE run = ?", (total, run)
            )

    def begin_retry(self, new_run: NewRun, source: Backlog) -> int:
        """Store a run of the users that another run left pending, in its mode."""
        with self.transaction():
            run = self._add_run(new_run, retry_of=source.run.number)
            copy_pending_users(self, source, run)
            self.execute(
                "UPDATE runs SET mode = (SELECT mode FROM runs WHERE run = :source),"
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
                " last_sent_recorded = 0 WHERE run = ?",
                (run,),
            )

    def move(self, run: int, project: str) -> None:
        """Give a run that has delivered nothing yet to another Iterable project."""
        with self.transaction():
            self.execute("UPDATE runs SET project = ? WHERE run = ?", (project, run))

    def pending(self, run: int) -> Iterator[PendingUser]:
        """The users with a call that is not known to have succeeded, in the query's order."""
        for row in self.pages(
            "SELECT position, email, profile, event, users_update_status, events_track_status"
            " FROM pending_users WHERE run = ? AND position > ? ORDER BY position LIMIT ?",
            run,
        ):
            position, email, profile, event, *statuses = row
            calls = [call for call, s in zip(CALLS, statuses, strict=True) if s in PENDING]
            yield PendingUser(position, email, profile, event, tuple(calls))

    def pending_users(self, run: int) -> int:
        """The number of users that `pending` yields."""
        (number,) = self.one("SELECT COUNT(*) FROM pending_users WHERE run = ?", (run,))
        return int(number)

    def rejected(self, run: int, limit: int) -> list[tuple[str | None, str]]:
        """The first users that cannot be sent: email and reason."""
        return self.all(
            "SELECT email, reason FROM rejected_users WHERE run = ? ORDER BY position LIMIT ?",
            (run, limit),
        )

    def record(
        self, run: int, positions: Iterable[int], call: Call, result: CallResult, at: str
    ) -> None:
        """Buffer the outcome of `call` for these users; `flush` writes it."""
        status = int(CallStatus.DELIVERED if result.success else CallStatus.FAILED)
        text = result_json(result)
        self._buffered[call].extend((run, position, at, status, text) for position in positions)

    @property
    def buffered(self) -> int:
        """How many outcomes wait for the next `flush`."""
        return sum(map(len, self._buffered.values()))

    def flush(self, run: int, retries: Retries) -> None:
        """Write what was recorded, and the retries so far, in one transaction.

        Now and then it is on the disk at once; a power cut costs what was written since, whose
        users are then sent again with the same effect.
        """
        retries = self._earlier_retries + retries
        is_due = self._clock() >= self._sync_due
        with self.transaction(synced=is_due):
            for call, rows in self._buffered.items():
                self.execute_many(UPSERT[call], rows)
            self.execute(
                "UPDATE runs SET retries = ?, seconds_waited = ?, updated_at = ? WHERE run = ?",
                (
                    orjson.dumps(dict(retries.by_status)).decode(),
                    retries.seconds_waited,
                    utc_now_iso(),
                    run,
                ),
            )
        for rows in self._buffered.values():
            rows.clear()
        if is_due:
            self._sync_due = self._clock() + SECONDS_BETWEEN_SYNCS

    def set_mode(self, run: int, mode: str) -> None:
        """Record the run's mode."""
        with self.transaction():
            self.execute("UPDATE runs SET mode = ? WHERE run = ?", (mode, run))

    def finish(self, run: int, status: str, stop_reason: str | None, finished_at: str) -> None:
        """Record how the run ended, and what its users were last sent."""
        with self.transaction():
            self.execute(
                "UPDATE runs SET status = ?, stop_reason = ?, finished_at = ? WHERE run = ?",
                (status, stop_reason, finished_at, run),
            )
            record_last_sent(self, run)

    def csv_lines(self, run: int) -> Iterator[str]:
        """The lines of the CSV, in the query's order."""
        for _, line in self.pages(
            "SELECT position, csv_line FROM users"
            " WHERE run = ? AND position > ? ORDER BY position LIMIT ?",
            run,
        ):
            yield line

    def outcomes(self, run: int) -> Iterator[UserOutcome]:
        """Every user of the run, in the query's order."""
        nothing = result_json(NOT_ATTEMPTED)
        for _, email, at, profile, event, *statuses in self.pages(
            "SELECT position, email, at, users_update, events_track,"
            " users_update_status, events_track_status FROM user_outcomes"
            " WHERE run = ? AND position > ? ORDER BY position LIMIT ?",
            run,
        ):
            success = SUCCEEDED.issuperset(statuses)
            yield UserOutcome(email, at, profile or nothing, event or nothing, success)

    def _add_run(
        self, new_run: NewRun, *, status: RunStatus = "running", retry_of: int | None = None
    ) -> int:
        cursor = self.execute(
            "INSERT INTO runs (run_id, started_at, authentication, csv_file, results_file,"
            " dry_run, kind, project, user_limit, incremental, status, retry_of)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                status,
                retry_of,
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _add_users(self, run: int, users: _Numbered) -> None:
        self.execute_many(
            "INSERT INTO users (run, position, customer_id, email, profile, event, csv_line)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (run, position, stored_id(customer_id), email, profile, event, line)
                for position, (customer_id, email, profile, event, line, _) in users
            ],
        )

    def _add_rejected(self, run: int, at: str, users: _Numbered) -> None:
        texts = [
            (position, invalid_json(user.rejection)) for position, user in users if user.rejection
        ]
        self._add_outcomes(run, at, CallStatus.REJECTED, texts)

    def _add_second_rows(self, run: int, at: str) -> None:
        """Reject all rows of a customer but the first."""
        self.execute(
            "INSERT OR REPLACE INTO outcomes"
            f" SELECT :run, position, :at, :status, :text, :status, :text FROM ({SECOND_ROWS})",
            {
                "run": run,
                "at": at,
                "status": CallStatus.REJECTED,
                "text": invalid_json(SECOND_ROW),
            },
        )

    def _add_unchanged(self, run: int, new_run: NewRun, users: _Numbered) -> None:
        ids = [stored_id(user.customer_id) for _, user in users]
        known = last_sent(self, new_run.project, ids)
        text = unchanged_json(DELIVERED_BEFORE)
        same = [
            (position, text)
            for customer_id, (position, user) in zip(ids, users, strict=True)
            if known.get(customer_id) == (fingerprint(user.profile), fingerprint(user.event))
        ]
        self._add_outcomes(run, new_run.started_at, CallStatus.UNCHANGED, same)

    def _add_outcomes(
        self, run: int, at: str, status: CallStatus, texts: Sequence[tuple[int, str]]
    ) -> None:
        self.execute_many(
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(run, position, at, status, text, status, text) for position, text in texts],
        )
