"""How fast an endpoint may be called: paced below a ceiling, slower when Iterable says so.

The arithmetic is pure (`Pace`); `RateLimiter` adds the clock, the lock and the waiting.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Calls per second and project. Source: Iterable's API reference, version 1.8.
PUBLISHED_LIMITS: dict[str, float] = {
    "users/update": 500.0,
    "users/bulkUpdate": 5.0,
    "events/track": 2000.0,
    "events/trackBulk": 10.0,
    "users/getByEmail": 100.0,
    "events/get": 100.0,
}

# A thread that wakes up late may catch up this much, or every delay would be lost for good.
CATCH_UP_SECONDS = 0.02
# Calls that are paced exactly at the limit still meet on the way, and one is then refused.
SAFETY = 0.985
MIN_SHARE = 0.01
MAX_HOLD_SECONDS = 60.0
# A cut needs a moment to show its effect: refusals until then are no reason for another.
# After it, what was lost returns in about a second; near the rate that was refused it grows
# slowly, and faster again when nothing was refused for a while.
SETTLE_SECONDS = 0.5
RECOVERY_PER_SECOND = 0.5
NEAR_REFUSED = 0.95
PROBE_PER_SECOND = 0.01
BOLD_PROBE_PER_SECOND = 0.10
BOLD_AFTER_SECONDS = 15.0
# Stop in slices, so that a stop of the run is noticed.
MAX_SLEEP_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Pace:
    """Calls per second as of a moment; times are seconds of any steady clock.

    `refused_rate` is the rate at which the last 429 came, or the ceiling before any.
    """

    ceiling: float
    rate: float
    refused_rate: float
    changed_at: float
    cut_at: float

    @classmethod
    def at_ceiling(cls, ceiling: float, now: float) -> Pace:
        """The pace before any refusal."""
        return cls(ceiling, ceiling, ceiling, now, -BOLD_AFTER_SECONDS)


def recovered(pace: Pace, now: float) -> Pace:
    """The pace after the quiet time since it last changed; never above the ceiling."""
    seconds = now - pace.changed_at
    if seconds <= 0 or pace.rate >= pace.ceiling:
        return replace(pace, changed_at=max(now, pace.changed_at))
    near = pace.refused_rate * NEAR_REFUSED
    if pace.rate < near:
        rate = min(pace.rate + pace.refused_rate * RECOVERY_PER_SECOND * seconds, near)
    else:
        bold = now - pace.cut_at > BOLD_AFTER_SECONDS
        growth = BOLD_PROBE_PER_SECOND if bold else PROBE_PER_SECOND
        rate = pace.rate * (1 + growth * seconds)
    return replace(pace, rate=min(rate, pace.ceiling), changed_at=now)


def refused(pace: Pace, sent_at: float, now: float) -> Pace:
    """The pace after a 429: half, but once for all calls that were sent around the cut."""
    if sent_at <= pace.cut_at + SETTLE_SECONDS:
        return pace
    lowest = pace.ceiling * MIN_SHARE
    return replace(
        pace,
        rate=max(pace.rate / 2, lowest),
        refused_rate=max(pace.rate, lowest),
        changed_at=now,
        cut_at=now,
    )


class RateLimiter:
    """One endpoint's pace, shared by all threads that call it."""

    def __init__(
        self,
        calls_per_second: float,
        *,
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._stopping = stopping
        self._lock = threading.Lock()
        self._pace = Pace.at_ceiling(calls_per_second * SAFETY, clock())
        self._next_slot = 0.0
        self._held_until = 0.0

    @property
    def calls_per_second(self) -> float:
        """The pace at this moment."""
        with self._lock:
            return recovered(self._pace, self._clock()).rate

    def now(self) -> float:
        """The time on the clock that turns and deadlines are told by."""
        return self._clock()

    def wait_for_turn(self, deadline: float = math.inf) -> float:
        """Sleep until this call's turn, or until the run stops; returns the time of sending.

        A turn after `deadline` is neither waited for nor taken: its time is returned at once.
        """
        while True:
            slot = self._reserve(deadline)
            if slot > deadline:
                return slot
            while (left := slot - self._clock()) > 0 and not self._stopping():
                self._sleep(min(left, MAX_SLEEP_SECONDS))
            # A hold that came while this call was waiting for its turn counts for it too.
            if self._held_until <= self._clock() or self._stopping():
                return self._clock()

    def slow_down(self, sent_at: float, hold_seconds: float) -> None:
        """A call that was sent at `sent_at` was refused; nobody calls for `hold_seconds`."""
        with self._lock:
            now = self._clock()
            self._pace = refused(recovered(self._pace, now), sent_at, now)
            hold = min(hold_seconds, MAX_HOLD_SECONDS)
            self._held_until = max(self._held_until, now + hold)
            self._next_slot = max(self._next_slot, self._held_until)

    def _reserve(self, deadline: float) -> float:
        with self._lock:
            now = self._clock()
            self._pace = recovered(self._pace, now)
            slot = max(self._next_slot, now - CATCH_UP_SECONDS)
            if slot <= deadline:
                self._next_slot = slot + 1 / self._pace.rate
            return slot


def published_limiters(share: float, stopping: Callable[[], bool]) -> dict[str, RateLimiter]:
    """A limiter for each endpoint, at this share of what Iterable publishes."""
    return {
        endpoint: RateLimiter(limit * share, stopping=stopping)
        for endpoint, limit in PUBLISHED_LIMITS.items()
    }
