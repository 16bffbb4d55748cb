"""Who is sent when: the order of the calls, how many at a time, singly or in bulk, the stop.

The thread that calls `deliver` hands work to worker threads and is the only one that writes
to the journal. A worker makes the profile calls of its work, then the event calls, and reports
each outcome. Work is one user in single mode and a batch in bulk mode. Users of a batch that
need single calls after all come back from the worker and are handed out one by one, before the
next batch.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from integration.config.settings import AUTO_WORKERS
from integration.core.clock import utc_now_iso
from integration.core.exit_codes import ExitCode
from integration.core.models import CALLS, KEY_REFUSED, SMALL_RUN_USERS
from integration.core.shutdown import Stop, StopReason
from integration.iterable.bulk import MAX_ITEMS, BulkRefusedError, next_batch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from integration.core.models import Call, CallResult, ErrorKind, Mode, PendingUser, Retries
    from integration.iterable.bulk import ResultGroup
    from integration.journal.store import Journal

logger = logging.getLogger(__name__)

BULK_FROM_USERS = 1000
# Enough to keep both bulk limits busy at a second per call; more would only hold memory.
MAX_BULK_CALLS = 8
FLUSH_SECONDS = 0.5
# One bulk call's worth: what a kill may cost is then little more than the calls in flight.
MAX_BUFFERED = 1000
MAX_UNREACHABLE_CALLS = 20
MAX_BLOCKED_USERS = 3
# What to check for the codes that blame the token beside the key.
_TOKEN_SETTINGS = {
    "InvalidJwtPayload": "ITERABLE_JWT_SECRET",
    "JwtUserIdentifiersMismatched": "ITERABLE_JWT_SECRET",
    "BadAuthorizationHeader": "USE_JWT_AUTH and ITERABLE_JWT_SECRET",
}
_KEY_SETTINGS = "ITERABLE_API_KEY and ITERABLE_API_BASE_URL"
UNREACHABLE = StopReason(
    "stopped",
    f"Iterable is unreachable: {MAX_UNREACHABLE_CALLS} calls in a row used up their tries;"
    " check the network, the proxy and ITERABLE_API_BASE_URL",
    ExitCode.UNAVAILABLE,
)
_THREAD_LIMITS = "(ulimit -u, TasksMax, pids.max)"
NO_THREADS = StopReason(
    "stopped",
    f"No worker thread can be started: raise the limit of processes and threads {_THREAD_LIMITS}",
    ExitCode.CONFIGURATION,
)
RATE_LIMITED = StopReason(
    "stopped",
    f"The account is rate limited: {MAX_UNREACHABLE_CALLS} consecutive calls gave up, the last ones"
    " on 429s; see what else uses the project, lower RATE_LIMIT_SHARE, and wait a while",
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


class IterableCalls(Protocol):
    """The client's calls, made by the workers, and its counts of all of them."""

    def send(self, call: Call, user: PendingUser) -> CallResult:
        """Make one user's call."""
        ...

    def send_many(self, call: Call, users: Sequence[PendingUser]) -> Iterator[ResultGroup]:
        """Make the bulk call for these users."""
        ...

    def retries(self) -> Retries:
        """The retries so far."""
        ...

    def consecutive_failures(self) -> int:
        """The number of calls that exhausted their attempts since the last definite response."""
        ...

    def last_failure(self) -> ErrorKind | None:
        """The error of the last of these calls."""
        ...

    def consecutive_blocked_users(self) -> int:
        """The number of users blocked by something in between since the last success."""
        ...


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

    def of(self, user: PendingUser) -> CallDone:
        """The same for one of the users."""
        return replace(self, users=(user,))


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker is handed: a batch for bulk calls, or one user for these single `calls`.

    `outcomes` are those of the user's calls in a batch before.
    """

    users: Sequence[PendingUser]
    in_bulk: bool
    calls: Sequence[Call] = ()
    outcomes: Sequence[CallDone] = ()


@dataclass(frozen=True, slots=True)
class NeedSingleCalls:
    """A worker's report: users of its batch that are to be sent singly, each as work of its own."""

    work: Sequence[Work]


@dataclass(frozen=True, slots=True)
class WorkDone:
    """A worker's report: the calls for these users are over and the worker is free."""

    work: Work
    users: Sequence[PendingUser]
    outcomes: Sequence[CallDone]


Report = CallDone | NeedSingleCalls | WorkDone
# What became of a batch's users, by their positions.
Known = dict["Call", dict[int, CallDone]]


@dataclass(frozen=True, slots=True)
class WorkerCrashed:
    """A worker's last report: a bug, to be raised where somebody sees it."""

    error: Exception


def single_work(user: PendingUser, known: Known) -> Work:
    """The single calls of a user who leaves a batch whose outcomes so far are known."""
    done = [known[call][user.position] for call in CALLS if user.position in known[call]]
    calls = [call for call in user.calls if user.position not in known[call]]
    return Work((user,), in_bulk=False, calls=calls, outcomes=[one.of(user) for one in done])


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


def blocked(status: int | None) -> StopReason:
    """Why the run stops when something in between refuses one user after the other."""
    return StopReason(
        "stopped",
        f"{MAX_BLOCKED_USERS} consecutive users were refused with status {status}, but not by"
        f" Iterable itself: check the firewall or proxy in between, then ITERABLE_API_BASE_URL"
        " and ITERABLE_API_KEY",
        ExitCode.KEY_REFUSED,
    )


class Delivery:
    """Brings the pending users of a run to Iterable and what became of them to the journal.

    `mode` changes from bulk to single when the key turns out not to be allowed bulk calls.
    """

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
        self.mode: Mode = mode
        self._client = client
        self._journal = journal
        self._run = run
        self._stop = stop
        self._progress = progress
        self._workers = workers
        self._threads: list[threading.Thread] = []
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._reports: queue.SimpleQueue[Report | WorkerCrashed] = queue.SimpleQueue()
        self._single_work: deque[Work] = deque()
        self._under_way = 0
        self._batches_under_way = 0
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
            # every worker; parallel first sends of a new field race at Iterable. If a firewall
            # refuses that user, the next one shows whether it refuses all.
            for first in waiting:
                self._run_batches(iter([[first]]))
                if self._stop.requested() or not self._client.consecutive_blocked_users():
                    break
            self._run_batches(self._batches(waiting))
        finally:
            for _ in self._threads:
                self._work.put(None)
            self._journal.flush(self._run, self._client.retries())

    def _batches(self, waiting: Iterator[PendingUser]) -> Iterator[list[PendingUser]]:
        held_back: list[PendingUser] = []
        while batch := next_batch(waiting, held_back, MAX_ITEMS if self.mode == "bulk" else 1):
            yield batch

    def _run_batches(self, batches: Iterator[list[PendingUser]]) -> None:
        """Keep the workers busy until no work is left or the run is to stop."""
        more = True
        while more or self._single_work or self._under_way:
            if self._stop.requested():
                more = False
                self._single_work.clear()
            if self._single_work and self._under_way < self._workers:
                self._submit(self._single_work.popleft())
            elif more and self._has_room_for_batch():
                batch = next(batches, None)
                if batch is None:
                    more = False
                else:
                    self._progress.start(batch)
                    self._submit(self._work_of(batch))
            elif self._under_way:
                self._take_report()

    def _work_of(self, batch: list[PendingUser]) -> Work:
        in_bulk = self.mode == "bulk" or len(batch) > 1
        return Work(batch, in_bulk, calls=() if in_bulk else batch[0].calls)

    def _has_room_for_batch(self) -> bool:
        if self.mode == "bulk" and self._batches_under_way >= MAX_BULK_CALLS:
            return False
        return self._under_way < self._workers

    def _submit(self, work: Work) -> None:
        if self._under_way >= len(self._threads):
            self._start_worker()
        if not self._threads:
            return  # and the run is to stop
        self._under_way += 1
        self._batches_under_way += work.in_bulk
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
        """The machine lets no more threads begin."""
        if threads == 0:
            self._stop.request(NO_THREADS)
            return
        logger.warning(
            "No more than %d of %d worker threads can be started: continuing with %d."
            " Raise the limit of processes and threads %s or lower MAX_WORKERS",
            threads,
            self._workers,
            threads,
            _THREAD_LIMITS,
        )
        self._workers = threads

    def _take_report(self) -> None:
        """Wait a moment for a report and note it, if there is one."""
        report: Report | WorkerCrashed | None = None
        with suppress(queue.Empty):
            report = self._reports.get(timeout=FLUSH_SECONDS)
        if isinstance(report, WorkerCrashed):
            raise report.error
        if report is not None:
            self._note(report)
        if time.monotonic() >= self._flush_due or self._journal.buffered >= MAX_BUFFERED:
            self._journal.flush(self._run, self._client.retries())
            self._flush_due = time.monotonic() + FLUSH_SECONDS
            if not self._journal.is_in_place:
                self._stop.request(journal_gone(self._journal.path))

    def _note(self, report: Report) -> None:
        if isinstance(report, NeedSingleCalls):
            self._single_work.extend(report.work)
        elif isinstance(report, WorkDone):
            self._under_way -= 1
            self._batches_under_way -= report.work.in_bulk
            self._progress.advance(report.users, report.outcomes)
        else:
            self._note_call(report)

    def _note_call(self, report: CallDone) -> None:
        positions = [user.position for user in report.users]
        self._journal.record(self._run, positions, report.call, report.result, report.at)
        if self._client.consecutive_failures() >= MAX_UNREACHABLE_CALLS:
            is_throttled = self._client.last_failure() == "rate_limited"
            self._stop.request(RATE_LIMITED if is_throttled else UNREACHABLE)

    def _worker_loop(self) -> None:
        while (work := self._work.get()) is not None:
            outcomes = list(work.outcomes)
            elsewhere: set[int] = set()
            try:
                for report in self._send(work):
                    if isinstance(report, CallDone):
                        outcomes.append(report)
                        self._progress.call_done(report)
                    else:
                        elsewhere.update(one.users[0].position for one in report.work)
                    self._reports.put(report)
            except Exception as error:  # noqa: BLE001  raised again by the delivering thread
                self._reports.put(WorkerCrashed(error))
                return
            users = [user for user in work.users if user.position not in elsewhere]
            self._reports.put(WorkDone(work, users, outcomes))

    def _send(self, work: Work) -> Iterator[CallDone | NeedSingleCalls]:
        if work.in_bulk:
            return self._send_batch(work.users)
        return self._send_singly(work.users[0], work.calls)

    def _send_batch(self, batch: Sequence[PendingUser]) -> Iterator[CallDone | NeedSingleCalls]:
        """All profiles, then all events; users that need single calls leave the batch."""
        known: Known = {call: {} for call in CALLS}
        users = batch
        for call in CALLS:
            leaving = yield from self._send_many(call, users, known)
            if self.mode == "single":
                leaving = users
            work = [one for one in (single_work(user, known) for user in leaving) if one.calls]
            if work:
                yield NeedSingleCalls(work)
                gone = {one.users[0].position for one in work}
                users = [user for user in users if user.position not in gone]

    def _send_many(
        self, call: Call, batch: Sequence[PendingUser], known: Known
    ) -> Generator[CallDone, None, Sequence[PendingUser]]:
        """Make a bulk call, note its outcomes in `known` and return who needs single calls."""
        users = [user for user in batch if call in user.calls]
        leaving: list[PendingUser] = []
        if not users or self.mode == "single":
            return leaving
        try:
            for group, result in self._client.send_many(call, users):
                if result is None:
                    leaving += group
                elif result.error != "not_attempted":
                    done = CallDone(group, call, result, utc_now_iso())
                    known[call].update((user.position, done) for user in group)
                    yield done
        except BulkRefusedError:
            self._fall_back()
        return leaving

    def _send_singly(self, user: PendingUser, calls: Sequence[Call]) -> Iterator[CallDone]:
        """Profile, then event. A failed profile does not stop its event, a refused key does."""
        for call in calls:
            result = self._client.send(call, user)
            if result.error == "not_attempted":
                return
            yield CallDone((user,), call, result, utc_now_iso())
            if result.key_refused:
                self._stop.request(key_refused(result.code))
            elif result.blocked and self._client.consecutive_blocked_users() >= MAX_BLOCKED_USERS:
                self._stop.request(blocked(result.status_code))

    def _fall_back(self) -> None:
        with self._mode_lock:
            before, self.mode = self.mode, "single"
        if before == "bulk":
            logger.warning("This key may not make bulk calls: going on with single calls")
