"""The database dies while the program reads from it: real servers, killed with real signals."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.conftest import load_seed
from tests.mysql_server import private_server
from tests.runs import environment_for, finish, run, start, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from db_connection import DatabaseSettings
    from sandbox.process import SandboxProcess
    from tests.mysql_server import MySQLServer

MANY = 300_000
BYTES_READ_BY_THEN = 4_000_000


def test_a_server_that_is_killed_in_mid_stream_fails_the_run_with_nothing_half_done(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """One line, exit code 69, no file, no call, no run in the journal."""
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
    assert run(tmp_path, environment, "--status").stdout == "No run yet.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_whose_query_does_not_come_back(
    tmp_path: Path,
    sandbox: SandboxProcess,
    mysql_server: MySQLServer,
    seeded_database: DatabaseSettings,
    number: signal.Signals,
) -> None:
    """Somebody holds the table: the wait in the driver's C code does not keep the signal out."""
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


def waits_for_a_table(server: MySQLServer, name: str) -> bool:
    """Whether a query of this database stands behind somebody's lock."""
    waiting = (
        "SELECT COUNT(*) FROM information_schema.processlist"
        f" WHERE db = '{name}' AND state LIKE 'Waiting for table%'"
    )
    return bool(server.run(waiting)[0][0])


def add_customers(server: MySQLServer, name: str) -> None:
    """Fill the tables with pro customers who have a fresh view each."""
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
