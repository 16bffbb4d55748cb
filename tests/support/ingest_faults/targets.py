"""The databases that runs write to, and other programs that stand in their way there."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import mysql.connector

from db_connection import DatabaseSettings
from integration.database.writing import open_writer
from integration.ingest.tables import prepare_tables
from sandbox.database import create_database
from sandbox.source.records import customer
from tests.conftest import load_seed
from tests.support.ingest_faults.sides import NEWEST, SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.source.records import Entity
    from tests.support.mysql_server import MySQLServer

MAX_WAIT_SECONDS = 60
SECONDS_BETWEEN_LOOKS = 0.01
# More changes than a run's transaction has: InnoDB ends the smaller one.
HEAVY_ROWS = 500


def prepare(settings: DatabaseSettings, entity: Entity, customers: int) -> None:
    """Create the etl_ tables, empty the others; page views get their customers."""
    with closing(open_writer(settings)) as session:
        session.execute("DELETE FROM page_views")
        session.execute("DELETE FROM customers")
        prepare_tables(session)
        if entity == "page_views":
            rows = [customer(number, NEWEST, 0) for number in range(customers)]
            session.execute_many(
                "INSERT INTO customers (id, email, plan_type) VALUES (%s, %s, %s)",
                [(row["id"], row["contact"]["email"], row["plan_type"]) for row in rows],
            )


class SQLiteTarget:
    """An SQLite file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "target.db"
        create_database(self._file)
        self.settings = DatabaseSettings("sqlite", (), 0, "", "", str(self._file))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with closing(sqlite3.connect(self._file)) as connection:
            return connection.execute(sql).fetchall()

    def wait_until_free(self) -> None:
        """Locks end with their process."""

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Another program writes to the file."""
        with closing(sqlite3.connect(self._file, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")


class MySQLTarget:
    """A database of a server that others use too."""

    def __init__(self, server: MySQLServer) -> None:
        self.server = server
        self.name = server.new_database()
        load_seed(server, self.name)
        self.settings = server.settings(self.name)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.server.run(sql, name=self.name)

    def wait_until_free(self) -> None:
        """Wait until the server has noticed that a killed client is gone."""
        self._wait_for(
            f"SELECT COUNT(*) = 0 FROM information_schema.processlist WHERE db = '{self.name}'"
        )

    def _wait_for(self, sql: str) -> None:
        give_up = time.monotonic() + MAX_WAIT_SECONDS
        with self.server.connected() as connection, connection.cursor() as cursor:
            while time.monotonic() < give_up:
                cursor.execute(sql)
                if cursor.fetchall()[0][0]:
                    return
                time.sleep(SECONDS_BETWEEN_LOOKS)
        raise TimeoutError(sql)

    @contextmanager
    def locked(
        self, table: str, entity: Entity, key: str, after_pages: int | None = None
    ) -> Iterator[Blocker]:
        """Another program is about to write what a run needs.

        Args:
            table: customers, etl_records or etl_checkpoint.
            entity: of the source.
            key: of a record; its page cannot be stored.
            after_pages: not before there are more pages than this; None: at once.
        """
        with (
            self.server.connected() as monitor,
            self.server.connected(self.name) as connection,
        ):
            connection.autocommit = False
            # Locks no more than the row.
            connection.cursor().execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            blocker = Blocker(self.name, monitor, connection, (table, entity, key), after_pages)
            if after_pages is None:
                blocker.take()
            yield blocker
            connection.rollback()


class Blocker:
    """Another program's transaction that a run waits for."""

    def __init__(
        self,
        name: str,
        monitor: Any,
        connection: Any,
        what: tuple[str, Entity, str],
        after_pages: int | None,
    ) -> None:
        self._what = what
        self._after_pages = after_pages
        self.is_taken = False
        self._name = name
        self._monitor = monitor
        self._connection = connection

    def _execute(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return _execute(self._connection, sql, values)

    def take(self) -> None:
        """Lock a row that exists, or write the one that the run is going to write."""
        table, entity, key = self._what
        self.is_taken = True
        values: tuple[str, ...] = (key,)
        if table == "customers":
            wanted = "id = %s"
            insert = "INSERT INTO customers (id, email, plan_type) VALUES (%s, 'lock', 'pro')"
        elif table == "etl_records":
            wanted, values = "entity = %s AND source_key = %s", (entity, key)
            insert = (
                "INSERT INTO etl_records (source, entity, source_key, target_id, run_id)"
                f" VALUES ('{SOURCE}', %s, %s, 0, 0)"
            )
        else:
            wanted, values = "source = %s", (SOURCE,)
            insert = (
                "INSERT INTO etl_checkpoint (source, position, version, run_id, updated_at)"
                " VALUES (%s, '{}', 0, 0, NOW())"
            )
        if not self._execute(f"SELECT 1 FROM {table} WHERE {wanted} FOR UPDATE", values):
            with suppress(mysql.connector.IntegrityError):  # the run was faster
                self._execute(insert, values)

    def waiting(self) -> int | None:
        """The connection of the run, if it waits for this transaction."""
        if not self.is_taken:
            ((pages,),) = _execute(self._monitor, f"SELECT COUNT(*) FROM {self._name}.etl_raw_data")
            if pages > (self._after_pages or 0):
                self.take()
            return None
        rows = _execute(
            self._monitor,
            "SELECT p.id FROM information_schema.innodb_trx t JOIN information_schema.processlist p"
            " ON p.id = t.trx_mysql_thread_id WHERE t.trx_state = 'LOCK WAIT'"
            f" AND p.db = '{self._name}'",
        )
        return rows[0][0] if rows else None

    def cross(self) -> None:
        """Wait for the transaction that waits for this one: a deadlock, which the run loses."""
        self._execute("CREATE TEMPORARY TABLE heavy (id INT PRIMARY KEY) ENGINE = InnoDB")
        numbers = ", ".join(f"({number})" for number in range(HEAVY_ROWS))
        self._execute(f"INSERT INTO heavy VALUES {numbers}")
        ((run_id, pages),) = self._execute(
            "SELECT run_id, pages FROM etl_runs ORDER BY run_id DESC LIMIT 1"
        )
        self._execute(
            "INSERT INTO etl_raw_data (run_id, page, records, content, sha256, fetched_at, origin)"
            " VALUES (%s, %s, 0, '', '', NOW(), '')",
            (run_id, pages + 1),
        )

    def disconnect(self, connection_id: int) -> None:
        """End the connection of the run, as a restart or an operator does."""
        _execute(self._monitor, f"KILL {connection_id}")


def _execute(connection: Any, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall()) if cursor.with_rows else []
