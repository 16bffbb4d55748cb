"""A database or journal that cannot be read: the window shows what the other one knows."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from integration.journal.lock import hold_lock
from integration.journal.migrations import SCHEMA_VERSION
from tests.conftest import load_seed
from tests.support.cli_runs import environment_of, run_cli
from tests.support.runs import run
from tests.support.window import Line, Window, checksums, fill, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from db_connection import DatabaseSettings
    from tests.support.mysql_server import MySQLServer

# The overview is at most a second old, as is the news that the database is down.
SECONDS_OLD = 2.5


def settle(window: Window, status: int, path: str = "/health") -> None:
    """Wait until the window has noticed."""
    deadline = time.monotonic() + 20
    while window.get(path).status != status and time.monotonic() < deadline:
        time.sleep(0.1)
    assert window.get(path).status == status


def test_a_database_that_is_down_and_back(mysql_server: MySQLServer, tmp_path: Path) -> None:
    """What the journal knows is shown meanwhile, and then everything."""
    name = mysql_server.new_database()
    load_seed(mysql_server, name)
    database = mysql_server.settings(name)
    fill(tmp_path, database)
    line = Line(database.port)
    with serving(tmp_path, replace(database, hosts=("127.0.0.1",), port=line.port)) as window:
        assert window.get("/data").status == 200

        line.cut()
        settle(window, 503, "/data")
        time.sleep(SECONDS_OLD)
        health = window.get("/health")
        assert health.status == 503
        assert health.json["db_connected"] is False
        assert health.json["sentence"] == "The database cannot be used."
        assert window.get("/live").status == 200
        runs = window.get("/runs").json
        assert [run["id"] for run in runs["items"]] == ["delivery-3", "delivery-2", "delivery-1"]
        assert [one["part"] for one in runs["unavailable"]] == ["database"]
        assert window.get("/stats").json["deliveries"]["runs"] == 3
        assert window.get("/runs/delivery-1").status == 200
        assert 'integration_up{part="database"} 0' in window.get("/metrics").text
        page = window.get("/")
        assert (page.status, "Delivery 3" in page.text) == (200, True)
        data = window.get("/data")
        assert (data.status, data.headers["content-type"]) == (503, "application/problem+json")
        assert database.password not in data.text
        person = window.get("/people/user8@example.com").json
        assert [one["part"] for one in person["unavailable"]] == ["database"]
        assert len(person["deliveries"]) == 3
        assert window.get("/people/stranger@example.com").status == 503

        line.restore()
        settle(window, 200, "/data")
        time.sleep(SECONDS_OLD)
        assert window.get("/health").json["db_connected"] is True
        assert len(window.get("/runs").json["items"]) == 5
    mysql_server.drop_databases()


@pytest.fixture
def window(sqlite_filled: tuple[Path, DatabaseSettings], tmp_path: Path) -> Iterator[Window]:
    """A window on files that a test may damage."""
    folder, database = sqlite_filled
    for name in ("iterable_journal.db", "shop.db"):
        shutil.copy(folder / name, tmp_path)
    with serving(tmp_path, replace(database, name=str(tmp_path / "shop.db"))) as running:
        yield running


def assert_shows_the_sources(window: Window, status: int) -> None:
    """Runs of sources, whatever the journal is; and no file was changed."""
    before = checksums(window.folder)
    assert window.get("/health").status == status
    assert window.get("/live").status == 200
    runs = window.get("/runs").json
    assert [run["id"] for run in runs["items"]] == ["ingest-2", "ingest-1"]
    page = window.get("/").text
    assert "Ingest 1: crm" in page
    assert window.get("/stats").json["total_records_processed"] == 71
    assert window.get("/runs/delivery-1").status == (404 if status == 200 else 503)
    assert window.get("/people/user1@example.com").status == 200
    assert checksums(window.folder) == before


def test_without_a_journal_there_has_been_no_delivery(window: Window) -> None:
    """That is how it begins: the page says what to run."""
    (window.folder / "iterable_journal.db").unlink()
    with closing(sqlite3.connect(window.database.name)) as connection, connection:
        connection.execute("UPDATE etl_runs SET status = 'completed'")
        connection.execute("UPDATE etl_rejected SET resolved_run = 2")

    assert_shows_the_sources(window, 200)
    assert "There has been no delivery yet" in window.get("/").text
    assert not (window.folder / "iterable_journal.db").exists()


def test_a_damaged_journal_is_said_and_left_alone(window: Window) -> None:
    """It is not set aside: the next run does that."""
    (window.folder / "iterable_journal.db").write_bytes(b"SQLite format 3\0" + bytes(5000))

    assert_shows_the_sources(window, 503)
    assert "The journal cannot be read" in window.get("/").text


@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_a_journal_of_another_version_is_said_and_left_alone(window: Window, version: int) -> None:
    """It is not converted."""
    with closing(sqlite3.connect(window.folder / "iterable_journal.db")) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    assert_shows_the_sources(window, 503)
    word = "earlier" if version < SCHEMA_VERSION else "later"
    detail = window.get("/health").json["unavailable"][0]["detail"]
    assert f"was written by {'an ' if word == 'earlier' else 'a '}{word} version" in detail


def test_without_either_the_runs_are_503(window: Window) -> None:
    """The page still answers, with the advice."""
    (window.folder / "iterable_journal.db").write_bytes(b"no journal")
    (window.folder / "shop.db").unlink()

    settle(window, 503)
    assert window.get("/runs").status == 503
    home = window.get("/")
    assert home.status == 200
    assert "Unhealthy" in home.text


def test_a_run_that_is_under_way_is_shown_with_its_progress(window: Window) -> None:
    """The page then refreshes by itself; the run is no longer a crashed one."""
    journal = window.folder / "iterable_journal.db"
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("UPDATE runs SET status = 'running', finished_at = NULL WHERE run = 3")
    time.sleep(1.1)
    assert window.get("/runs/delivery-3").json["status"] == "crashed"
    with hold_lock(journal):
        time.sleep(1.1)
        assert window.get("/runs/delivery-3").json["status"] == "running"
        page = window.get("/").text
        assert "data-refresh" in page
        assert '<progress value="10" max="30"' in page
    time.sleep(1.1)
    assert "data-refresh" not in window.get("/").text


def test_a_delivery_that_did_not_happen_is_noticed(
    sqlite_filled: tuple[Path, DatabaseSettings],
) -> None:
    """By the window, `--status` and `stats` alike, if it is known how often one is expected."""
    folder, database = sqlite_filled
    expected = {"DELIVERY_EXPECTED_EVERY_HOURS": "24"}
    with serving(folder, database, **expected) as window:
        sentences = [one["sentence"] for one in window.get("/health").json["problems"]]
    status = run(folder, expected, "--status", "--json").stdout
    statistics = run_cli(folder, environment_of(database) | expected, "stats", "--json").stdout
    for text in (status, statistics):
        sentences += [one["sentence"] for one in json.loads(text)["verdict"]["problems"]]

    overdue = [one for one in sentences if one.startswith("A delivery is overdue: ")]
    assert len(overdue) == 3
    assert len(set(overdue)) == 1
    assert overdue[0].endswith(", and one is expected every 24 hours.")
