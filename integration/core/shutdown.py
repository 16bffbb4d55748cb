"""How a run is stopped before its end: by a signal, or by a rule of the delivery."""

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
    """Why a run ends early: its status and text for the results file, and the exit code."""

    status: Literal["stopped", "interrupted"]
    text: str
    exit_code: ExitCode


INTERRUPTIONS = {
    signal.SIGINT: StopReason("interrupted", "interrupted by SIGINT (Ctrl-C)", ExitCode.SIGINT),
    signal.SIGTERM: StopReason("interrupted", "interrupted by SIGTERM", ExitCode.SIGTERM),
}


# Two signals that come closer than this are one wish.
SECONDS_OF_ONE_SIGNAL = 0.5


class Interrupted(BaseException):
    """A signal came while nothing had been sent yet."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.text)
        self.reason = reason


class Stop:
    """The run's one wish to stop, asked by all threads; the first reason stays."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reasons: list[StopReason] = []

    @property
    def reason(self) -> StopReason | None:
        """Why the run is to stop, once somebody asked."""
        return self._reasons[0] if self._reasons else None

    def request(self, reason: StopReason) -> None:
        """Ask everybody to come to an end."""
        # Appending is atomic, so one reason is the first for all threads. Only that one sets
        # the event: a signal handler that interrupts this very method must not wait for the
        # lock inside it.
        self._reasons.append(reason)
        if self._reasons[0] is reason:
            self._event.set()

    def requested(self) -> bool:
        """Whether the run is to stop."""
        return bool(self._reasons)

    def wait(self, seconds: float) -> bool:
        """Sleep, but not beyond a request; True when there was one."""
        return self._event.wait(seconds)


def wait_in_main_thread(stop: Stop, seconds: float) -> bool:
    """Sleep, but not beyond a request; True when there was one.

    For the thread that hears signals: their handler must not meet it inside the event's lock.
    """
    until = time.monotonic() + seconds
    while not stop.requested() and time.monotonic() < until:
        time.sleep(0.1)
    return stop.requested()


class SignalWatch:
    """Turns SIGINT and SIGTERM into what fits the moment.

    Before the first call the run is broken off (`Interrupted`). From `let_calls_finish` on
    the first signal asks the `Stop`, which may have another reason already. A second one, if
    somebody meant it, ends the process at once, which the journal survives as it survives a kill.
    """

    def __init__(self, stop: Stop, clock: Callable[[], float] = time.monotonic) -> None:
        self._stop = stop
        self._clock = clock
        self._calls_must_finish = False
        self._first_at: float | None = None
        self.broken_off_by: StopReason | None = None
        for number in INTERRUPTIONS:
            signal.signal(number, self._handle)

    def let_calls_finish(self) -> None:
        """From now on a signal no longer breaks off what is under way.

        Raises:
            Interrupted: a signal came before, at a moment when Python drops exceptions.
        """
        self._calls_must_finish = True
        if self.broken_off_by:
            raise Interrupted(self.broken_off_by)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        reason = INTERRUPTIONS[signal.Signals(number)]
        if self._first_at is not None:
            # GNU timeout sends one to its child and one to the child's group.
            if self._clock() - self._first_at >= SECONDS_OF_ONE_SIGNAL:
                os._exit(reason.exit_code)
            return
        self._first_at = self._clock()
        if self._calls_must_finish:
            self._stop.request(reason)
            return
        # A library may turn the exception into one of its own: SQLite does in a callback.
        self.broken_off_by = reason
        raise Interrupted(reason)
