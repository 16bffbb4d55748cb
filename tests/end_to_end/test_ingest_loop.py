"""`cli.py run --every` as a real process: its interval, failures and signals."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.database.writing import open_writer
from sandbox.database import create_database
from sandbox.source import SourceOptions, SourceProcess
from tests.support.cli_runs import CUSTOMERS, environment_of, run_cli, start_cli
from tests.support.runs import finish, has_logged, wait_until
from tests.support.stalling_proxy import stalling_proxy

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from db_connection import DatabaseSettings

MISSING_FILE = """
[sources.erp]
entity = "customers"
kind = "csv"
path = "never_written.csv"
"""
FILE = """
[sources.crm]
entity = "customers"
kind = "csv"
path = "customers.csv"
"""
# Three pages.
LATENCY, EVERY, RUN_SECONDS = 0.5, 2.5, 1.5
SECONDS_TO_FINISH = 5.0
# A second, on a machine that is busy with other tests; far less than any timeout.
SOON = 5.0


@pytest.fixture(scope="module")
def source() -> Iterator[SourceProcess]:
    """25 customers on three pages."""
    with SourceProcess(SourceOptions(customers=25, latency=LATENCY)) as process:
        yield process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with a database and a file of customers."""
    create_database(tmp_path / "target.db")
    (tmp_path / "sources.toml").write_text(FILE)
    (tmp_path / "customers.csv").write_text("email,plan_type\na@example.com,pro\n")
    return tmp_path


ENVIRONMENT = {"DB_ENGINE": "sqlite", "DB_NAME": "target.db", "LOG_FILE": "run.log"}


def runs_of(folder: Path, name: str, status: str) -> list[tuple[float, float]]:
    """Start and end of each run of a source that has ended like this, in seconds."""
    with closing(sqlite3.connect(folder / "target.db", timeout=20)) as connection:
        rows = connection.execute(
            "SELECT started_at, finished_at FROM etl_runs WHERE source = ? AND status = ?",
            (name, status),
        ).fetchall()
    return [tuple(datetime.fromisoformat(text).timestamp() for text in row) for row in rows]  # type: ignore[misc]


def test_the_interval_is_between_the_starts_of_runs(folder: Path, source: SourceProcess) -> None:
    """A source that fails does not end the loop, nor does a database that is gone for a while."""
    (folder / "sources.toml").write_text(CUSTOMERS.format(url=source.url) + MISSING_FILE)
    process = start_cli(folder, ENVIRONMENT, "run", "--full-refresh", "--every", str(EVERY))
    wait_until(process, lambda: log_of(folder).count("crm: completed") == 3)

    runs = runs_of(folder, "crm", "completed")
    pauses = [later[0] - earlier[0] for earlier, later in pairwise(runs)]
    assert min(pauses) < EVERY + RUN_SECONDS / 2
    assert min(pauses) > EVERY - RUN_SECONDS / 2
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(runs))
    assert len(runs_of(folder, "erp", "failed")) >= 2

    (folder / "target.db").rename(folder / "elsewhere.db")
    wait_until(process, lambda: "The next run tries again" in log_of(folder))
    (folder / "elsewhere.db").rename(folder / "target.db")
    before = log_of(folder).count("crm: completed")
    wait_until(process, lambda: log_of(folder).count("crm: completed") > before)
    process.send_signal(signal.SIGTERM)
    result = finish(folder, process)
    assert result.exit_code == ExitCode.SIGTERM
    assert "There is no SQLite database" in result.stderr


def log_of(folder: Path) -> str:
    """The log so far."""
    return (folder / "run.log").read_text() if (folder / "run.log").exists() else ""


def stop_soon(
    folder: Path, process: subprocess.Popen[str], number: signal.Signals, seconds: float = SOON
) -> None:
    """Send a signal, which ends the program with its exit code."""
    sent = time.monotonic()
    process.send_signal(number)
    result = finish(folder, process)
    assert time.monotonic() - sent < seconds
    assert result.exit_code == 128 + number
    assert "the next run continues from the checkpoints" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_between_two_runs_ends_the_program(folder: Path, number: signal.Signals) -> None:
    """However long the interval is; without a number, it is ETL_INTERVAL."""
    process = start_cli(folder, ENVIRONMENT | {"ETL_INTERVAL": "600"}, "run", "--every")
    wait_until(process, lambda: has_logged(folder, "crm: completed"))
    time.sleep(0.5)
    assert process.poll() is None
    stop_soon(folder, process, number)


def test_a_signal_while_a_later_run_connects_ends_the_program(
    folder: Path, seeded_database: DatabaseSettings
) -> None:
    """The database does not answer any more."""
    with stalling_proxy(seeded_database.port) as proxy:
        environment = environment_of(seeded_database) | {"DB_PORT": str(proxy.port)}
        process = start_cli(folder, environment, "run", "--every", "4")
        wait_until(process, lambda: has_logged(folder, "crm: completed"))
        time.sleep(0.3)
        proxy.stall()
        time.sleep(4)
        stop_soon(folder, process, signal.SIGTERM)


def test_a_signal_while_the_database_is_silent_ends_the_program(
    folder: Path, seeded_database: DatabaseSettings
) -> None:
    """In the middle of a page: the transaction is given up, and the next run repeats the page."""
    lines = "".join(f"user{number}@example.com,pro\n" for number in range(60_000))
    (folder / "customers.csv").write_text(f"email,plan_type\n{lines}")
    with stalling_proxy(seeded_database.port) as proxy:
        environment = environment_of(seeded_database) | {"DB_PORT": str(proxy.port)}
        process = start_cli(folder, environment, "run")
        wait_until(process, lambda: has_logged(folder, "crm: reading from"))
        proxy.stall()
        time.sleep(1)
        assert process.poll() is None
        stop_soon(folder, process, signal.SIGTERM, seconds=SOON + SECONDS_TO_FINISH)
    completed = run_cli(folder, environment_of(seeded_database), "run")
    assert completed.exit_code == ExitCode.OK
    with closing(open_writer(seeded_database)) as session:
        ((people,),) = session.query("SELECT COUNT(*) FROM customers WHERE email LIKE 'user%'")
    assert people == 60_000


def test_a_configuration_error_at_the_start_ends_the_program(folder: Path) -> None:
    """So does a database that does not exist, or has no tables."""
    arguments = ("run", "--every", "600")
    (folder / "target.db").unlink()
    gone = run_cli(folder, ENVIRONMENT, *arguments)
    assert gone.exit_code == ExitCode.UNAVAILABLE
    assert "There is no SQLite database" in gone.stderr
    sqlite3.connect(folder / "target.db").execute("CREATE TABLE other (id)").connection.close()
    empty = run_cli(folder, ENVIRONMENT, *arguments)
    assert empty.exit_code == ExitCode.UNAVAILABLE
    assert "The database has no table customers" in empty.stderr
    (folder / "sources.toml").write_text(FILE.replace("csv", "xml"))
    wrong = run_cli(folder, ENVIRONMENT, *arguments)
    assert wrong.exit_code == ExitCode.CONFIGURATION
    assert "line 4: crm.kind must be" in wrong.stderr
