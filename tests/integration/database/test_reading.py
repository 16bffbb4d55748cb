"""The pool of read-only sessions, on a real MySQL or MariaDB and on SQLite."""

from __future__ import annotations

import dataclasses
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from db_connection import DatabaseSettings
from integration.core.clock import utc_now
from integration.database import reading
from integration.database.errors import (
    DatabaseRefused,
    DatabaseUnavailable,
    PoolBusy,
    QueryFailed,
    QueryTooSlow,
)
from integration.database.reading import ReadPool
from integration.database.writing import open_writer
from integration.ingest.checkpoints import read_checkpoint
from integration.ingest.rejections import count_open, open_records
from integration.ingest.runs import last_runs, start_run
from integration.ingest.tables import prepare_tables
from sandbox.database import create_database
from sandbox.private_mysql import LOG, _wait_until_it_answers, environment_of
from tests.conftest import load_seed
from tests.support.mysql_server import private_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.mysql_server import MySQLServer

# Takes minutes, on each engine, without a table.
ENDLESS = (
    "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {depth})"
    " SELECT COUNT(*) FROM n a CROSS JOIN n b CROSS JOIN n c CROSS JOIN n d"
)


@pytest.fixture(params=["mysql", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseSettings]:
    """A database with the tables and rows of `database_setup.sql`."""
    if request.param == "sqlite":
        file = tmp_path / "target.db"
        create_database(file)
        yield DatabaseSettings("sqlite", (), 0, "", "", str(file))
        return
    server = request.getfixturevalue("mysql_server")
    name = server.new_database()
    load_seed(server, name)
    yield server.settings(name)
    server.drop_databases()


@pytest.fixture
def pool(database: DatabaseSettings) -> Iterator[ReadPool]:
    """A pool as the service has it."""
    with closing(ReadPool(database)) as opened:
        yield opened


def test_values_are_bound_and_rows_returned(pool: ReadPool) -> None:
    """With the same markers on each engine; a % in a value or without values is just that."""
    with pool.session() as session:
        rows = session.query(
            "SELECT id, plan_type FROM customers WHERE email LIKE %s ORDER BY id", ("mia.%",)
        )
        assert rows == [(rows[0][0], "pro")]
        assert session.query("SELECT '100 %'") == [("100 %",)]
        assert session.engine in {"mysql", "mariadb", "sqlite"}
        assert session.dialect.engine == session.engine


@pytest.mark.parametrize(
    "statement", ["DELETE FROM page_views", "CREATE TABLE t (x INT)", "UPDATE customers SET id = 1"]
)
def test_nothing_can_be_written(pool: ReadPool, statement: str) -> None:
    """Whatever the rights of the account."""
    with pool.session() as session:
        (before,) = session.query("SELECT COUNT(*) FROM page_views")
        with pytest.raises(QueryFailed):
            session.query(statement)
        assert session.query("SELECT COUNT(*) FROM page_views") == [before]
        assert before != (0,)


def test_a_slow_statement_is_cut_off_and_the_session_remains(pool: ReadPool) -> None:
    """After half a second."""
    with pool.session() as session:
        started = time.monotonic()
        with pytest.raises(QueryTooSlow, match=r"did not answer within 0\.5 s"):
            session.query(ENDLESS.format(depth=900))
        assert 0.4 < time.monotonic() - started < 5
        assert session.query("SELECT 1") == [(1,)]


def test_a_mistake_in_a_statement_is_one_line(pool: ReadPool) -> None:
    """And no reason to connect again."""
    with pool.session() as session, pytest.raises(QueryFailed) as caught:
        session.query("SELECT nonsense FROM customers")
    assert "\n" not in str(caught.value)


def test_fifty_threads_share_twenty_connections_and_none_fails(database: DatabaseSettings) -> None:
    """They wait for their turn."""
    in_use, most = 0, 0
    lock = threading.Lock()

    def read(number: int) -> int:
        nonlocal in_use, most
        with shared.session() as session:
            with lock:
                in_use += 1
                most = max(most, in_use)
            (row,) = session.query("SELECT %s + COUNT(*) * 0 FROM customers", (number,))
            time.sleep(0.02)
            with lock:
                in_use -= 1
        return int(row[0])

    with closing(ReadPool(database, wait_seconds=60)) as shared, ThreadPoolExecutor(50) as threads:
        assert list(threads.map(read, range(200))) == list(range(200))
    assert most <= reading.MAX_CONNECTIONS == 20


def test_waiting_has_an_end(database: DatabaseSettings) -> None:
    """With the advice to try again."""
    with closing(ReadPool(database, size=1, wait_seconds=0.05)) as pool:
        with pool.session(), pytest.raises(PoolBusy, match="try again later"), pool.session():
            pass
        with pool.session() as session:
            assert session.query("SELECT 1") == [(1,)]


def test_what_the_ingest_reads_can_be_read_with_a_session(database: DatabaseSettings) -> None:
    """The functions take either kind of session, and see whether a run is alive."""
    with closing(open_writer(database)) as writer, closing(ReadPool(database)) as pool:
        prepare_tables(writer)
        start_run(writer, "crm", "csv", utc_now())
        with pool.session() as session:
            assert [run.status for run in last_runs(session, "crm", 5)] == ["crashed"]
            assert read_checkpoint(session, "crm").version == 0
            assert open_records(session) == []
            assert count_open(session, "crm") == 0
        with writer.try_lock("crm run") as held, pool.session() as session:
            assert held
            assert session.is_locked("crm run")
            assert not session.is_locked("web run")


def test_a_pool_hides_the_password(mysql_server: MySQLServer) -> None:
    """In its repr, and in that of its sessions."""
    settings = dataclasses.replace(mysql_server.settings("mysql"), password="geheim")
    pool = ReadPool(settings)
    assert "geheim" not in repr(pool) + repr(pool._take())


def test_a_server_that_is_restarted_is_reconnected_to(empty_database: DatabaseSettings) -> None:
    """A connection is kept, until the server has closed it, as after an idle night."""
    with closing(ReadPool(empty_database)) as pool:
        with pool.session() as session:
            ((number,),) = session.query("SELECT CONNECTION_ID()")
        with pool.session() as session:
            assert session.query("SELECT CONNECTION_ID()") == [(number,)]
        with closing(open_writer(empty_database)) as other:
            other.execute(f"KILL {number}")
        with pool.session() as session:
            ((again,),) = session.query("SELECT CONNECTION_ID()")
    assert again != number


@contextmanager
def started_again(server: MySQLServer) -> Iterator[None]:
    """A private server that was stopped, with its data, until the block ends."""
    assert server.process
    assert server.folder
    assert isinstance(server.process.args, list)
    command = [part for part in server.process.args if not part.startswith("--init-file")]
    server.process = subprocess.Popen(
        command,
        env=environment_of(server.folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_answers(server, server.folder / LOG)
        yield
    finally:
        server.stop()


def test_a_server_that_is_down_is_reported_at_once_and_found_again() -> None:
    """All waiting threads get the error of the first; a second later it is tried again."""
    with private_server() as server, closing(ReadPool(server.settings("mysql"))) as pool:
        with pool.session() as session:
            assert session.query("SELECT 1") == [(1,)]
        server.stop()
        with pytest.raises(DatabaseUnavailable), pool.session() as session:
            session.query("SELECT 1")
        started = time.monotonic()
        for _ in range(100):
            with pytest.raises(DatabaseUnavailable, match=r"check"), pool.session():
                pass
        assert time.monotonic() - started < 3
        with started_again(server):
            time.sleep(reading.DOWN_SECONDS)
            with pool.session() as session:
                assert session.query("SELECT 1") == [(1,)]


def test_a_server_that_cannot_be_reached_is_replaced_by_the_next(
    empty_database: DatabaseSettings,
) -> None:
    """The hosts are tried in order."""
    hosts = ("127.0.0.254", *empty_database.hosts)
    settings = dataclasses.replace(empty_database, hosts=hosts)
    with closing(ReadPool(settings)) as pool, pool.session() as session:
        assert session.query("SELECT 1") == [(1,)]


def test_a_refused_login_is_one_line(empty_database: DatabaseSettings) -> None:
    """With what to check."""
    settings = dataclasses.replace(empty_database, user="no-such-user", password="x")
    with (
        closing(ReadPool(settings)) as pool,
        pytest.raises(DatabaseRefused, match="check DB_USER"),
        pool.session(),
    ):
        pass


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    """Nor is one that is no database read."""
    for content in (None, b"no database" * 500):
        file = tmp_path / "target.db"
        if content:
            file.write_bytes(content)
        settings = DatabaseSettings("sqlite", (), 0, "", "", str(file))
        with (
            closing(ReadPool(settings)) as pool,
            pytest.raises(DatabaseRefused, match="check DB_NAME"),
            pool.session(),
        ):
            pass
        assert file.exists() == bool(content)


def test_a_locked_file_is_waited_for_and_then_reported(tmp_path: Path) -> None:
    """Another program writes to it."""
    file = tmp_path / "target.db"
    create_database(file)
    settings = DatabaseSettings("sqlite", (), 0, "", "", str(file))
    with (
        closing(ReadPool(settings, statement_seconds=0.1)) as pool,
        closing(sqlite3.connect(file, isolation_level=None)) as writer,
        pool.session() as session,
    ):
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(QueryTooSlow):
            session.query("SELECT COUNT(*) FROM customers")
        writer.execute("ROLLBACK")
        assert session.query("SELECT 1") == [(1,)]
