"""The database fails while the program reads from it: real servers, killed with real signals."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import sqlite3
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from integration.core.shutdown import SECONDS_OF_ONE_SIGNAL
from tests.conftest import load_seed
from tests.support.mysql_server import private_server
from tests.support.runs import (
    RunResult,
    database_of,
    environment_for,
    finish,
    has_logged,
    run,
    start,
    wait_until,
)
from tests.support.stalling_proxy import stalling_proxy

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from db_connection import DatabaseSettings
    from sandbox.process import SandboxProcess
    from tests.support.mysql_server import MySQLServer

MANY = 300_000
BYTES_READ_BY_THEN = 4_000_000
# The guarantee is one second; the rest allows for a busy machine.
MAX_OBEDIENCE_SECONDS = 5.0
SILENCE_SECONDS = 0.5


def test_a_server_killed_mid_stream_fails_the_run_and_leaves_nothing_behind(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """One line, exit code 69, no file, no call, no user in the journal: --resume starts over."""
    with private_server() as server:
        name = server.new_database()
        load_seed(server, name)
        add_customers(server, name)
        environment = environment_for(tmp_path, sandbox, server.settings(name))
        process = start(tmp_path, environment)
        growing = tmp_path / "iterable_journal.db-wal"
        wait_until(
            process, lambda: growing.exists() and growing.stat().st_size >= BYTES_READ_BY_THEN
        )
        assert server.process is not None
        server.process.kill()

        ran = finish(tmp_path, process)

    assert ran.exit_code == 69
    (line,) = ran.stderr.splitlines()
    assert "Lost the connection" in line
    assert not list(tmp_path.glob("*_results_*"))
    assert sandbox.calls() == []
    status = run(tmp_path, environment, "--status").stdout
    assert " not loaded " in status
    assert "did not load its users, and sent nothing: python main.py --resume" in status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_whose_query_never_returns(
    tmp_path: Path,
    sandbox: SandboxProcess,
    mysql_server: MySQLServer,
    seeded_database: DatabaseSettings,
    number: signal.Signals,
) -> None:
    """The table is locked: waiting in the driver's C code does not block the signal."""
    with mysql_server.connected(seeded_database.name) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLES page_views WRITE")
        environment = environment_for(tmp_path, sandbox, seeded_database)
        process = start(tmp_path, environment)
        wait_until(process, lambda: waits_for_a_table(mysql_server, seeded_database.name))
        process.send_signal(number)

        ran = finish(tmp_path, process)

    assert ran.exit_code == 128 + number
    (line,) = ran.stderr.splitlines()
    assert line.endswith("; nothing was sent")
    assert sandbox.calls() == []


@contextmanager
def server_stopped(pid: int) -> Iterator[None]:
    """Suspend a server process while its connections stay open."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def large_database() -> Iterator[tuple[MySQLServer, DatabaseSettings]]:
    """A server private to this module, with more rows than fit in any buffer on the way."""
    with private_server() as server:
        name = server.new_database()
        load_seed(server, name)
        add_customers(server, name)
        yield server, server.settings(name)


def wait_until_nothing_more_is_read(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until everything in transit has reached the journal."""
    growing = folder / "iterable_journal.db-wal"
    sizes = [-1, growing.stat().st_size]
    while sizes[-1] != sizes[-2]:
        time.sleep(SILENCE_SECONDS)
        assert process.poll() is None
        sizes.append(growing.stat().st_size)


@pytest.mark.parametrize("silenced_by", ["server", "network"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_while_the_database_is_silent_mid_stream(
    tmp_path: Path,
    sandbox: SandboxProcess,
    large_database: tuple[MySQLServer, DatabaseSettings],
    silenced_by: str,
    number: signal.Signals,
) -> None:
    """The driver waits in C code for bytes that never arrive; the program still ends."""
    server, settings = large_database
    assert server.process is not None
    growing = tmp_path / "iterable_journal.db-wal"
    with ExitStack() as cleanup:
        proxy = cleanup.enter_context(stalling_proxy(server.port))
        port = proxy.port if silenced_by == "network" else server.port
        environment = environment_for(tmp_path, sandbox, dataclasses.replace(settings, port=port))
        process = start(tmp_path, environment)
        wait_until(
            process, lambda: growing.exists() and growing.stat().st_size >= BYTES_READ_BY_THEN
        )
        if silenced_by == "network":
            proxy.stall()
        else:
            cleanup.enter_context(server_stopped(server.process.pid))
        wait_until_nothing_more_is_read(process, tmp_path)
        ran, seconds = signalled(tmp_path, process, number)

    assert (ran.exit_code, seconds < MAX_OBEDIENCE_SECONDS) == (128 + number, True)
    (line,) = ran.stderr.splitlines()
    assert line.endswith("; nothing was sent")
    assert sandbox.calls() == []


def test_the_second_signal_ends_the_program_immediately_while_the_database_is_silent(
    tmp_path: Path, sandbox: SandboxProcess, large_database: tuple[MySQLServer, DatabaseSettings]
) -> None:
    """The second signal does not wait for the connection to be closed."""
    server, settings = large_database
    assert server.process is not None
    growing = tmp_path / "iterable_journal.db-wal"
    process = start(tmp_path, environment_for(tmp_path, sandbox, settings))
    wait_until(process, lambda: growing.exists() and growing.stat().st_size >= BYTES_READ_BY_THEN)
    with server_stopped(server.process.pid):
        wait_until_nothing_more_is_read(process, tmp_path)
        process.send_signal(signal.SIGINT)
        time.sleep(SECONDS_OF_ONE_SIGNAL * 1.2)
        ran, seconds = signalled(tmp_path, process, signal.SIGTERM)

    assert ran.exit_code in {128 + signal.SIGINT, 128 + signal.SIGTERM}
    assert seconds < MAX_OBEDIENCE_SECONDS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_while_a_host_does_not_answer(
    tmp_path: Path, sandbox: SandboxProcess, number: signal.Signals
) -> None:
    """A host that accepts the connection and sends nothing does not block the signal."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment = environment_for(tmp_path, sandbox, None)
        environment["DB_PORT"] = str(listener.getsockname()[1])
        process = start(tmp_path, environment)
        with listener.accept()[0]:
            ran, seconds = signalled(tmp_path, process, number)

    assert (ran.exit_code, seconds < MAX_OBEDIENCE_SECONDS) == (128 + number, True)
    (line,) = ran.stderr.splitlines()
    assert line.endswith("; nothing was sent")


ENDLESS_VIEWS = """
DROP TABLE page_views;
CREATE VIEW page_views AS
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers)
SELECT n AS id, 1 AS user_id, 'pricing' AS page, 'mobile' AS device, 'Safari' AS browser,
       'London' AS location, DATETIME('now') AS event_time FROM numbers;
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_during_an_sqlite_query(
    tmp_path: Path, sandbox: SandboxProcess, number: signal.Signals
) -> None:
    """A query that never ends runs in C code, too."""
    database = database_of(tmp_path / "customers.sqlite", ["ada@example.com"])
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(ENDLESS_VIEWS)
    process = start(tmp_path, environment_for(tmp_path, sandbox, database))
    wait_until(process, lambda: has_logged(tmp_path, "[STEP 3]"))
    time.sleep(SILENCE_SECONDS)
    ran, seconds = signalled(tmp_path, process, number)

    assert (ran.exit_code, seconds < MAX_OBEDIENCE_SECONDS) == (128 + number, True)
    (line,) = ran.stderr.splitlines()
    assert line.endswith("; nothing was sent")


def signalled(
    folder: Path, process: subprocess.Popen[str], number: signal.Signals
) -> tuple[RunResult, float]:
    """Send a signal; returns what the program did then, and how long it took."""
    started = time.monotonic()
    process.send_signal(number)
    try:
        ran = finish(folder, process)
    finally:
        process.kill()
    return ran, time.monotonic() - started


def waits_for_a_table(server: MySQLServer, name: str) -> bool:
    """Whether a query on this database is waiting for a lock."""
    waiting = (
        "SELECT COUNT(*) FROM information_schema.processlist"
        f" WHERE db = '{name}' AND state LIKE 'Waiting for table%'"
    )
    return bool(server.run(waiting)[0][0])


def add_customers(server: MySQLServer, name: str) -> None:
    """Fill the tables with pro customers who have one recent view each."""
    server.run(
        "INSERT INTO customers (id, email, first_name, last_name, plan_type, candidate)"
        " SELECT n + 1000, CONCAT('user', n, '@example.com'), 'Ada', 'Lovelace', 'pro', 'yes'"
        " FROM (SELECT ROW_NUMBER() OVER () AS n FROM page_views a, page_views b, page_views c,"
        f" customers d LIMIT {MANY}) AS numbers",
        "INSERT INTO page_views (user_id, page, device, browser, location, event_time)"
        " SELECT id, 'pricing', 'desktop', 'Chrome', 'London', NOW() - INTERVAL 1 HOUR"
        " FROM customers WHERE id > 1000",
        name=name,
    )
