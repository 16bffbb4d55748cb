"""How long raw pages are kept, and what the commands say without them, on each engine."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from integration.core.clock import utc_now
from integration.core.exit_codes import ExitCode
from integration.database.writing import to_text
from integration.ingest.models import Rejection
from integration.ingest.retention import delete_old_pages
from tests.support.cli_runs import environment_of, run_cli
from tests.support.ingest import Ingest, customer

if TYPE_CHECKING:
    from pathlib import Path

    from db_connection import DatabaseSettings
    from integration.database.writing import WriteSession

SOURCES = """
[sources.crm]
entity = "customers"
kind = "csv"
path = "customers*.csv"
key = "id"
max_rejected_percent = 60
"""
HEADER = "id,email,plan_type\n"


def age(session: WriteSession, page: int, days: float) -> None:
    """Let a page be this old."""
    session.execute(
        "UPDATE etl_raw_data SET fetched_at = %s WHERE page = %s",
        (to_text(utc_now() - timedelta(days=days)), page),
    )


def pages(session: WriteSession) -> list[int]:
    """The pages that are stored."""
    rows = session.query("SELECT page FROM etl_raw_data ORDER BY page")
    return [number for (number,) in rows]


def test_a_page_is_kept_for_the_days_and_while_a_record_is_rejected(session: WriteSession) -> None:
    """To the minute; once its last record is stored, it goes with the next run."""
    run = Ingest(session)
    rejections = [Rejection(1, "x", "type", "email", ""), Rejection(2, "y", "type", "email", "")]
    for number, rejected in enumerate([[], [], rejections], start=1):
        run.write(customer(str(number), f"a{number}@x.com"), rejections=rejected)
    minute = 1 / 24 / 60
    for page, days in ((1, 30 - minute), (2, 30 + minute), (3, 3000)):
        age(session, page, days)

    assert delete_old_pages(session, 30) == 1
    assert pages(session) == [1, 3]

    session.execute("UPDATE etl_rejected SET resolved_run = 1 WHERE position = 1")
    assert delete_old_pages(session, 30) == 0
    session.execute("UPDATE etl_rejected SET resolved_run = 1")
    assert delete_old_pages(session, 30) == 1
    assert pages(session) == [1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, each a page; a record of the second is rejected."""
    (tmp_path / "sources.toml").write_text(SOURCES)
    (tmp_path / "customers1.csv").write_text(HEADER + "1,a@example.com,pro\n")
    (tmp_path / "customers2.csv").write_text(HEADER + "2,b@example.com,pro\n3,c@example.com,x\n")
    return tmp_path


def test_each_run_deletes_pages_older_than_the_setting(
    folder: Path, target_settings: DatabaseSettings, session: WriteSession
) -> None:
    """What can be done without them, and what the commands say then."""
    environment = environment_of(target_settings)
    assert run_cli(folder, environment, "run").exit_code == ExitCode.SOME_FAILED
    for page in (1, 2):
        age(session, page, 5)

    days = {"RAW_RETENTION_DAYS": "6"}
    assert run_cli(folder, environment | days, "run").exit_code == ExitCode.OK
    assert pages(session) == [1, 2]
    days = {"RAW_RETENTION_DAYS": "4"}
    assert (
        "Deleted 1 raw pages older than 4 days" in run_cli(folder, environment | days, "run").stdout
    )
    assert pages(session) == [2]

    replayed = run_cli(folder, environment, "replay", "1")
    assert replayed.exit_code == ExitCode.UNAVAILABLE
    assert (
        "Only 1 of 2 pages of run 1 are still stored, which were replayed: see RAW_RETENTION_DAYS"
    ) in replayed.stderr

    session.execute("DELETE FROM etl_raw_data")
    shown = run_cli(folder, environment, "rejected")
    assert shown.exit_code == ExitCode.OK
    assert "key 3: not_allowed plan_type (no longer stored)" in shown.stdout
    retried = run_cli(folder, environment, "rejected", "--retry")
    assert retried.exit_code == ExitCode.SOME_FAILED
    assert (
        "Page 2 of run 1 is no longer stored: see RAW_RETENTION_DAYS. "
        "Its rejected records stay open"
    ) in retried.stderr
