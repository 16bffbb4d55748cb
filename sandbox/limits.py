"""Rate limits: a token bucket for each endpoint. The clock is passed in."""

from __future__ import annotations

# A caller that retries exactly at the given time must not fail because of a rounding error.
_ROUNDING = 1e-9


class TokenBucket:
    """Lets calls through at a steady rate, and a few ahead of it.

    A bucket holds one token and what `burst_seconds` are worth on top: at 5 calls/s
    and 0.1 s that is 1.5, so a call may come 0.1 s early but never two simultaneously.
    """

    __slots__ = ("_capacity", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst_seconds: float) -> None:
        self._rate = rate
        self._capacity = 1.0 + rate * burst_seconds
        self._tokens = self._capacity
        self._updated = 0.0

    def take(self, now: float) -> float:
        """Take a token at `now` (seconds); return 0, or the seconds until there is one."""
        elapsed = max(0.0, now - self._updated)
        self._tokens = min(self._capacity, self._tokens + elapsed * self._rate)
        self._updated = now
        if self._tokens >= 1.0 - _ROUNDING:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate


class RateLimits:
    """The buckets of a project, by endpoint name."""

    def __init__(self, rates: dict[str, float], scale: float, burst_seconds: float) -> None:
        self._buckets = {
            name: TokenBucket(rate * scale, burst_seconds) for name, rate in rates.items() if scale
        }

    def seconds_to_wait(self, endpoint: str, now: float) -> float:
        """Return 0 when the call is within its limit, else the seconds until one would be."""
        bucket = self._buckets.get(endpoint)
        return bucket.take(now) if bucket else 0.0
