"""The limits of reading calls."""

from __future__ import annotations

# The maximum of Iterable's `GET /api/events/{email}`.
MAX_EVENTS_READ = 200
