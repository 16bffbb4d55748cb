"""Whether to retry a call, and after how long: decisions about numbers, without a clock."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, Protocol

Retry = Literal["no", "after backoff", "after rate limit"]

FIRST_WAIT_SECONDS = 1.0
JITTER_SHARE = 0.25
MAX_WAIT_SECONDS = 60.0
# Limits the requests to a server that asks for almost no wait.
MIN_WAIT_SECONDS = 0.1
# After the wait for a 429, a call queues behind all others that waited for the same moment. This
# is added for its turn, or no call could ever wait as long as `Retry-After: 60` asks.
MAX_TURN_SECONDS = 5.0
RETRYABLE_STATUSES = frozenset({408, 500, 502, 503, 504})


class RetryState(NamedTuple):
    """The attempts and waits of one call so far.

    Attributes:
        counted_attempts: requests that count against the maximum; those that got a 429 do not.
        rate_limits: requests that got a 429.
        seconds_waited: the sum of the call's own waits.
        deadline: no request is sent after this moment. The first 429 sets it, because a call
            is also delayed by the 429s of other calls, which `seconds_waited` does not include.
    """

    counted_attempts: int = 0
    rate_limits: int = 0
    seconds_waited: float = 0.0
    deadline: float = math.inf

    @property
    def attempts(self) -> int:
        """All requests that were sent."""
        return self.counted_attempts + self.rate_limits


class Decision(Protocol):
    """The decision about one response."""

    @property
    def retry(self) -> Retry:
        """Whether the call may be retried."""
        ...

    @property
    def retry_after_seconds(self) -> float | None:
        """The wait that a 429 asks for, if any."""
        ...


def after_attempt(state: RetryState, retry: Retry, now: float) -> RetryState:
    """The state after an attempt that was decided at the moment `now` on the caller's clock."""
    if retry != "after rate limit":
        return state._replace(counted_attempts=state.counted_attempts + 1)
    latest = now + MAX_WAIT_SECONDS + MAX_TURN_SECONDS
    return state._replace(rate_limits=state.rate_limits + 1, deadline=min(state.deadline, latest))


def after_wait(state: RetryState, seconds: float) -> RetryState:
    """The state after a wait."""
    return state._replace(seconds_waited=state.seconds_waited + seconds)


def wait_seconds(
    decision: Decision, state: RetryState, max_attempts: int, jitter: float
) -> float | None:
    """Seconds to wait before the next attempt, or None if there is none."""
    if decision.retry == "no":
        return None
    if decision.retry == "after backoff":
        return wait_after_failure(state, max_attempts, jitter)
    return wait_after_rate_limit(state, decision.retry_after_seconds, jitter)


def backoff_seconds(attempts: int, jitter: float) -> float:
    """The wait after `attempts` failed attempts: 1 s, 2 s, 4 s, … plus jitter, at most 60 s.

    Args:
        attempts: from 1.
        jitter: from 0 to 1; 1 adds 25 %.
    """
    # The exponent is limited because a float's is; the wait has long reached its maximum.
    doubled = FIRST_WAIT_SECONDS * 2.0 ** min(attempts - 1, 16)
    return min(doubled * (1 + JITTER_SHARE * jitter), MAX_WAIT_SECONDS)


def wait_after_failure(state: RetryState, max_attempts: int, jitter: float) -> float | None:
    """Seconds to wait before the next attempt, or None when all attempts are exhausted."""
    if state.counted_attempts >= max_attempts:
        return None
    return backoff_seconds(state.counted_attempts, jitter)


def wait_after_rate_limit(
    state: RetryState, retry_after_seconds: float | None, jitter: float
) -> float | None:
    """Seconds to wait after a 429, or None when the call would wait longer than 60 s in total.

    Args:
        state: of the call. Its `seconds_waited` limits the 429s, which do not count as attempts.
        retry_after_seconds: the wait that the response asks for; None or 0 if it asks for none.
        jitter: from 0 to 1, for the backoff that is used in that case.
    """
    if retry_after_seconds is None or retry_after_seconds <= 0:
        wait = backoff_seconds(state.rate_limits, jitter)
    else:
        wait = max(retry_after_seconds, MIN_WAIT_SECONDS)
    return wait if state.seconds_waited + wait <= MAX_WAIT_SECONDS else None
