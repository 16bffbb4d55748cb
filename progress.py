"""What is seen of a delivery while it goes on."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

from records import CALLS, ENDPOINTS, SMALL_RUN_USERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from delivery import CallDone
    from records import Call, CallResult, PendingUser

logger = logging.getLogger("main")
# A user's lines stand beside those of their calls, under the same name.
user_logger = logging.getLogger("iterable_client")

# Up to here every user is worth a few lines at INFO; above, they go to the file only.
MOST_USERS_SHOWN = SMALL_RUN_USERS
SECONDS_BETWEEN_LINES = 10.0


class DeliveryProgress:
    """Lines for each user of a small run; a bar, or now and then a line, for a large one."""

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self._total = total
        self._done = 0
        self._level = logging.INFO if total <= MOST_USERS_SHOWN else logging.DEBUG
        self._started = time.monotonic()
        self._line_due = self._started + SECONDS_BETWEEN_LINES
        large = total > MOST_USERS_SHOWN
        self._lines = large and not sys.stderr.isatty()
        self._bar = tqdm(total=total, unit="user", disable=quiet or not large or self._lines)

    def advance(self, users: Sequence[PendingUser], outcomes: Sequence[CallDone]) -> None:
        """These users' calls are over."""
        if self._level == logging.INFO or len(users) == 1:
            for number, user in enumerate(users, start=self._done + 1):
                self._tell(number, user, results_of(user, outcomes))
        self._done += len(users)
        self._bar.update(len(users))
        now = time.monotonic()
        if self._lines and now >= self._line_due:
            self._line_due = now + SECONDS_BETWEEN_LINES
            logger.info(progress_line(self._done, self._total, now - self._started))

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def _tell(self, number: int, user: PendingUser, results: dict[Call, CallResult]) -> None:
        logger.log(self._level, "Processing record %d/%d", number, self._total)
        user_logger.log(self._level, "Processing user: %s", user.email)
        for call in CALLS:
            if call in results and results[call].success:
                user_logger.log(self._level, "%s call successful: Success", ENDPOINTS[call])
        if len(results) == len(user.calls) and all(result.success for result in results.values()):
            user_logger.log(self._level, "✓ Successfully processed user: %s", user.email)
        else:
            user_logger.log(self._level, "✗ Not fully delivered: %s", user.email)


def results_of(user: PendingUser, outcomes: Sequence[CallDone]) -> dict[Call, CallResult]:
    """What became of one user of a batch; only calls that were made are there."""
    return {done.call: done.result for done in outcomes if user in done.users}


def progress_line(done: int, total: int, seconds: float) -> str:
    """How far the run is, how fast, and how long it will take."""
    rate = done / seconds if seconds > 0 else 0.0
    left = f"{(total - done) / rate / 60:.1f} min left" if rate else "no estimate yet"
    return f"Progress: {done}/{total} users ({100 * done // total} %), {rate:.0f} users/s, {left}"
