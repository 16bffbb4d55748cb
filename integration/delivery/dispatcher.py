"""The order of calls, their concurrency, single or bulk mode, and the stop.

The thread that calls `deliver` submits work to worker threads and is the only one that writes to
the journal. Work is one user in single mode and a batch in bulk mode. Users of a batch that need
single calls come back from the worker and are submitted one by one, before the next batch.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Protocol

from integration.config.settings import AUTO_WORKERS
from integration.core.models import SMALL_RUN_USERS
from integration.delivery.sender import Sender
from integration.delivery.stop_reasons import (
    MAX_UNREACHABLE_CALLS,
    NO_THREADS,
    THREAD_LIMITS,
    journal_gone,
    unavailable,
)
from integration.delivery.work import CallDone, NeedSingleCalls, Work, WorkDone, WorkerCrashed
from integration.iterable.bulk import MAX_ITEMS, next_batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from integration.core.models import Mode, PendingUser
    from integration.core.shutdown import Stop
    from integration.delivery.sender import IterableCalls
    from integration.delivery.work import Report
    from integration.journal.store import Journal

logger = logging.getLogger(__name__)

# Enough to use both bulk limits fully at a second per call, and to keep a server without limits
# busy at 50 ms; more would only use memory.
MAX_BULK_CALLS = 12
FLUSH_SECONDS = 0.5
# As many as one bulk call has, so that a kill costs little more than the calls in flight.
MAX_BUFFERED = 1000


class Progress(Protocol):
    """Receives every batch in the main thread, and every call in its worker."""

    def start(self, users: Sequence[PendingUser]) -> None:
        """The calls of these users start; nothing was logged about them yet."""
        ...

    def call_done(self, done: CallDone) -> None:
        """A call is over; called by the worker before it makes the next one."""
        ...

    def advance(self, users: Sequence[PendingUser], outcomes: Sequence[CallDone]) -> None:
        """The calls of these users are over; `outcomes` are those of the calls that were made."""
        ...


def choose_workers(wanted: int | Literal["auto"], total_users: int) -> int:
    """The number of worker threads: `auto` means one for a small run, which keeps the order."""
    if wanted != "auto":
        return wanted
    return 1 if total_users <= SMALL_RUN_USERS else AUTO_WORKERS


class Delivery:
    """Sends the pending users of a run to Iterable and records the outcomes in the journal."""

    def __init__(
        self,
        client: IterableCalls,
        journal: Journal,
        run: int,
        stop: Stop,
        progress: Progress,
        *,
        workers: int,
        mode: Mode,
    ) -> None:
        self._client = client
        self._sender = Sender(client, stop, mode)
        self._journal = journal
        self._run = run
        self._stop = stop
        self._progress = progress
        self._workers = workers
        self._threads: list[threading.Thread] = []
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._reports: queue.SimpleQueue[Report | WorkerCrashed] = queue.SimpleQueue()
        self._single_work: deque[Work] = deque()
        self._in_flight = 0
        self._batches_in_flight = 0
        self._flush_due = 0.0
        self._first_is_over = False

    @property
    def mode(self) -> Mode:
        """Single or bulk; changes to single when the key turns out not to allow bulk calls."""
        return self._sender.mode

    def deliver(self, users: Iterable[PendingUser]) -> None:
        """Send all users, until the end or a stop; calls in flight always finish.

        Raises:
            JournalError: an outcome cannot be written; calls in flight are not waited for.
        """
        try:
            self._run_batches(self._batches(iter(users)))
        finally:
            for _ in self._threads:
                self._work.put(None)
            self._journal.flush(self._run, self._client.retries())

    def _batches(self, remaining: Iterator[PendingUser]) -> Iterator[list[PendingUser]]:
        held_back: list[PendingUser] = []
        while batch := next_batch(remaining, held_back, MAX_ITEMS if self.mode == "bulk" else 1):
            yield batch

    def _run_batches(self, batches: Iterator[list[PendingUser]]) -> None:
        """Keep the workers busy until there is no work left or the run is to stop."""
        more = True
        while more or self._single_work or self._in_flight:
            if self._stop.requested():
                more = False
                self._single_work.clear()
            if self._single_work and self._in_flight < self._width:
                self._submit(self._single_work.popleft())
            elif more and self._has_room_for_batch():
                batch = next(batches, None)
                if batch is None:
                    more = False
                else:
                    self._progress.start(batch)
                    self._submit(self._work_of(batch))
            elif self._in_flight:
                self._take_report()

    def _work_of(self, batch: list[PendingUser]) -> Work:
        in_bulk = self.mode == "bulk" or len(batch) > 1
        return Work(batch, in_bulk, calls=() if in_bulk else batch[0].calls)

    def _has_room_for_batch(self) -> bool:
        if self.mode == "bulk" and self._batches_in_flight >= MAX_BULK_CALLS:
            return False
        return self._in_flight < self._width

    @property
    def _width(self) -> int:
        """How much work may be in flight: the first user or batch is sent alone.

        A wrong key or a new field is met once, and not by every worker; concurrent first uses of
        a new field race at Iterable. If a firewall refuses that user, the next one shows whether
        it refuses all.
        """
        return self._workers if self._first_is_over else 1

    def _submit(self, work: Work) -> None:
        if self._in_flight >= len(self._threads):
            self._start_worker()
        if not self._threads:
            return  # no thread can be started, so the run is to stop
        self._in_flight += 1
        self._batches_in_flight += work.in_bulk
        self._work.put(work)

    def _start_worker(self) -> None:
        thread = threading.Thread(target=self._worker_loop, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._reduce_workers(len(self._threads))
        else:
            self._threads.append(thread)

    def _reduce_workers(self, threads: int) -> None:
        """Continue with the threads that the system allows."""
        if threads == 0:
            self._stop.request(NO_THREADS)
            return
        logger.warning(
            "No more than %d of %d worker threads can be started: continuing with %d."
            " Raise the limit of processes and threads %s or lower MAX_WORKERS",
            threads,
            self._workers,
            threads,
            THREAD_LIMITS,
        )
        self._workers = threads

    def _take_report(self) -> None:
        """Wait a moment for a report and process it; flush the journal when that is due."""
        report: Report | WorkerCrashed | None = None
        with suppress(queue.Empty):
            report = self._reports.get(timeout=FLUSH_SECONDS)
        if isinstance(report, WorkerCrashed):
            raise report.error
        if report is not None:
            self._process(report)
        if time.monotonic() >= self._flush_due or self._journal.buffered >= MAX_BUFFERED:
            self._journal.flush(self._run, self._client.retries())
            self._flush_due = time.monotonic() + FLUSH_SECONDS
            if not self._journal.is_in_place:
                self._stop.request(journal_gone(self._journal.path))

    def _process(self, report: Report) -> None:
        if isinstance(report, NeedSingleCalls):
            self._single_work.extend(report.work)
        elif isinstance(report, WorkDone):
            self._in_flight -= 1
            self._batches_in_flight -= report.work.in_bulk
            if report.outcomes and not self._client.consecutive_blocked_users():
                self._first_is_over = True
            self._progress.advance(report.users, report.outcomes)
        else:
            self._record(report)

    def _record(self, done: CallDone) -> None:
        positions = [user.position for user in done.users]
        self._journal.record(positions, done.call, done.result, done.at)
        if self._client.consecutive_failures() >= MAX_UNREACHABLE_CALLS:
            self._stop.request(unavailable(self._client.last_failure()))

    def _worker_loop(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                done = self._send(work)
            except Exception as error:  # noqa: BLE001  raised again by the main thread
                self._reports.put(WorkerCrashed(error))
                return
            self._reports.put(done)

    def _send(self, work: Work) -> WorkDone:
        """Make the calls for this work and report each of them."""
        outcomes = list(work.outcomes)
        moved: set[int] = set()
        for report in self._sender.send(work):
            if isinstance(report, CallDone):
                outcomes.append(report)
                self._progress.call_done(report)
            else:
                moved.update(report.positions())
            self._reports.put(report)
        users = [user for user in work.users if user.position not in moved]
        return WorkDone(work, users, outcomes)
