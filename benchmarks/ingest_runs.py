"""Measured runs of the ingest: `cli.py run` as a process, and LOAD DATA, the ruler."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.ingest_figures import Cost
from benchmarks.ingest_files import CUSTOMER_COLUMNS, VIEW_COLUMNS, checksum_of
from benchmarks.measure import ROOT, Others, timed
from benchmarks.measure import Command as CommandLine
from benchmarks.sources import database_variables, load_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.ingest_files import Table
    from benchmarks.sources import Source
    from sandbox.private_mysql import MySQLServer

CLI = ROOT / "cli.py"
_COUNTS = ("records", "inserted", "updated", "unchanged", "rejected")
_VIEWS_IN_TABLE = ("user_id", *VIEW_COLUMNS[1:])

CUSTOMERS = """
[sources.crm]
entity = "customers"
kind = "csv"
path = "customers.csv"
key = "id"
owns_ids = true
"""
VIEWS = """
[sources.web]
entity = "page_views"
kind = "csv"
path = "{file}"
customer = "email"
"""
API = """
[sources.crm]
entity = "customers"
kind = "http"
url = "{url}/cursor/customers"
records = "data"
pagination = {{ kind = "cursor", parameter = "cursor", next = "paging.next" }}
page_size = {{ parameter = "limit", value = {page_size} }}
cursor = {{ field = "updated_at", parameter = "updated_since", overlap_seconds = 5 }}
requests_per_second = 1000
key = "id"
owns_ids = true
[sources.crm.fields]
email = "contact.email"
first_name = "name.first"
last_name = "name.last"
"""


class Counts(NamedTuple):
    """What a run must have counted."""

    records: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Place:
    """What all runs share: the database server and a folder for files and results."""

    source: Source
    server: MySQLServer
    folder: Path
    show: Callable[[Sequence[str]], None]

    @contextmanager
    def database(self) -> Iterator[str]:
        """A new database with the program's tables, all empty."""
        name = self.server.new_database()
        try:
            load_schema(self.server, name)
            yield name
        finally:
            self.server.drop_databases()

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """An empty folder next to the results."""
        with tempfile.TemporaryDirectory(dir=self.folder.resolve()) as folder:
            yield Path(folder)


def run_ingest(
    place: Place,
    name: str,
    folder: Path,
    counts: Counts,
    *,
    expected: Sequence[Table] = (),
    server_seconds: Callable[[], float] = lambda: 0.0,
) -> Cost:
    """Run `cli.py run` once, and check what it counted and what the tables have.

    `server_seconds`: CPU time of a mock server, which counts as the benchmark's.
    """
    last_run = _last_run(place.server, name)
    variables = {"DB_ENGINE": "mysql", "LOG_FILE": "run.log"}
    variables |= database_variables(place.server, name)
    command = CommandLine([sys.executable, str(CLI), "run"], variables)
    others, before = Others(place.source), server_seconds()
    used = timed(command, folder)
    ours = used["cpu_seconds"] + server_seconds() - before
    elsewhere = others.share(ours, used["seconds"])
    problems = [f"exit code {used['exit_code']}"] if used["exit_code"] else []
    problems += counted_wrongly(place.server, name, last_run, counts)
    for table in expected:
        problems += stored_wrongly(place.server, name, table)
    return Cost(
        rows=counts.records,
        seconds=used["seconds"],
        cpu_seconds=used["cpu_seconds"],
        peak_bytes=used["peak_bytes"],
        busy_elsewhere=elsewhere,
        problems=tuple(problems),
    )


def _last_run(server: MySQLServer, name: str) -> int:
    if not server.run("SHOW TABLES LIKE 'etl_runs'", name=name):
        return 0
    return int(server.run("SELECT COALESCE(MAX(run_id), 0) FROM etl_runs", name=name)[0][0])


def counted_wrongly(server: MySQLServer, name: str, last_run: int, counts: Counts) -> list[str]:
    """What is wrong with the counts of the runs after `last_run`."""
    sums = ", ".join(f"COALESCE(SUM({column}), 0)" for column in _COUNTS)
    query = f"SELECT {sums} FROM etl_runs WHERE run_id > {last_run} AND status = 'completed'"
    found = Counts(*map(int, server.run(query, name=name)[0]))
    return [] if found == counts else [f"counted {found}, expected {counts}"]


def stored_wrongly(
    server: MySQLServer, name: str, table: Table, in_table: str | None = None
) -> list[str]:
    """What is wrong with a table that must have exactly the rows of a file."""
    columns = CUSTOMER_COLUMNS if table.is_customers else _VIEWS_IN_TABLE
    in_table = in_table or ("customers" if table.is_customers else "page_views")
    rows, checksum = map(int, server.run(checksum_of(in_table, columns), name=name)[0])
    if (rows, checksum) == (table.rows, table.checksum):
        return []
    same = "the same" if checksum == table.checksum else "another"
    return [f"{rows:,} rows in {in_table} instead of {table.rows:,}, {same} checksum"]


def measure_ruler(place: Place, table: Table) -> Cost:
    """LOAD DATA LOCAL INFILE into a stage table, and INSERT ... SELECT: nothing is checked."""
    with place.database() as name:
        others = Others(place.source)
        seconds = load_customers(place.server, name, table)
        return Cost(
            rows=table.rows,
            seconds=seconds,
            busy_elsewhere=others.share(0.0, seconds),
            problems=tuple(stored_wrongly(place.server, name, table)),
        )


def load_customers(server: MySQLServer, name: str, table: Table) -> float:
    """Fill `customers` from a file, and return the seconds."""
    columns = ", ".join(CUSTOMER_COLUMNS)
    # MySQL 8 and later have it off.
    server.run("SET GLOBAL local_infile = 1")
    server.run(
        f"CREATE TABLE stage AS SELECT {columns} FROM customers WHERE FALSE",
        name=name,
    )
    options = {"allow_local_infile": True}
    with server.connected(name, **options) as connection, connection.cursor() as cursor:
        started = time.perf_counter()
        cursor.execute(
            f"LOAD DATA LOCAL INFILE '{table.file}' INTO TABLE stage CHARACTER SET utf8mb4"
            " FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY ''"
            f" LINES TERMINATED BY '\\r\\n' IGNORE 1 LINES ({columns})"
        )
        cursor.execute(f"INSERT INTO customers ({columns}) SELECT {columns} FROM stage")
        seconds = time.perf_counter() - started
    server.run("DROP TABLE stage", "ANALYZE TABLE customers", name=name)
    return seconds
