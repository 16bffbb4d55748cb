"""Who is sent when: the order of the calls, how many at a time, singly or in bulk, the stop.

The thread that calls `deliver` hands batches of users to worker threads and is the only one
that writes to the journal. A worker makes the profile calls of its batch, then the event
calls, and reports each outcome. In single mode a batch is one user.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from bulk import MOST_ITEMS, next_batch
from exit_codes import ExitCode
from iterable_client import BulkRefusedError
from moments import now_text
from records import CALLS, KEY_REFUSED, SMALL_RUN_USERS
from settings import AUTO_WORKERS
from stopping import Stop, StopReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from iterable_client import IterableClient
    from journal import Journal
    from records import Call, CallResult, Mode, PendingUser

logger = logging.getLogger(__name__)

BULK_FROM_USERS = 1000
# Enough to keep both bulk limits busy at a second per call; more would only hold memory.
MOST_BULK_CALLS = 8
FLUSH_SECONDS = 0.5
# One bulk call's worth: what a kill may cost is then little more than the calls in flight.
MOST_BUFFERED = 1000
MOST_UNREACHABLE_CALLS = 20
# What to check for the codes that blame the token beside the key.
_TOKEN_SETTINGS = {
    "InvalidJwtPayload": "ITERABLE_JWT_SECRET",
    "JwtUserIdentifiersMismatched": "ITERABLE_JWT_SECRET",
    "BadAuthorizationHeader": "USE_JWT_AUTH and ITERABLE_JWT_SECRET",
}
_KEY_SETTINGS = "ITERABLE_API_KEY and ITERABLE_API_BASE_URL"
UNREACHABLE = StopReason(
    "stopped",
    f"Iterable is unreachable: {MOST_UNREACHABLE_CALLS} calls in a row used up their tries;"
    " check the network, the proxy and ITERABLE_API_BASE_URL",
    ExitCode.UNAVAILABLE,
)


def journal_gone(path: Path) -> StopReason:
    """Why the run stops when its journal is no longer what the next run will find."""
    return StopReason(
        "stopped",
        f"The journal {path} was removed or replaced during the run, so that no later run knows"
        " of this one: see its results file for what was sent, and find out what touched the"
        " journal before you run again",
        ExitCode.CONFIGURATION,
    )


class Progress(Protocol):
    """Told about every batch, by the delivering thread, and about every call by its worker."""

    def start(self, users: Sequence[PendingUser]) -> None:
        """These users' calls begin; nothing was logged of them yet."""
        ...

    def call_done(self, done: CallDone) -> None:
        """A call is over; called by the worker, before it makes the next one."""
        ...

    def advance(self, users: Sequence[PendingUser], outcomes: Sequence[CallDone]) -> None:
        """These users' calls are over; `outcomes` are those of the calls that were made."""
        ...


@dataclass(frozen=True, slots=True)
class CallDone:
    """A worker's report: what became of one call of users who share its result."""

    users: Sequence[PendingUser]
    call: Call
    result: CallResult
    at: str


@dataclass(frozen=True, slots=True)
class BatchDone:
    """A worker's report: the calls of a batch are over and the worker is free."""

    users: Sequence[PendingUser]
    outcomes: Sequence[CallDone]


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker's last report: a bug, to be raised where somebody sees it."""

    error: Exception


def choose_mode(wanted: str, total_users: int, *, jwt: bool) -> Mode:
    """Single or bulk: `auto` means bulk from 1,000 users on; a JWT key may not call bulk."""
    if jwt or wanted == "single":
        return "single"
    return "bulk" if wanted == "bulk" or total_users >= BULK_FROM_USERS else "single"


def choose_workers(wanted: int | Literal["auto"], total_users: int) -> int:
    """How many users are under way at once: `auto` means one in a small run, in list order."""
    if wanted != "auto":
        return wanted
    return 1 if total_users <= SMALL_RUN_USERS else AUTO_WORKERS


def key_refused(code: str | None) -> StopReason:
    """Why the run stops at a refused key, and which settings may be wrong, by Iterable's code."""
    settings = _TOKEN_SETTINGS.get(code or "", _KEY_SETTINGS)
    return StopReason("stopped", f"{KEY_REFUSED}: check {settings}", ExitCode.KEY_REFUSED)


class Delivery:
    """Brings the pending users of a run to Iterable and what became of them to the journal.

    `mode` changes from bulk to single when the key turns out not to be allowed bulk calls.
    """

    def __init__(
        self,
        client: IterableClient,
        journal: Journal,
        run: int,
        stop: Stop,
        progress: Progress,
        *,
        workers: int,
        mode: Mode,
    ) -> None:
        self.mode: Mode = mode
        self._client = client
        self._journal = journal
        self._run = run
        self._stop = stop
        self._progress = progress
        self._workers = workers
        self._threads: list[threading.Thread] = []
        self._work: queue.SimpleQueue[Sequence[PendingUser] | None] = queue.SimpleQueue()
        self._reports: queue.SimpleQueue[CallDone | BatchDone | WorkerDied] = queue.SimpleQueue()
        self._mode_lock = threading.Lock()
        self._flush_due = 0.0

    def deliver(self, users: Iterable[PendingUser]) -> None:
        """Send everybody, until the end or a stop; calls under way always finish.

        Raises:
            JournalError: an outcome cannot be written; calls under way are not waited for.
        """
        waiting = iter(users)
        try:
            # The first user goes alone: a wrong key or a new field is met once, and not by
            # every worker; parallel first sends of a new field race at Iterable.
            first = next(waiting, None)
            if first is not None:
                self._pump(iter([[first]]))
            self._pump(self._batches(waiting))
        finally:
            for _ in self._threads:
                self._work.put(None)
            self._journal.flush(self._run, self._client.retried())

    def _batches(self, waiting: Iterator[PendingUser]) -> Iterator[list[PendingUser]]:
        held_back: list[PendingUser] = []
        while batch := next_batch(waiting, held_back, MOST_ITEMS if self.mode == "bulk" else 1):
            yield batch

    def _pump(self, batches: Iterator[list[PendingUser]]) -> None:
        """Keep the workers busy until no batch is left or the run is to stop."""
        under_way = 0
        more = True
        while more or under_way:
            if self._stop.requested():
                more = False
            if more and under_way < self._at_once():
                batch = next(batches, None)
                if batch is None:
                    more = False
                else:
                    under_way += 1
                    self._hand_out(batch, under_way)
            elif under_way:
                under_way -= isinstance(self._take_report(), BatchDone)

    def _at_once(self) -> int:
        return self._workers if self.mode == "single" else min(self._workers, MOST_BULK_CALLS)

    def _hand_out(self, batch: list[PendingUser], under_way: int) -> None:
        if under_way > len(self._threads):
            thread = threading.Thread(target=self._serve, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._progress.start(batch)
        self._work.put(batch)

    def _take_report(self) -> CallDone | BatchDone | None:
        """Wait a moment for a report and note it, if there is one."""
        report: CallDone | BatchDone | WorkerDied | None = None
        with suppress(queue.Empty):
            report = self._reports.get(timeout=FLUSH_SECONDS)
        if isinstance(report, WorkerDied):
            raise report.error
        if report is not None:
            self._note(report)
        if time.monotonic() >= self._flush_due or self._journal.buffered >= MOST_BUFFERED:
            self._journal.flush(self._run, self._client.retried())
            self._flush_due = time.monotonic() + FLUSH_SECONDS
            if not self._journal.is_in_place:
                self._stop.request(journal_gone(self._journal.path))
        return report

    def _note(self, report: CallDone | BatchDone) -> None:
        if isinstance(report, BatchDone):
            self._progress.advance(report.users, report.outcomes)
            return
        positions = [user.position for user in report.users]
        self._journal.record(self._run, positions, report.call, report.result, report.at)
        if self._client.gave_up_in_a_row() >= MOST_UNREACHABLE_CALLS:
            self._stop.request(UNREACHABLE)

    def _serve(self) -> None:
        while (batch := self._work.get()) is not None:
            outcomes: list[CallDone] = []
            try:
                for done in self._send_batch(batch):
                    outcomes.append(done)
                    self._progress.call_done(done)
                    self._reports.put(done)
            except Exception as error:  # noqa: BLE001  raised again by the delivering thread
                self._reports.put(WorkerDied(error))
                return
            self._reports.put(BatchDone(batch, outcomes))

    def _send_batch(self, batch: Sequence[PendingUser]) -> Iterator[CallDone]:
        if self.mode == "single":
            for user in batch:
                yield from self._send_singly(user)
            return
        for call in CALLS:
            users = [user for user in batch if call in user.calls]
            if not users:
                continue
            known: set[int] = set()
            try:
                for group, result in self._client.send_many(call, users):
                    if result.error != "not_attempted":
                        known.update(user.position for user in group)
                        yield CallDone(group, call, result, now_text())
            except BulkRefusedError:
                self._fall_back()
                for user in batch:
                    # A part of the call may have gone through before another was refused.
                    done = CALLS.index(call) + (user.position in known)
                    yield from self._send_singly(user, CALLS[done:])
                return

    def _send_singly(self, user: PendingUser, calls: Sequence[Call] = CALLS) -> Iterator[CallDone]:
        """Profile, then event. A failed profile does not stop its event, a refused key does."""
        for call in (call for call in user.calls if call in calls):
            result = self._client.send(call, user)
            if result.error == "not_attempted":
                return
            yield CallDone((user,), call, result, now_text())
            if result.key_refused:
                self._stop.request(key_refused(result.code))

    def _fall_back(self) -> None:
        with self._mode_lock:
            before, self.mode = self.mode, "single"
        if before == "bulk":
            logger.warning("This key may not make bulk calls: going on with single calls")
