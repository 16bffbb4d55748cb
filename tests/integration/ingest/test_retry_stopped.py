"""`rejected --retry` as a real process that a signal stops, on each engine."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from integration.core.exit_codes import ExitCode
from integration.database.writing import WriteSession, open_writer
from integration.ingest.locks import is_running
from tests.support.cli_runs import environment_of, run_cli, start_cli
from tests.support.runs import finish, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from db_connection import DatabaseSettings

SOURCE = """
[sources.crm]
entity = "customers"
kind = "csv"
path = "customers*.csv"
key = "id"
max_rejected_percent = 100
"""
MAPPED = '[sources.crm.fields]\nplan_type = "plan"\n'
PAGES, ROWS = 4, 3
OPEN = "SELECT COUNT(*) FROM etl_rejected WHERE resolved_run IS NULL"
STORED = "SELECT COUNT(*) FROM customers"


def write_files(folder: Path) -> None:
    """A file, which is a page, for every three customers; all of them are rejected at first."""
    (folder / "sources.toml").write_text(SOURCE)
    for page in range(PAGES):
        ids = range(page * ROWS, (page + 1) * ROWS)
        rows = "".join(f"{number},c{number}@example.com,gold,pro\n" for number in ids)
        (folder / f"customers{page}.csv").write_text("id,email,plan_type,plan\n" + rows)


def test_a_signal_ends_a_retry_after_its_page(
    tmp_path: Path, target_settings: DatabaseSettings, session: WriteSession
) -> None:
    """The other pages stay rejected, and the next retry stores them."""
    number = signal.SIGINT if target_settings.engine == "sqlite" else signal.SIGTERM
    environment = environment_of(target_settings)
    write_files(tmp_path)
    assert run_cli(tmp_path, environment, "run").exit_code == ExitCode.SOME_FAILED
    (tmp_path / "sources.toml").write_text(SOURCE + MAPPED)
    looker = open_writer(target_settings)

    with session.transaction():  # the retry waits for these rows, or on SQLite for the file
        session.query("SELECT x.position FROM etl_rejected x" + session.dialect.for_update("x"))
        process = start_cli(tmp_path, environment, "rejected", "--retry")
        wait_until(process, lambda: is_running(looker, "crm"))
        time.sleep(0.5)
        process.send_signal(number)
    result = finish(tmp_path, process)

    assert result.exit_code == 128 + number
    assert "the other records stay rejected until the next --retry" in result.stderr
    ((still,),), ((stored,),) = looker.query(OPEN), looker.query(STORED)
    assert (still, stored) in {(ROWS * (PAGES - 1), ROWS), (ROWS * PAGES, 0)}
    statuses = looker.query("SELECT status FROM etl_runs WHERE kind = 'retry'")
    assert statuses == ([("stopped",)] if stored else [])
    assert run_cli(tmp_path, environment, "rejected", "--retry").exit_code == ExitCode.OK
    assert (looker.query(OPEN), looker.query(STORED)) == ([(0,)], [(ROWS * PAGES,)])
    looker.close()
