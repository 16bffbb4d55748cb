"""How the data that was sent differs from the data that Iterable returns. Pure functions."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import orjson

from integration.iterable.request import MAX_EVENTS_READ

# A larger number is a time in milliseconds.
MAX_SECONDS = 100_000_000_000


def profile_differences(sent: bytes, response: object) -> list[str]:
    """The profile fields that differ in Iterable; an absent field equals null."""
    user = response.get("user") if isinstance(response, dict) else None
    if not isinstance(user, dict):
        return ["profile (there is none)"]
    return _differing("profile", orjson.loads(sent)["dataFields"], _fields_of(user))


def event_differences(sent: bytes, response: object) -> list[str]:
    """The event fields that differ in Iterable; the event is found by its id or time."""
    wanted = orjson.loads(sent)
    found = _find_event(wanted, _events_in(response))
    if found is None:
        return ["event (there is none)"]
    return _differing("event", wanted["dataFields"], _fields_of(found))


def is_out_of_reach(sent: bytes, response: object) -> bool:
    """Whether the event may be older than all events in the response.

    The response has the newest events. If one of them is older than the event, it would be there.
    """
    wanted, events = orjson.loads(sent), _events_in(response)
    if len(events) < MAX_EVENTS_READ or _find_event(wanted, events) is not None:
        return False
    times = [_created_seconds(event.get("createdAt")) for event in events]
    since = wanted.get("createdAt", math.inf)
    return not any(time is not None and time < since for time in times)


def _events_in(response: object) -> list[dict[str, Any]]:
    events = response.get("events") if isinstance(response, dict) else None
    items = events if isinstance(events, list) else []
    return [item for item in items if isinstance(item, dict)]


def _find_event(wanted: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((event for event in events if _is_event(event, wanted)), None)


def _created_seconds(value: object) -> float | None:
    """An event's time in unix seconds: Iterable returns "2026-01-13 14:30:45 +00:00"."""
    if isinstance(value, (int, float)):
        return value / 1000 if value > MAX_SECONDS else value
    try:
        moment = datetime.fromisoformat(str(value).replace(" +", "+"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_event(event: dict[str, Any], wanted: dict[str, Any]) -> bool:
    if wanted["id"] in (event.get("id"), event.get("_id"), event.get("eventId")):
        return True
    # A response without ids: name and time of the view identify the event.
    time = wanted["dataFields"].get("timestamp")
    same_time = time is not None and _fields_of(event).get("timestamp") == time
    return "id" not in event and event.get("eventName") == wanted["eventName"] and same_time


def _fields_of(item: dict[str, Any]) -> dict[str, Any]:
    # Iterable returns custom fields in dataFields or next to its own.
    fields = item.get("dataFields")
    return fields if isinstance(fields, dict) else item


def _differing(where: str, sent: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    return [f"{where} {name}" for name, value in sent.items() if _differs(value, stored.get(name))]


def _differs(sent: object, stored: object) -> bool:
    """Whether a field differs; an object that was merged may have more fields than were sent."""
    if isinstance(sent, dict) and isinstance(stored, dict):
        return any(_differs(value, stored.get(name)) for name, value in sent.items())
    return sent != stored
