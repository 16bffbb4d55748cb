"""How fast an endpoint may be called: below a ceiling, and slower after a 429.

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
    "users/getFields": 3.0,
    "events/get": 100.0,
}

# A thread that wakes up late may catch up this much; otherwise every delay would lower the rate.
CATCH_UP_SECONDS = 0.02
# Calls that are sent exactly at the limit bunch up on the way, and one is then refused.
SAFETY = 0.985
MIN_SHARE = 0.01
MAX_HOLD_SECONDS = 60.0
# A cut takes a moment to show its effect: 429s until then do not cause another cut. Afterwards
# the rate recovers in about a second to just below the refused rate. From there it grows slowly,
# and faster again when there was no 429 for a while.
SETTLE_SECONDS = 0.5
RECOVERY_PER_SECOND = 0.5
NEAR_REFUSED = 0.95
PROBE_PER_SECOND = 0.01
BOLD_PROBE_PER_SECOND = 0.10
BOLD_AFTER_SECONDS = 15.0
# Sleep in slices, to notice when the run stops.
MAX_SLEEP_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Pace:
    """An endpoint's rate at a moment; rates are calls per second, times seconds of a steady clock.

    Attributes:
        refused_rate: the rate at the last 429, or the ceiling before any.
        cut_at: when the rate was last halved.
    """

    ceiling: float
    rate: float
    refused_rate: float
    changed_at: float
    cut_at: float

    @classmethod
    def at_ceiling(cls, ceiling: float, now: float) -> Pace:
        """The pace before any 429."""
        return cls(ceiling, ceiling, ceiling, now, -BOLD_AFTER_SECONDS)


def recovered(pace: Pace, now: float) -> Pace:
    """The pace after the time without a 429 since it last changed; never above the ceiling."""
    seconds = now - pace.changed_at
    if seconds <= 0 or pace.rate >= pace.ceiling:
        return pace
    near = pace.refused_rate * NEAR_REFUSED
    if pace.rate < near:
        rate = min(pace.rate + pace.refused_rate * RECOVERY_PER_SECOND * seconds, near)
    else:
        bold = now - pace.cut_at > BOLD_AFTER_SECONDS
        growth = BOLD_PROBE_PER_SECOND if bold else PROBE_PER_SECOND
        rate = pace.rate * (1 + growth * seconds)
    return replace(pace, rate=min(rate, pace.ceiling), changed_at=now)


def refused(pace: Pace, sent_at: float, now: float) -> Pace:
    """The pace after a 429: half, but only once for all calls that were sent around the cut."""
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
    """Limits the rate of one endpoint; shared by all threads that call it."""

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
        """The current rate."""
        with self._lock:
            return recovered(self._pace, self._clock()).rate

    def now(self) -> float:
        """The time on the clock of turns and deadlines."""
        return self._clock()

    def wait_for_turn(self, deadline: float = math.inf) -> float:
        """Sleep until this call's turn, or until the run stops, and return the time.

        If the turn is after `deadline`, it is not taken, and its time is returned at once.
        """
        while True:
            slot = self._reserve(deadline)
            if slot > deadline:
                return slot
            while (remaining := slot - self._clock()) > 0 and not self._stopping():
                self._sleep(min(remaining, MAX_SLEEP_SECONDS))
            # A hold that started during this wait applies to this call too.
            if self._held_until <= self._clock() or self._stopping():
                return self._clock()

    def slow_down(self, sent_at: float, hold_seconds: float) -> None:
        """Lower the rate after a 429.

        Args:
            sent_at: when the refused call was sent.
            hold_seconds: how long no call is sent.
        """
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
    """A limiter for each endpoint, at this share of Iterable's published limit."""
    return {
        endpoint: RateLimiter(limit * share, stopping=stopping)
        for endpoint, limit in PUBLISHED_LIMITS.items()
    }
