"""The records of a mock source: any number, made from their position, some of them bad."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Entity = Literal["customers", "page_views"]

FIRST_NAMES = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Zoë", "Renée", "Ken")
LAST_NAMES = ("Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Ritchie", "O'Neil")
PLANS = ("free", "pro", "enterprise")
PAGES = ("pricing", "settings", "features", "home", "blog")
DEVICES = ("desktop", "mobile", "tablet")
BROWSERS = ("Chrome", "Firefox", "Safari", "Edge")
LOCATIONS = ("London", "Berlin", "New York, NY", "São Paulo", 'Springfield "IL"')

Record = dict[str, Any]


def iso(moment: datetime) -> str:
    """A time as the mock source writes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def customer(number: int, updated_at: datetime, version: int) -> Record:
    """Return the customer with this position, from 0; `version` counts the changes."""
    suffix = f" {version}" if version else ""
    return {
        "id": number + 1,
        "contact": {"email": f"user{number + 1}@example.com"},
        "name": {
            "first": FIRST_NAMES[number % len(FIRST_NAMES)],
            "last": LAST_NAMES[number % len(LAST_NAMES)] + suffix,
        },
        "plan_type": PLANS[number % len(PLANS)],
        "candidate": "yes" if number % 2 else "no",
        "updated_at": iso(updated_at),
    }


def page_view(number: int, updated_at: datetime, version: int, customers: int) -> Record:
    """Return the page view with this position; its customer is one of the first `customers`."""
    person = number % max(customers, 1) + 1
    return {
        "id": f"v{number + 1}",
        "customer": {"id": person, "email": f"user{person}@example.com"},
        "page": PAGES[number % len(PAGES)],
        "device": DEVICES[number % len(DEVICES)],
        "browser": BROWSERS[number % len(BROWSERS)],
        "location": LOCATIONS[(number + version) % len(LOCATIONS)],
        "event_time": iso(updated_at - timedelta(seconds=1)),
        "updated_at": iso(updated_at),
    }


def is_bad(number: int, share: float) -> bool:
    """Return whether the record with this position is a bad one; they are spread evenly."""
    return number * 2_654_435_761 % 2**32 < share * 2**32


def spoiled(entity: Entity, number: int, record: Record) -> object:
    """Return what a bad record is instead; the ways follow one another."""
    ways = BAD_CUSTOMERS if entity == "customers" else BAD_PAGE_VIEWS
    return list(ways.values())[number % len(ways)](record)


def _without(record: Record, name: str) -> Record:
    return {key: value for key, value in record.items() if key != name}


BAD_CUSTOMERS: dict[str, Callable[[Record], object]] = {
    "no contact": lambda r: _without(r, "contact"),
    "email null": lambda r: r | {"contact": {"email": None}},
    "email a number": lambda r: r | {"contact": {"email": 42}},
    "email without @": lambda r: r | {"contact": {"email": "not an address"}},
    "email too long": lambda r: r | {"contact": {"email": "x" * 300 + "@example.com"}},
    "email of another": lambda r: r | {"contact": {"email": "USER1@example.com"}},
    "plan unknown": lambda r: r | {"plan_type": "platinum"},
    "name too long": lambda r: r | {"name": {"first": "x" * 1000, "last": "y"}},
    "id a text": lambda r: r | {"id": "seven"},
    "id negative": lambda r: r | {"id": -1},
    "id too large": lambda r: r | {"id": 2**70},
    "a text": lambda _: "not an object",
    "null": lambda _: None,
    "a list": lambda _: [1, 2],
}
BAD_PAGE_VIEWS: dict[str, Callable[[Record], object]] = {
    "customer unknown": lambda r: r | {"customer": {"id": 2**31 - 1, "email": "no@example.com"}},
    "customer missing": lambda r: _without(r, "customer"),
    "page unknown": lambda r: r | {"page": "checkout"},
    "device unknown": lambda r: r | {"device": "toaster"},
    "browser a number": lambda r: r | {"browser": 7},
    "location too long": lambda r: r | {"location": "x" * 1000},
    "time missing": lambda r: _without(r, "event_time"),
    "time a word": lambda r: r | {"event_time": "yesterday"},
    "time too early": lambda r: r | {"event_time": "1850-01-01T00:00:00Z"},
    "time too late": lambda r: r | {"event_time": "9999-12-31T23:59:59Z"},
    "a text": lambda _: "not an object",
}
