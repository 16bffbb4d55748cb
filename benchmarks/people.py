"""Customers for the benchmarks: any number, the same each time, none kept in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_NAMES = ("Alex", "Sarah", "Mia", "Zoë", "José", "Ngozi", "Anna-Lena", "Wei")
LAST_NAMES = ("Delgado", "Johnson", "Harris", "Müller", "O'Neill", "García Márquez", "Li")
DEVICES = ("desktop", "mobile", "tablet")
BROWSERS = ("Chrome", "Safari", "Firefox", "Edge")
LOCATIONS = ("San Francisco, CA", "Newark, NJ", "Philadelphia, PA", "Köln", "São Paulo")
OLDEST_VIEW_SECONDS = 6 * 24 * 3600


class Person(NamedTuple):
    """A pro customer and their only page view, which Query 2 finds."""

    id: int
    email: str
    first_name: str
    last_name: str
    candidate: str
    page: str
    device: str
    browser: str
    location: str
    viewed: datetime


def people(count: int) -> Iterator[Person]:
    """The first `count` customers, by id; views lie within the last six days, in UTC."""
    now = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    for number in range(1, count + 1):
        first = FIRST_NAMES[number % len(FIRST_NAMES)]
        last = LAST_NAMES[number % len(LAST_NAMES)]
        yield Person(
            id=number,
            email=f"customer.{number:07}@example.com",
            first_name=first,
            last_name=last,
            candidate=f"{first} {last}",
            page=("pricing", "settings")[number % 2],
            device=DEVICES[number % len(DEVICES)],
            browser=BROWSERS[number % len(BROWSERS)],
            location=LOCATIONS[number % len(LOCATIONS)],
            viewed=now - timedelta(seconds=number * 7919 % OLDEST_VIEW_SECONDS),
        )
