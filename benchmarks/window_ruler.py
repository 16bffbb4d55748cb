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

from integration.database.dialects import MySQLDialect
from integration.service.parameters import DataFilter
from integration.service.row_queries import CUSTOMERS, row_query
from sandbox.private_mysql import MySQLServer

PAGE_SIZE = 100
QUERY = row_query(DataFilter(), MySQLDialect("mysql"), has_records=True)


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
    columns = CUSTOMERS[:-1]
    pages, starts = 0, cycle(plan.starts)
    with server.connected(plan.name) as connection, connection.cursor() as cursor:
        started = time.perf_counter()
        while time.perf_counter() < started + plan.seconds:
            cursor.execute(*QUERY.rows_after(next(starts), PAGE_SIZE + 1))
            rows = cursor.fetchall()
            if plan.has_sources:
                cursor.execute(*QUERY.sources_of([row[0] for row in rows]))
                cursor.fetchall()
            orjson.dumps([dict(zip(columns, row, strict=True)) for row in rows])
            pages += 1
        seconds = time.perf_counter() - started
    json.dump({"pages": pages, "seconds": seconds, "cpu_seconds": time.process_time()}, sys.stdout)


if __name__ == "__main__":
    main()
