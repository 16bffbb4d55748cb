"""CSV files of customers and page views: any number of rows, the same each time.

The checksum of a file is what `checksum_of` in SQL finds in the table that has its rows.
"""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from benchmarks.people import BROWSERS, DEVICES, LOCATIONS, people

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CUSTOMER_COLUMNS = ("id", "email", "first_name", "last_name", "plan_type", "candidate")
VIEW_COLUMNS = ("email", "page", "device", "browser", "location", "event_time")
PLANS = ("free", "basic", "pro", "enterprise")
PAGES = ("pricing", "settings", "features", "home", "blog")
# One view a second from here on.
FIRST_VIEW = datetime(2026, 1, 1)  # noqa: DTZ001  written without a zone, which is UTC
# Neighbouring views belong to customers that are far apart.
_STRIDE = 7_919


class Table(NamedTuple):
    """A file and what a table with its rows must have."""

    file: Path
    rows: int
    checksum: int
    is_customers: bool = True


def write_customers(
    file: Path, count: int, *, changed: bool = False, columns: Sequence[str] = CUSTOMER_COLUMNS
) -> Table:
    """The first `count` customers.

    `changed`: each has another last name. `columns`: their order, which makes another file of the
    same customers.
    """
    order = [CUSTOMER_COLUMNS.index(column) for column in columns]
    checksum = 0
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(columns)
        for row in _customers(count, " 2" if changed else ""):
            checksum ^= _checksum(row)
            writer.writerow([row[place] for place in order])
    return Table(file, count, checksum)


def _customers(count: int, suffix: str) -> Iterator[tuple[str, ...]]:
    for one in people(count):
        plan = PLANS[one.id % len(PLANS)]
        last_name = one.last_name + suffix
        yield str(one.id), one.email, one.first_name, last_name, plan, one.candidate


def write_views(file: Path, count: int, customers: int) -> Table:
    """The first `count` page views of this many customers, in the order of their time."""
    checksum = 0
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(VIEW_COLUMNS)
        for number in range(count):
            customer = number * _STRIDE % customers + 1
            values = (
                PAGES[number % len(PAGES)],
                DEVICES[number % len(DEVICES)],
                BROWSERS[number % len(BROWSERS)],
                LOCATIONS[number % len(LOCATIONS)],
                str(FIRST_VIEW + timedelta(seconds=number)),
            )
            checksum ^= _checksum((str(customer), *values))
            writer.writerow((f"customer.{customer:07}@example.com", *values))
    return Table(file, count, checksum, is_customers=False)


def _checksum(row: Sequence[str]) -> int:
    return crc32("|".join(row).encode())


def checksum_of(table: str, columns: Sequence[str]) -> str:
    """SQL for the number of rows and the checksum of a table in MySQL."""
    row = f"CRC32(CONCAT_WS('|', {', '.join(columns)}))"
    return f"SELECT COUNT(*), COALESCE(BIT_XOR({row}), 0) FROM {table}"
