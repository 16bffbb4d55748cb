"""The ruler of `/data`: keyset queries in a loop, as JSON: `python -m benchmarks.window_ruler`.

One process and one connection, through the service's driver and JSON library, without HTTP. It
reads a `Plan` as JSON from standard input, and prints the number of pages and the seconds.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from itertools import cycle

import orjson

from integration.service.parameters import DataFilter
from integration.service.row_queries import CUSTOMERS, row_query
from sandbox.private_mysql import MySQLServer

PAGE_SIZE = 100
PLAIN = CUSTOMERS[:-1]


@dataclass(frozen=True)
class Plan:
    """What to query.

    Attributes:
        starts: the ids that the pages begin after.
        has_sources: run the service's query, which finds the sources of each row; else only the
            columns of `customers`.
    """

    host: str
    port: int
    user: str
    password: str
    name: str
    starts: list[int]
    seconds: float
    has_sources: bool


def main() -> None:
    """Carry out the plan."""
    plan = Plan(**json.load(sys.stdin))
    server = MySQLServer(plan.host, plan.port, plan.user, plan.password)
    columns = CUSTOMERS if plan.has_sources else PLAIN
    pages, starts = 0, cycle(plan.starts)
    with server.connected(plan.name) as connection, connection.cursor() as cursor:
        started = time.perf_counter()
        while time.perf_counter() < started + plan.seconds:
            cursor.execute(*_query(next(starts), has_sources=plan.has_sources))
            orjson.dumps([dict(zip(columns, row, strict=True)) for row in cursor.fetchall()])
            pages += 1
        seconds = time.perf_counter() - started
    json.dump({"pages": pages, "seconds": seconds, "cpu_seconds": time.process_time()}, sys.stdout)


def _query(after: int, *, has_sources: bool) -> tuple[str, tuple[object, ...]]:
    limit = PAGE_SIZE + 1
    if has_sources:
        return row_query(DataFilter(), has_records=True).rows_after(after, limit)
    select = f"SELECT {', '.join(PLAIN)} FROM customers WHERE id > %s ORDER BY id LIMIT %s"
    return select, (after, limit)


if __name__ == "__main__":
    main()
