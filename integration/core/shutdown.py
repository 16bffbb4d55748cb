"""Stopping a run early: on a signal, or because the delivery cannot continue."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from integration.core.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a run ends early: status and text for the results file, and the exit code."""

    status: Literal["stopped", "interrupted"]
    text: str
    exit_code: ExitCode


INTERRUPTIONS = {
    signal.SIGINT: StopReason("interrupted", "interrupted by SIGINT (Ctrl-C)", ExitCode.SIGINT),
    signal.SIGTERM: StopReason("interrupted", "interrupted by SIGTERM", ExitCode.SIGTERM),
}
# Signals closer together than this count as one.
SECONDS_OF_ONE_SIGNAL = 0.5


class Interrupted(BaseException):
    """A signal arrived before anything was sent or stored, or what it waits for does not end."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.text)
        self.reason = reason


class Stop:
    """The run's stop flag, shared by all threads; the first reason is kept."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reasons: list[StopReason] = []

    @property
    def reason(self) -> StopReason | None:
        """Why the run is to stop, or None."""
        return self._reasons[0] if self._reasons else None

    def request(self, reason: StopReason) -> None:
        """Stop the run; all threads finish their current work."""
        # Appending is atomic, so all threads agree on the first reason. Only that call sets the
        # event: a signal handler that interrupts this method must not wait for the event's lock.
        self._reasons.append(reason)
        if self._reasons[0] is reason:
            self._event.set()

    def requested(self) -> bool:
        """Whether the run is to stop."""
        return bool(self._reasons)

    def wait(self, seconds: float) -> bool:
        """Sleep until the time is over or a stop is requested; True if it is requested."""
        return self._event.wait(seconds)


def wait_in_main_thread(stop: Stop, seconds: float) -> bool:
    """Like `Stop.wait`, for the main thread.

    Signal handlers run in the main thread: it must not hold the event's lock when one calls
    `Stop.request`.
    """
    until = time.monotonic() + seconds
    while not stop.requested() and time.monotonic() < until:
        time.sleep(0.1)
    return stop.requested()


class SignalWatch:
    """Handles SIGINT and SIGTERM.

    Before the first call a signal aborts the run (`Interrupted`). After `let_calls_finish` the
    first signal requests a stop, and calls in flight finish, or are given up after a while. A
    second signal ends the process at once; like a kill, this costs no recorded outcome.
    """

    def __init__(self, stop: Stop, clock: Callable[[], float] = time.monotonic) -> None:
        self._stop = stop
        self._clock = clock
        self._calls_must_finish = False
        self._seconds_to_finish: float | None = None
        self._first_at: float | None = None
        self.interrupted_by: StopReason | None = None
        for number in INTERRUPTIONS:
            signal.signal(number, self._handle)

    def let_calls_finish(self, within_seconds: float | None = None) -> None:
        """From now on a signal lets calls in flight finish.

        Args:
            within_seconds: after that the main thread gets `Interrupted`, wherever it
                is; None if all calls have time limits of their own.

        Raises:
            Interrupted: a signal arrived earlier, but Python discarded its exception.
        """
        self._calls_must_finish = True
        self._seconds_to_finish = within_seconds
        if self.interrupted_by:
            raise Interrupted(self.interrupted_by)

    def abort_at_once(self) -> None:
        """From now on a signal aborts again what is done, until `let_calls_finish`."""
        self._calls_must_finish = False

    def only_request(self) -> None:
        """From now on a signal requests a stop, and nothing else; the second ends the process."""
        self._calls_must_finish = True
        self._seconds_to_finish = None
        self.close()

    def close(self) -> None:
        """Give nothing up any more: what is in progress is the end."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        reason = INTERRUPTIONS[signal.Signals(number)]
        if self._first_at is not None:
            # GNU timeout sends two: one to the child and one to its process group.
            if self._clock() - self._first_at >= SECONDS_OF_ONE_SIGNAL:
                os._exit(reason.exit_code)
            return
        self._first_at = self._clock()
        if self._calls_must_finish:
            self._stop.request(reason)
            if self._seconds_to_finish is not None:
                signal.signal(signal.SIGALRM, self._give_up)
                signal.setitimer(signal.ITIMER_REAL, self._seconds_to_finish)
            return
        # A library may replace the exception with its own: SQLite does in a callback.
        self.interrupted_by = reason
        raise Interrupted(reason)

    def _give_up(self, _number: int, _frame: FrameType | None) -> None:
        if self._stop.reason is not None:
            raise Interrupted(self._stop.reason)
