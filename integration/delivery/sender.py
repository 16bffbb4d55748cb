"""The calls that a worker makes for its work, in their order.

The profile call comes before the event call; in bulk mode all profiles of a batch come before its
events. Users of a batch that need single calls leave it, each as work for any worker.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

from integration.core.clock import utc_now_iso
from integration.core.models import CALLS
from integration.delivery.stop_reasons import MAX_BLOCKED_USERS, blocked, key_refused
from integration.delivery.work import CallDone, NeedSingleCalls, single_work
from integration.iterable.bulk import BulkRefusedError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from integration.core.models import Call, CallResult, ErrorKind, Mode, PendingUser, Retries
    from integration.core.shutdown import Stop
    from integration.delivery.work import CallReport, Outcomes, Work
    from integration.iterable.bulk import ResultGroup

logger = logging.getLogger(__name__)


class IterableCalls(Protocol):
    """The client's calls, which the workers make, and its counts over all of them."""

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
        """The number of users blocked on the way to Iterable since the last success."""
        ...


class Sender:
    """Makes calls and reports them; shared by all workers.

    Attributes:
        mode: changes from bulk to single when the key turns out not to allow bulk calls.
    """

    def __init__(self, client: IterableCalls, stop: Stop, mode: Mode) -> None:
        self.mode: Mode = mode
        self._client = client
        self._stop = stop
        self._mode_lock = threading.Lock()

    def send(self, work: Work) -> Iterator[CallReport]:
        """Make the calls for this work, and yield a report when one is over."""
        if work.in_bulk:
            return self._send_batch(work.users)
        return self._send_single(work.users[0], work.calls)

    def _send_batch(self, batch: Sequence[PendingUser]) -> Iterator[CallReport]:
        """All profiles, then all events."""
        outcomes: Outcomes = {call: {} for call in CALLS}
        users = batch
        for call in CALLS:
            leaving = yield from self._send_many(call, users, outcomes)
            if self.mode == "single":
                leaving = users
            work = [one for one in (single_work(user, outcomes) for user in leaving) if one.calls]
            if work:
                report = NeedSingleCalls(work)
                yield report
                gone = report.positions()
                users = [user for user in users if user.position not in gone]

    def _send_many(
        self, call: Call, batch: Sequence[PendingUser], outcomes: Outcomes
    ) -> Generator[CallDone, None, Sequence[PendingUser]]:
        """Make a bulk call, add to `outcomes`, and return the users that need single calls."""
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
                    outcomes[call].update((user.position, done) for user in group)
                    yield done
        except BulkRefusedError:
            self._fall_back_to_single()
        return leaving

    def _send_single(self, user: PendingUser, calls: Sequence[Call]) -> Iterator[CallDone]:
        """Profile, then event. A failed profile does not prevent its event, a refused key does."""
        for call in calls:
            result = self._client.send(call, user)
            if result.error == "not_attempted":
                return
            yield CallDone((user,), call, result, utc_now_iso())
            if result.key_refused:
                self._stop.request(key_refused(result.code))
            elif result.blocked and self._client.consecutive_blocked_users() >= MAX_BLOCKED_USERS:
                self._stop.request(blocked(result.status_code))

    def _fall_back_to_single(self) -> None:
        with self._mode_lock:
            before, self.mode = self.mode, "single"
        if before == "bulk":
            logger.warning("This key may not make bulk calls: continuing with single calls")
