"""When a call is tried again, and after how long: decisions about numbers, without a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

FIRST_WAIT_SECONDS = 1.0
JITTER_SHARE = 0.25
MAX_WAIT_SECONDS = 60.0
# Keeps a server that asks for next to nothing from being called without end.
MIN_WAIT_SECONDS = 0.1
# After a wait for a 429 a call stands in line with all others who waited for the same: it
# gets this much for its turn, or nobody could ever wait as long as `Retry-After: 60` asks.
MAX_TURN_SECONDS = 5.0
RETRYABLE_STATUSES = frozenset({408, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Tries:
    """How far a call has come: tries that counted, 429s that did not, seconds waited in all.

    Nothing is sent after `give_up_at`, which the first 429 sets: others' 429s hold the call
    back too, and no pause of its own counts that.
    """

    counted: int = 0
    rate_limits: int = 0
    seconds_waited: float = 0.0
    give_up_at: float = math.inf

    @property
    def attempts(self) -> int:
        """All requests that were sent."""
        return self.counted + self.rate_limits


def after_rate_limit(so_far: Tries, now: float) -> Tries:
    """How far the call has come with one more 429, at a moment on the caller's clock."""
    latest = now + MAX_WAIT_SECONDS + MAX_TURN_SECONDS
    return replace(
        so_far, rate_limits=so_far.rate_limits + 1, give_up_at=min(so_far.give_up_at, latest)
    )


def backoff_seconds(tries: int, random_share: float) -> float:
    """The wait after `tries` failed tries: 1 s, 2 s, 4 s, … plus jitter, at most 60 s.

    Args:
        tries: from 1 on.
        random_share: from 0 to 1; 1 adds the whole jitter of 25 %.
    """
    # The exponent is bounded because a float's is; the wait has long reached its ceiling.
    doubled = FIRST_WAIT_SECONDS * 2.0 ** min(tries - 1, 16)
    return min(doubled * (1 + JITTER_SHARE * random_share), MAX_WAIT_SECONDS)


def wait_after_failure(so_far: Tries, max_attempts: int, random_share: float) -> float | None:
    """Seconds to wait before the next try, or None when the tries are used up."""
    if so_far.counted >= max_attempts:
        return None
    return backoff_seconds(so_far.counted, random_share)


def wait_after_rate_limit(
    so_far: Tries, asked_seconds: float | None, random_share: float
) -> float | None:
    """Seconds to wait after a 429, or None when the call would wait longer than 60 s in all.

    Args:
        so_far: a 429 is no try, so `seconds_waited` is what bounds them.
        asked_seconds: what the answer asked for; None or 0 means that it did not say.
        random_share: from 0 to 1, for the backoff that stands in for it.
    """
    if asked_seconds is None or asked_seconds <= 0:
        wait = backoff_seconds(so_far.rate_limits, random_share)
    else:
        wait = max(asked_seconds, MIN_WAIT_SECONDS)
    return wait if so_far.seconds_waited + wait <= MAX_WAIT_SECONDS else None
