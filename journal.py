"""The journal: what has to be sent and what became of it, in one SQLite file.

Rows of Query 2 stream into it; the CSV, the delivery and the results file read from it page
by page, so that no list of users is ever in memory. One thread writes.

    JournalError    the file cannot be opened, read or written; the message says what to do
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
from typing_extensions import Self

from journal_format import SCHEMA, SCHEMA_VERSION, UPSERT, add_up, advice, refusal_json, result_json
from payloads import csv_cells, event_payload, profile_payload, undeliverable_reason
from records import (
    CALLS,
    NOT_ATTEMPTED,
    Call,
    CallResult,
    Counts,
    PendingUser,
    Retries,
    RunHeader,
    RunRecord,
    UserOutcome,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from records import PageView

PAGE_SIZE = 1000


class JournalError(Exception):
    """The journal cannot be used; the message is one line that says what to do."""


class Journal:
    """The open journal. Every method may raise `JournalError`."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it, readable by its owner only."""
        self._path = path
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise JournalError(advice(path, error)) from error
        with self._translated():
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            # With WAL a crash of the process loses nothing; a power cut at most the last
            # batch, whose users are then sent again with the same effect.
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._prepare_schema()
        self._buffered: dict[Call, list[tuple[object, ...]]] = {call: [] for call in CALLS}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was not flushed is dropped."""
        self._database.close()

    def begin(self, header: RunHeader, views: Iterable[PageView]) -> int:
        """Store a run and all its users at once, or nothing when `views` fails.

        Returns:
            The number that the other methods know the run by.
        """
        with self._transaction():
            cursor = self._database.execute(
                "INSERT INTO runs (run_id, started_at, authentication, csv_file, results_file,"
                " dry_run) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    header.run_id,
                    header.started_at,
                    header.authentication,
                    header.csv_file,
                    header.results_file,
                    header.dry_run,
                ),
            )
            run = cursor.lastrowid
            assert run is not None
            total = self._add_users(run, header.started_at, views)
            self._database.execute("UPDATE runs SET total_users = ? WHERE run = ?", (total, run))
        return run

    def total_users(self, run: int) -> int:
        """How many users the run has, whatever became of them."""
        with self._translated():
            row = self._database.execute("SELECT total_users FROM runs WHERE run = ?", (run,))
            return int(row.fetchone()[0])

    def pending(self, run: int) -> Iterator[PendingUser]:
        """The users with a call that is not known to have succeeded, in the query's order."""
        for row in self._pages(
            "SELECT u.position, u.email, u.profile, u.event,"
            " o.users_update_success, o.events_track_success"
            " FROM users u LEFT JOIN outcomes o ON o.run = u.run AND o.position = u.position"
            " WHERE u.run = ? AND u.position > ? ORDER BY u.position LIMIT ?",
            run,
        ):
            position, email, profile, event, *successes = row
            calls = tuple(call for call, done in zip(CALLS, successes, strict=True) if not done)
            if calls and undeliverable_reason(email) is None:
                yield PendingUser(position, email, profile, event, calls)

    def record(
        self, run: int, positions: Iterable[int], call: Call, result: CallResult, at: str
    ) -> None:
        """Note what became of `call` for these users; `flush` writes it."""
        text = result_json(result)
        self._buffered[call].extend(
            (run, position, at, result.success, text) for position in positions
        )

    def flush(self, run: int, retries: Retries) -> None:
        """Write what was recorded, in one transaction."""
        with self._transaction():
            for call, rows in self._buffered.items():
                self._database.executemany(UPSERT[call], rows)
            self._database.execute(
                "UPDATE runs SET retries = ?, seconds_waited = ? WHERE run = ?",
                (orjson.dumps(dict(retries.by_status)).decode(), retries.seconds_waited, run),
            )
        for rows in self._buffered.values():
            rows.clear()

    def set_mode(self, run: int, mode: str) -> None:
        """Note how the run delivers."""
        with self._transaction():
            self._database.execute("UPDATE runs SET mode = ? WHERE run = ?", (mode, run))

    def finish(self, run: int, status: str, stop_reason: str | None, finished_at: str) -> None:
        """Note how the run ended."""
        with self._transaction():
            self._database.execute(
                "UPDATE runs SET status = ?, stop_reason = ?, finished_at = ? WHERE run = ?",
                (status, stop_reason, finished_at, run),
            )

    def run_record(self, run: int) -> RunRecord:
        """What the journal knows of the run itself."""
        with self._translated():
            row = self._database.execute(
                "SELECT run_id, started_at, authentication, csv_file, results_file, dry_run,"
                " finished_at, status, stop_reason, mode, retries, seconds_waited"
                " FROM runs WHERE run = ?",
                (run,),
            ).fetchone()
        *header, finished_at, status, stop_reason, mode, retries, seconds_waited = row
        header[-1] = bool(header[-1])
        by_status = tuple(sorted(orjson.loads(retries).items()))
        return RunRecord(
            RunHeader(*header),
            finished_at,
            status,
            stop_reason,
            mode,
            Retries(by_status, seconds_waited),
        )

    def counts(self, run: int) -> Counts:
        """How the users fared; always adds up to all users of the run."""
        with self._translated():
            groups = self._database.execute(
                "SELECT users_update_success, events_track_success, COUNT(*)"
                " FROM outcomes WHERE run = ? GROUP BY 1, 2",
                (run,),
            ).fetchall()
        return add_up(groups, self.total_users(run))

    def csv_rows(self, run: int) -> Iterator[list[object]]:
        """The rows of Query 2 again, in its order."""
        for _, customer_id, profile, event in self._pages(
            "SELECT position, customer_id, profile, event FROM users"
            " WHERE run = ? AND position > ? ORDER BY position LIMIT ?",
            run,
        ):
            yield csv_cells(customer_id, profile, event)

    def outcomes(self, run: int) -> Iterator[UserOutcome]:
        """Every user of the run, in the query's order."""
        nothing = result_json(NOT_ATTEMPTED)
        for _, email, at, profile, event, success in self._pages(
            "SELECT u.position, u.email, o.at, o.users_update, o.events_track,"
            " o.users_update_success AND o.events_track_success"
            " FROM users u LEFT JOIN outcomes o ON o.run = u.run AND o.position = u.position"
            " WHERE u.run = ? AND u.position > ? ORDER BY u.position LIMIT ?",
            run,
        ):
            yield UserOutcome(email, at, profile or nothing, event or nothing, bool(success))

    def _pages(self, query: str, run: int) -> Iterator[tuple[Any, ...]]:
        """Rows of a query that takes run, last position and page size; position comes first."""
        position = 0
        while True:
            with self._translated():
                rows = self._database.execute(query, (run, position, PAGE_SIZE)).fetchall()
            yield from rows
            if len(rows) < PAGE_SIZE:
                return
            position = rows[-1][0]

    def _add_users(self, run: int, at: str, views: Iterable[PageView]) -> int:
        rows = enumerate(views, start=1)
        total = 0
        while chunk := list(islice(rows, PAGE_SIZE)):
            self._database.executemany(
                "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (run, position, view.id, view.email, profile_payload(view), event_payload(view))
                    for position, view in chunk
                ],
            )
            self._database.executemany(
                "INSERT INTO outcomes VALUES (?, ?, ?, 0, ?, 0, ?)",
                [
                    (run, position, at, text, text)
                    for position, view in chunk
                    if (text := refusal_json(view.email))
                ],
            )
            total += len(chunk)
        return total

    def _prepare_schema(self) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._database.executescript(
                f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
        elif version != SCHEMA_VERSION:
            raise JournalError(
                f"The journal {self._path} was written by another version of this program"
                f" (its format is {version}, expected {SCHEMA_VERSION}): move it away"
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise JournalError(advice(self._path, error)) from error
