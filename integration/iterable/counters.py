"""What a client counts over all its calls; each counter is safe to share between threads."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from integration.core.models import Retries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.core.models import CallResult, ErrorKind, PendingUser


class RetryCounter:
    """Counts retries and the time spent waiting for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_status: Counter[str] = Counter()
        self._seconds_waited = 0.0

    def add(self, label: str, seconds: float) -> None:
        """Count one retry after `label` (a status or an error) and a wait of `seconds`."""
        with self._lock:
            self._by_status[label] += 1
            self._seconds_waited += seconds

    def snapshot(self) -> Retries:
        """The retries so far."""
        with self._lock:
            return Retries(tuple(sorted(self._by_status.items())), self._seconds_waited)


class ConsecutiveFailures:
    """Counts the calls that exhausted their attempts since the last definite response."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        self.last_error: ErrorKind | None = None

    def record(self, result: CallResult) -> None:
        """Record the result of a finished call."""
        exhausted = result.retries_exhausted
        with self._lock:
            self.count = self.count + 1 if exhausted else 0
            self.last_error = result.error if exhausted else None


class DroppedFields:
    """The fields that the project dropped, by endpoint."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[tuple[str, str]] = set()

    def add(self, endpoint: str, fields: Sequence[str]) -> list[str]:
        """Remember the fields and return those that this endpoint had not dropped before."""
        with self._lock:
            new = [field for field in fields if (endpoint, field) not in self._known]
            self._known.update((endpoint, field) for field in new)
            return new


class BlockedUsers:
    """The users whose single calls were blocked on the way to Iterable since the last success."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._positions: set[int] = set()

    def __len__(self) -> int:
        return len(self._positions)

    def record(self, result: CallResult, user: PendingUser | None) -> None:
        """Record the result of a call for this user, or of a bulk call (None)."""
        with self._lock:
            if result.success:
                self._positions.clear()
            elif result.blocked and user is not None:
                self._positions.add(user.position)
