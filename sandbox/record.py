"""What the mock server received and answered: counters, and the last calls in order."""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice
from typing import Any, NamedTuple

MAX_CALLS_KEPT = 10_000


class Call(NamedTuple):
    """One write call. Times are seconds: monotonic for durations, unix for display."""

    endpoint: str
    email: str | None
    items: int | None
    status: int | None
    fault: str | None
    headers_ok: bool
    monotonic_time: float
    unix_time: float


class Record:
    """Everything that happened since the start or the last reset."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.items: Counter[str] = Counter()
        self.answers: dict[str, Counter[str]] = {}
        self.faults: Counter[str] = Counter()
        self.connections_opened = 0
        self.first_call_unix_time: float | None = None
        self.last_call_unix_time: float | None = None
        self._last: deque[Call] = deque(maxlen=MAX_CALLS_KEPT)

    def note(self, call: Call, *, is_write: bool) -> None:
        """Count a call to the API."""
        self.calls[call.endpoint] += 1
        self.items[call.endpoint] += call.items or 0
        seen = str(call.status) if call.status else "no_answer"
        self.answers.setdefault(call.endpoint, Counter())[seen] += 1
        if call.fault:
            self.faults[call.fault] += 1
        if self.first_call_unix_time is None:
            self.first_call_unix_time = call.unix_time
        self.last_call_unix_time = call.unix_time
        if is_write:
            self._last.append(call)

    def last_calls(self, limit: int) -> list[Call]:
        """Return the last write calls, oldest first."""
        skipped = max(0, len(self._last) - limit)
        return list(islice(self._last, skipped, None))

    def as_json(self) -> dict[str, Any]:
        """Return the counters."""
        return {
            "calls": self.calls,
            "items": self.items,
            "answers": self.answers,
            "faults": self.faults,
            "connections_opened": self.connections_opened,
            "first_call_unix_time": self.first_call_unix_time,
            "last_call_unix_time": self.last_call_unix_time,
        }
