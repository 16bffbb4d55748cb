"""The progress of a delivery: log lines and a progress bar."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

from integration.core.models import CALLS, ENDPOINTS, SMALL_RUN_USERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from tqdm import tqdm

    from integration.core.models import Call, CallResult, PendingUser
    from integration.delivery.work import CallDone

logger = logging.getLogger(__name__)

# Up to this size, the lines of each user are logged at INFO; above, at DEBUG.
MAX_USERS_SHOWN = SMALL_RUN_USERS
SECONDS_BETWEEN_LINES = 10.0


class DeliveryProgress:
    """Lines for each user of a small run; for a large one a bar, or a line every ten seconds.

    Args:
        total: the number of users.
        one_by_one: whether users are sent one at a time. Then lines are logged as calls happen,
            and the client's lines about a call appear between them. Otherwise the lines of a
            user are logged together, when the calls are over.
        quiet: show no bar.
    """

    def __init__(self, total: int, *, one_by_one: bool = False, quiet: bool = False) -> None:
        self._total = total
        self._one_by_one = one_by_one
        self._live = False
        self._done = 0
        self._level = logging.INFO if total <= MAX_USERS_SHOWN else logging.DEBUG
        self._started = time.monotonic()
        self._line_due = self._started + SECONDS_BETWEEN_LINES
        large = total > MAX_USERS_SHOWN
        self._lines = large and not sys.stderr.isatty()
        self._bar = _new_bar(total) if large and not (quiet or self._lines) else None

    def start(self, users: Sequence[PendingUser]) -> None:
        """The calls of these users start."""
        self._live = self._one_by_one and len(users) == 1
        if self._live:
            self._log_start(self._done + 1, users[0])

    def call_done(self, done: CallDone) -> None:
        """A call is over; called by the worker before it makes the next one."""
        if self._live and done.result.success:
            self._log_success(done.call)

    def advance(self, users: Sequence[PendingUser], outcomes: Sequence[CallDone]) -> None:
        """The calls of these users are over."""
        if not users:
            return  # all of them left a bulk call for single calls
        if self._live:
            self._log_end(users[0], results_of(users[0], outcomes))
        elif self._level == logging.INFO or len(users) == 1:
            for number, user in enumerate(users, start=self._done + 1):
                self._log_user(number, user, results_of(user, outcomes))
        self._done += len(users)
        if self._bar is not None:
            self._bar.update(len(users))
        now = time.monotonic()
        if self._lines and now >= self._line_due:
            self._line_due = now + SECONDS_BETWEEN_LINES
            logger.info(progress_line(self._done, self._total, now - self._started))

    def close(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def _log_user(self, number: int, user: PendingUser, results: dict[Call, CallResult]) -> None:
        self._log_start(number, user)
        for call in CALLS:
            if call in results and results[call].success:
                self._log_success(call)
        self._log_end(user, results)

    def _log_start(self, number: int, user: PendingUser) -> None:
        logger.log(self._level, "Processing record %d/%d", number, self._total)
        logger.log(self._level, "Processing user: %s", user.email)

    def _log_success(self, call: Call) -> None:
        logger.log(self._level, "%s call successful: Success", ENDPOINTS[call])

    def _log_end(self, user: PendingUser, results: dict[Call, CallResult]) -> None:
        if len(results) == len(user.calls) and all(result.success for result in results.values()):
            logger.log(self._level, "✓ Successfully processed user: %s", user.email)
        else:
            logger.log(self._level, "✗ Not fully delivered: %s", user.email)


def _new_bar(total: int) -> tqdm[NoReturn]:
    from tqdm import tqdm  # noqa: PLC0415  only large runs on a terminal have a bar

    # tqdm's monitor thread only redraws a stalled bar, and the system may not let it start.
    tqdm.monitor_interval = 0
    return tqdm(total=total, unit="user")


def results_of(user: PendingUser, outcomes: Sequence[CallDone]) -> dict[Call, CallResult]:
    """The results of one user of a batch, for the calls that were made."""
    return {done.call: done.result for done in outcomes if user in done.users}


def progress_line(done: int, total: int, seconds: float) -> str:
    """The progress of the run, its rate and the estimated time left."""
    rate = done / seconds if seconds > 0 else 0.0
    left = f"{(total - done) / rate / 60:.1f} min left" if rate else "no estimate yet"
    return f"Progress: {done}/{total} users ({100 * done // total} %), {rate:.0f} users/s, {left}"
