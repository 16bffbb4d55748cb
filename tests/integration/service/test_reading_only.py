"""Nothing that the window does changes a byte of journal or database, or tells the log a secret."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from integration.service.html_paths import ASSETS
from tests.conftest import load_seed
from tests.integration.service.test_paths import PAGES, REQUESTS
from tests.support.window import Line, Window, basic, checksums, fill, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.mysql_server import MySQLServer

TOKEN = "a-token-of-the-tests"
STATIC = ["/openapi.json", *(f"/assets/{name}" for name in ASSETS)]
WRONG = [
    "/nope",
    "/data?page=0",
    "/data?nope=1",
    "/runs/delivery-99",
    "/assets/nope",
    "/find?email=",
]
JOURNAL = "iterable_journal.db"


def tables(server: MySQLServer, name: str) -> dict[str, tuple[object, object]]:
    """Checksum and number of rows of each table."""
    with server.connected(name) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")
        found = {}
        for table, _ in cursor.fetchall():
            cursor.execute(f"CHECKSUM TABLE `{table}` EXTENDED")
            ((_, checksum),) = cursor.fetchall()
            cursor.execute(f"SELECT COUNT(*) FROM `{table}`")
            found[table] = (checksum, cursor.fetchall()[0][0])
        return found


@contextmanager
def unfinished_log(journal: Path) -> Iterator[None]:
    """A run has the journal open: its last changes are in the write-ahead log only."""
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        with connection:
            connection.execute("UPDATE runs SET stop_reason = 'in the log only' WHERE run = 3")
        yield


def walk(window: Window) -> set[int]:
    """Ask for every path, with right and wrong parameters and methods; the statuses."""
    paths = [*REQUESTS, *PAGES, *STATIC, *WRONG]
    statuses = {window.get(path).status for path in paths}
    return statuses | {window.get("/data", method).status for method in ("POST", "DELETE", "PUT")}


def test_no_byte_changes_and_no_secret_is_logged(mysql_server: MySQLServer, tmp_path: Path) -> None:
    """On every path, while a run writes, and while the database is down."""
    name = mysql_server.new_database()
    load_seed(mysql_server, name)
    database = mysql_server.settings(name)
    fill(tmp_path, database)
    line = Line(database.port)
    settings = replace(database, hosts=("127.0.0.1",), port=line.port)
    files, rows = checksums(tmp_path), tables(mysql_server, name)
    assert len(rows) > 5
    with serving(tmp_path, settings, SERVICE_TOKEN=TOKEN, LOG_LEVEL="DEBUG") as window:
        assert walk(window) == {200, 404, 405, 422, 503}
        assert checksums(tmp_path) == files
        with unfinished_log(tmp_path / JOURNAL):
            log = checksums(tmp_path)
            assert log[f"{JOURNAL}-wal"]
            assert walk(window) == {200, 404, 405, 422, 503}
            time.sleep(1.1)  # the page is remembered for a second
            assert "in the log only" in window.get("/").text
            # Readers mark their place in -shm, which is no data.
            after = checksums(tmp_path)
            assert [one for one in log if after[one] != log[one] and "shm" not in one] == []
        files = checksums(tmp_path)
        line.cut()
        time.sleep(1.1)
        assert window.get("/health").status == 503
        assert 503 in walk(window)
        assert checksums(tmp_path) == files
        line.restore()
        window.get("/data?search=secret-search@example.com&masked=1")
        for header in ("Bearer secret-bearer", basic("secret-password")):
            assert window.get("/data?token=secret-query", Authorization=header).status == 401
    assert tables(mysql_server, name) == rows
    printed = window.log
    secrets = [TOKEN, database.password, "secret-", "@example.com", "page_size", "masked="]
    assert [one for one in secrets if one in printed] == []
    mysql_server.drop_databases()
