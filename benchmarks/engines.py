"""Query 2 on the same customers and page views in every engine, up to the last row in the journal.

One customer in five is pro; ten views each over 60 days. The figure is that of `main.py` as a
process, from its start to its first call, which follows the last row in the journal; and the time
of the query alone, with its rows read and nothing else.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import measure_program
from benchmarks.query import QUERY, fill
from benchmarks.report import aligned
from benchmarks.sources import database_variables
from db_connection import DatabaseConnection, Query
from integration.config.database_url import with_database_url
from integration.config.loading import load
from main import make_database
from sandbox.options import DEFAULT_API_KEY
from sandbox.private_mysql import NoServerError
from sandbox.private_postgres import private_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.sources import Source
    from sandbox.private_postgres import PostgreSQLServer

TITLE = "Query 2 from each engine, 100,000 customers, 1,000,000 views: start to the last row"
CUSTOMERS = 100_000
VIEWS_PER_CUSTOMER = 10
RUNS = 3
MYSQL, POSTGRESQL, PARQUET = "MySQL", "PostgreSQL", "DuckDB on Parquet"
_SCATTERED = "(p.n * 7919 + v.n * 104729)"
_DUCKDB_TABLES = {
    "customers": "SELECT CAST(1 + n AS INTEGER) AS id, 'customer.' || n || '@example.com' AS email,"
    " 'Alex' AS first_name, 'Delgado' AS last_name,"
    " ['pro', 'free', 'basic', 'enterprise', 'free'][1 + n % 5] AS plan_type, 'yes' AS candidate"
    " FROM range({customers}) p(n)",
    "page_views": f"SELECT p.n * {VIEWS_PER_CUSTOMER} + v.n AS id, 1 + p.n AS user_id,"
    f" ['home', 'blog', 'pricing', 'features', 'settings'][1 + {_SCATTERED} % 5] AS page,"
    " 'desktop' AS device, 'Chrome' AS browser, 'Newark, NJ' AS location,"
    f" now() - to_seconds({_SCATTERED} * 31 % (60 * 86400)) AS event_time"
    f" FROM range({{customers}}) p(n), range({VIEWS_PER_CUSTOMER}) v(n)",
}


@dataclass(frozen=True)
class EngineFigures:
    """The best of the runs of one engine.

    `query_seconds` is from the query's start to its last row; `load_seconds` from the program's
    start to the last row in the journal.
    """

    engine: str
    users: int
    query_seconds: float
    load_seconds: float
    problems: tuple[str, ...]


def measure_engines(
    source: Source,
    folder: Path,
    customers: int | None,
    runs: int | None,
    show: Callable[[Sequence[str]], None],
) -> list[EngineFigures]:
    """The engines in turn, so that each run of one has the machine's load of the others.

    Raises:
        NoServerError: there is no MySQL or PostgreSQL server.
    """
    with ExitStack() as cleanup:
        place = Path(cleanup.enter_context(tempfile.TemporaryDirectory(dir=folder.resolve())))
        engines = dict(_filled(cleanup, source, place, customers or CUSTOMERS))
        found: dict[str, list[EngineFigures]] = {engine: [] for engine in engines}
        for number in range(1, (runs or RUNS) + 1):
            for engine, variables in engines.items():
                show([f"engines: {engine}, run {number} ..."])
                found[engine].append(_measure(engine, variables, source, place))
    return [_best(figures) for figures in found.values()]


def lines(figures: Sequence[EngineFigures]) -> list[str]:
    """The table: how many times faster than MySQL each engine is."""
    mysql = figures[0]
    rows: list[tuple[str, ...]] = [
        ("engine", "query s", "x MySQL", "start to last row s", "x MySQL")
    ]
    rows += [
        (
            one.engine,
            f"{one.query_seconds:.2f}",
            f"{mysql.query_seconds / one.query_seconds:.2f}",
            f"{one.load_seconds:.2f}",
            f"{mysql.load_seconds / one.load_seconds:.2f}",
        )
        for one in figures
    ]
    problems = [f"{one.engine}: WRONG: {problem}" for one in figures for problem in one.problems]
    return [f"Query 2 from each engine: {mysql.users:,} users found", *aligned(rows), *problems]


def is_met(figures: Sequence[EngineFigures]) -> bool:
    """Whether all engines found the same users, and lost none."""
    return all(one.users == figures[0].users and not one.problems for one in figures)


def _filled(
    cleanup: ExitStack, source: Source, folder: Path, customers: int
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each engine with its tables, as the program's variables."""
    if source.server is None:
        raise NoServerError("the case needs a MySQL server")
    name = source.server.new_database()
    cleanup.callback(source.server.drop_databases)
    fill(source.server, name, customers)
    source.server.run("ANALYZE TABLE customers, page_views", name=name)
    yield MYSQL, database_variables(source.server, name)
    server = cleanup.enter_context(private_server("shared_buffers=1GB"))
    write_parquet(folder, customers)
    fill_postgres(server, folder)
    yield POSTGRESQL, with_database_url({"DATABASE_URL": server.url()})
    yield PARQUET, with_database_url({"DATABASE_URL": f"duckdb:///{folder / 'shop.duckdb'}"})


def write_parquet(folder: Path, customers: int) -> None:
    """A Parquet file for each table, and a DuckDB database with views of both."""
    import duckdb  # noqa: PLC0415  an extra

    with duckdb.connect(str(folder / "shop.duckdb")) as connection:
        for table, query in _DUCKDB_TABLES.items():
            file = folder / f"{table}.parquet"
            rows = query.format(customers=customers)
            connection.execute(f"COPY ({rows}) TO '{file}' (FORMAT parquet)")
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM '{file}'")


def fill_postgres(server: PostgreSQLServer, folder: Path) -> None:
    """The rows of the Parquet files, with the indexes of database_setup.sql."""
    import duckdb  # noqa: PLC0415  an extra

    server.run(
        "CREATE TABLE customers (id int PRIMARY KEY, email text UNIQUE, first_name text,"
        " last_name text, plan_type text, candidate text)",
        "CREATE TABLE page_views (id bigint PRIMARY KEY, user_id int, page text, device text,"
        " browser text, location text, event_time timestamptz)",
    )
    with server.connected() as connection:
        for table in _DUCKDB_TABLES:
            file = folder / f"{table}.csv"
            duckdb.sql(f"COPY (FROM '{folder / table}.parquet') TO '{file}' (HEADER false)")
            copying = connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)")
            with copying as copy, file.open("rb") as data:
                while block := data.read(1 << 20):
                    copy.write(block)
            file.unlink()
    server.run(
        "CREATE INDEX ON page_views (user_id, page, event_time)",
        "CREATE INDEX ON customers (plan_type)",
        "VACUUM ANALYZE",
    )


def _measure(
    engine: str, variables: Mapping[str, str], source: Source, folder: Path
) -> EngineFigures:
    """The query alone, then the program."""
    started = time.perf_counter()
    with _connection(variables) as connection:
        _, batches = connection.stream_rows(Query(QUERY))
        users = sum(map(len, batches))
    query_seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory(dir=folder) as name:
        run = measure_program("bulk", users, source, variables, Path(name), limited=False)
    return EngineFigures(engine, users, query_seconds, run.start_seconds, run.problems)


def _connection(variables: Mapping[str, str]) -> DatabaseConnection:
    return make_database(load(variables, {"ITERABLE_API_KEY": DEFAULT_API_KEY}, Path.cwd()))


def _best(figures: Sequence[EngineFigures]) -> EngineFigures:
    return EngineFigures(
        figures[0].engine,
        figures[0].users,
        min(one.query_seconds for one in figures),
        min(one.load_seconds for one in figures),
        tuple(problem for one in figures for problem in one.problems),
    )
