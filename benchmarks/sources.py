"""The database that the program reads: a private MySQL or MariaDB server, or an SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from benchmarks.machine import process_seconds
from benchmarks.people import people
from sandbox.database import SETUP_SQL, create_database
from sandbox.private_mysql import MySQLServer, NoServerError, private_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASES = ("auto", "mysql", "sqlite")
DEMO_DATABASE = "iterable_challenge"
ROWS_PER_INSERT = 5_000
SERVER_OPTIONS = (
    "--innodb-buffer-pool-size=1G",
    "--loose-innodb-log-file-size=256M",
    # MariaDB's default is latin1; dlt creates its databases without naming a character set.
    "--character-set-server=utf8mb4",
)
_CUSTOMERS = (
    "INSERT INTO customers (id, email, first_name, last_name, plan_type, candidate)"
    " VALUES (%s, %s, %s, %s, 'pro', %s)"
)
_VIEWS = (
    "INSERT INTO page_views (user_id, page, device, browser, location, event_time)"
    " VALUES (%s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True)
class Source:
    """Where the customers come from: a `server`, or without one an SQLite file per run."""

    server: MySQLServer | None
    name: str

    def cpu_seconds(self) -> float:
        """CPU time that the server has used so far; reading a file counts as the program's."""
        process = self.server.process if self.server else None
        return process_seconds(process.pid) if process else 0.0

    @contextmanager
    def with_users(self, count: int, folder: Path) -> Iterator[dict[str, str]]:
        """A database in which Query 2 finds `count` users, as the program's variables."""
        if self.server is None:
            file = folder / "customers.db"
            fill_sqlite(file, count)
            yield {"DB_ENGINE": "sqlite", "DB_NAME": str(file)}
            return
        name = self.server.new_database()
        try:
            fill_mysql(self.server, name, count)
            yield database_variables(self.server, name)
        finally:
            self.server.drop_databases()


@contextmanager
def open_source(wanted: str) -> Iterator[Source]:
    """The chosen kind of database; `auto` is a server where one is installed.

    Raises:
        NoServerError: `mysql` is requested but not available.
    """
    with ExitStack() as cleanup:
        server = None
        if wanted != "sqlite":
            try:
                server = cleanup.enter_context(private_server(*SERVER_OPTIONS))
            except NoServerError:
                if wanted == "mysql":
                    raise
        yield Source(server, _server_name(server) if server else f"SQLite {sqlite3.sqlite_version}")


def database_variables(server: MySQLServer, name: str) -> dict[str, str]:
    """A database as the program's variables."""
    return {
        "DB_HOST": server.host,
        "DB_PORT": str(server.port),
        "DB_USER": server.user,
        "DB_PASSWORD": server.password,
        "DB_NAME": name,
    }


def load_schema(server: MySQLServer, name: str) -> None:
    """The tables and indexes of `database_setup.sql`, without its rows."""
    script = SETUP_SQL.read_text(encoding="utf-8").replace(DEMO_DATABASE, name)
    with server.connected(name) as connection, connection.cursor() as cursor:
        cursor.execute(script)
        while cursor.nextset():
            pass
    server.run("DELETE FROM page_views", "DELETE FROM customers", name=name)


def fill_mysql(server: MySQLServer, name: str, count: int) -> None:
    """`count` customers with a view each, and updated optimizer statistics."""
    load_schema(server, name)
    with server.connected(name) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        for customers, views in _rows(count):
            cursor.executemany(_CUSTOMERS, customers)
            cursor.executemany(_VIEWS, views)
            connection.commit()
    server.run("ANALYZE TABLE customers, page_views", name=name)


def fill_sqlite(path: Path, count: int) -> None:
    """The same in an SQLite file."""
    create_database(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM page_views")
        connection.execute("DELETE FROM customers")
        for customers, views in _rows(count):
            connection.executemany(_CUSTOMERS.replace("%s", "?"), customers)
            connection.executemany(_VIEWS.replace("%s", "?"), views)


def _rows(
    count: int,
) -> Iterator[tuple[list[tuple[object, ...]], list[tuple[object, ...]]]]:
    """Rows for both tables, a chunk at a time."""
    all_people = people(count)
    while chunk := list(islice(all_people, ROWS_PER_INSERT)):
        customers: list[tuple[object, ...]] = [
            (one.id, one.email, one.first_name, one.last_name, one.candidate) for one in chunk
        ]
        views: list[tuple[object, ...]] = [
            (one.id, one.page, one.device, one.browser, one.location, str(one.viewed))
            for one in chunk
        ]
        yield customers, views


def _server_name(server: MySQLServer) -> str:
    version = str(server.run("SELECT VERSION()")[0][0])
    return version if "MariaDB" in version else f"MySQL {version}"
