"""A database for the window, made by LOAD DATA and SQL: customers, views, sources and their runs.

Two sources have the customers, and one the page views. The first run of `crm` has read the file of
all customers, whose raw pages are stored; a run of each of the last days rejected some records. The
views have no source: five million more rows of `etl_records` would only take longer to make.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.ingest_files import write_customers
from benchmarks.ingest_runs import load_customers
from benchmarks.query import numbers_below
from benchmarks.sources import load_schema
from integration.core.clock import utc_now
from integration.database.writing import open_writer, to_text
from integration.ingest.raw_pages import pack
from integration.ingest.tables import prepare_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from benchmarks.ingest_files import Table
    from sandbox.private_mysql import MySQLServer

SOURCES = """
[sources.crm]
entity = "customers"
kind = "csv"
path = "customers.csv"
[sources.shop]
entity = "customers"
kind = "csv"
path = "shop.csv"
[sources.web]
entity = "page_views"
kind = "csv"
path = "views.csv"
"""
NAMES = ("crm", "shop", "web")
# One customer in so many belongs to the second source.
SHOP_EVERY = 7
ROWS_PER_PAGE = 5_000
# Raw pages and open rejected records are kept for 30 days by default.
DAYS_KEPT = 30
REJECTED_PER_RUN = 5
_RUN_SECONDS = 40
_INSERT_PAGE = (
    "INSERT INTO etl_raw_data (run_id, page, records, content, sha256, fetched_at, origin)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True)
class Sizes:
    """How much there is of everything, and how long to ask; targets apply to the defaults."""

    customers: int = 1_000_000
    views: int = 5_000_000
    ingest_runs: int = 365
    delivery_runs: int = 365
    users_of_run: int = 1_000
    person_runs: int = 60
    person_users: int = 100_000
    delivered: int = 200_000
    seconds: float = 10.0
    # Requests a second apart, each of which has to look.
    fresh_requests: int = 20


def fill(server: MySQLServer, name: str, folder: Path, sizes: Sizes) -> None:
    """Fill an empty database."""
    load_schema(server, name)
    table = write_customers(folder / "customers.csv", sizes.customers)
    load_customers(server, name, table)
    _add_views(server, name, sizes)
    with closing(open_writer(server.settings(name))) as session:
        prepare_tables(session)
    _add_runs(server, name, sizes)
    _add_records(server, name)
    _add_pages(server, name, table)
    _add_rejected(server, name, sizes.ingest_runs)
    server.run("ANALYZE TABLE customers, page_views, etl_records, etl_runs", name=name)


def source_of(customer: int) -> str:
    """The source that a customer is from."""
    return "crm" if customer % SHOP_EVERY else "shop"


def _add_views(server: MySQLServer, name: str, sizes: Sizes) -> None:
    """The same number of views for each customer, spread over 60 days."""
    of_customer = max(1, sizes.views // sizes.customers)
    # Two primes scatter page and time evenly and reproducibly.
    scattered = "(c.id * 7919 + views.n * 104729)"
    server.run(
        "INSERT INTO page_views (user_id, page, device, browser, location, event_time)"
        f" SELECT c.id, ELT(1 + {scattered} % 5, 'home', 'blog', 'pricing', 'features',"
        " 'settings'), 'desktop', 'Chrome', 'Newark, NJ',"
        f" DATE_SUB(UTC_TIMESTAMP(), INTERVAL {scattered} * 31 % (60 * 86400) SECOND)"
        f" FROM customers c STRAIGHT_JOIN {numbers_below(of_customer)} views",
        name=name,
    )


def _add_runs(server: MySQLServer, name: str, sizes: Sizes) -> None:
    """Completed runs of the sources in turn, one a day; the first two have read the customers."""
    newest = utc_now() - timedelta(hours=1)
    days = (newest - timedelta(days=sizes.ingest_runs - 1 - n) for n in range(sizes.ingest_runs))
    rows = [_run_row(number, started) for number, started in enumerate(days, start=1)]
    _insert_many(
        server,
        name,
        "INSERT INTO etl_runs (run_id, source, kind, status, created_at, started_at, heartbeat_at,"
        " finished_at, pages, records, inserted, updated, unchanged, rejected)"
        " VALUES (%s, %s, 'csv', 'completed', %s, %s, %s, %s, 1, %s, %s, %s, %s, %s)",
        rows,
    )


def _run_row(number: int, started: datetime) -> tuple[object, ...]:
    begin, end = to_text(started), to_text(started + timedelta(seconds=_RUN_SECONDS))
    records = 1_000 + number
    counts = (records, 500, 400, records - 900 - REJECTED_PER_RUN, REJECTED_PER_RUN)
    return number, NAMES[(number - 1) % len(NAMES)], begin, begin, end, end, *counts


def _add_records(server: MySQLServer, name: str) -> None:
    """Each customer's record, in the order of its keys."""
    server.run(
        "INSERT INTO etl_records (source, entity, source_key, target_id, run_id)"
        f" SELECT IF(id % {SHOP_EVERY}, 'crm', 'shop'), 'customers', CAST(id AS CHAR), id,"
        f" IF(id % {SHOP_EVERY}, 1, 2) FROM customers ORDER BY CAST(id AS CHAR)",
        name=name,
    )


def _add_pages(server: MySQLServer, name: str, table: Table) -> None:
    """The file of customers, as the first run of `crm` has stored it."""
    now = to_text(utc_now())
    rows: list[Sequence[object]] = []
    for number, (origin, content, records) in enumerate(_pages_of(table.file), start=1):
        packed = pack(content)
        rows.append((1, number, records, packed.content, packed.sha256, now, origin))
    for row in rows:
        _insert_many(server, name, _INSERT_PAGE, [row])


def _pages_of(file: Path) -> Iterator[tuple[str, bytes, int]]:
    """Where each page is from, its content with the header of the file, and its records."""
    header, *lines = file.read_bytes().splitlines(keepends=True)
    offset = len(header)
    for first in range(0, len(lines), ROWS_PER_PAGE):
        chunk = lines[first : first + ROWS_PER_PAGE]
        body = b"".join(chunk)
        yield f"{file.name}:{offset}-{offset + len(body) - 1}", header + body, len(chunk)
        offset += len(body)


def _add_rejected(server: MySQLServer, name: str, runs: int) -> None:
    """A page of records of each run of customers in the last days, of which some are rejected."""
    now = to_text(utc_now())
    header = b"id,email,plan_type\r\n"
    body = b"".join(b"%d,no address %d,pro\r\n" % (n, n) for n in range(1_000))
    packed = pack(header + body)
    origin = f"{{}}.csv:{len(header)}-{len(header) + len(body) - 1}"
    for run in range(max(3, runs - DAYS_KEPT), runs + 1):
        source = NAMES[(run - 1) % len(NAMES)]
        if source == "web":
            continue
        page = (run, 1, 1_000, packed.content, packed.sha256, now, origin.format(source))
        _insert_many(server, name, _INSERT_PAGE, [page])
        _insert_many(
            server,
            name,
            "INSERT INTO etl_rejected (run_id, page, position, entity, source_key, code, field,"
            " created_at) VALUES (%s, 1, %s, 'customers', %s, 'email', 'email', %s)",
            [(run, place, str(place), now) for place in range(REJECTED_PER_RUN)],
        )


def _insert_many(
    server: MySQLServer, name: str, statement: str, rows: Sequence[Sequence[Any]]
) -> None:
    with server.connected(name) as connection, connection.cursor() as cursor:
        cursor.executemany(statement, rows)
