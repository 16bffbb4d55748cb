"""The writable session of each engine."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from integration.database import mysql_writer
from integration.database.dialects import Column
from integration.database.errors import DatabaseRefused, DatabaseUnavailable
from integration.database.write_errors import (
    ConnectionLost,
    Deadlock,
    LockLost,
    RowRefused,
    WriteDenied,
)
from integration.database.writing import open_writer, to_text, to_time
from integration.ingest.row_sets import as_json
from sandbox.private_mysql import free_port
from tests.support.stalling_proxy import stalling_proxy

if TYPE_CHECKING:
    from pathlib import Path

    from db_connection import DatabaseSettings
    from integration.database.writing import WriteSession
    from tests.support.mysql_server import MySQLServer

INSERT = "INSERT INTO customers (id, email, plan_type) VALUES (%s, %s, 'pro')"
LAST_SECOND = "2026-12-31 23:59:59"


def insert(session: WriteSession, customers: list[tuple[int, str]]) -> None:
    """One statement for each."""
    for customer in customers:
        session.execute(INSERT, customer)


def test_a_mysql_session_is_strict_utc_and_read_committed(
    seeded_database: DatabaseSettings,
) -> None:
    """Whatever the server's defaults are."""
    session = open_writer(seeded_database)
    variables = dict(session.query("SHOW VARIABLES WHERE variable_name LIKE '%'"))
    assert variables["time_zone"] == "+00:00"
    assert variables["character_set_connection"] == "utf8mb4"
    isolation = variables.get("transaction_isolation") or variables["tx_isolation"]
    assert isolation == "READ-COMMITTED"
    assert "STRICT_ALL_TABLES" in variables["sql_mode"]
    assert session.engine in {"mysql", "mariadb"}
    session.close()


def test_a_transaction_is_rolled_back_by_an_error(session: WriteSession) -> None:
    """And a savepoint undoes a part of it."""
    twice = [(1, "a@x.com"), (2, "a@x.com")]
    with pytest.raises(RowRefused), session.transaction():
        insert(session, twice)
    with session.transaction():
        insert(session, [(2, "b@x.com")])
        with pytest.raises(RowRefused) as caught, session.savepoint():
            insert(session, [(3, "c@x.com"), (4, "b@x.com")])
        assert caught.value.code == "duplicate"
    assert session.query("SELECT id FROM customers") == [(2,)]


def test_foreign_keys_are_checked(session: WriteSession) -> None:
    """In SQLite, too."""
    with pytest.raises(RowRefused) as caught:
        session.execute("INSERT INTO page_views (user_id, page) VALUES (99, 'home')")
    assert caught.value.code == "no_parent"


def test_rows_passed_as_json_keep_every_value(session: WriteSession) -> None:
    """NULL, quotes, backslashes, emoji, large numbers and times."""
    columns = (Column("n", "integer"), Column("t"), Column("m", "time"))
    rows = [
        (2**40, "a'\"\\\n%s😀é", LAST_SECOND),
        (None, None, None),
        (-1, "", LAST_SECOND),
        (0, "x" * 255, LAST_SECOND),
    ]
    found = session.query(
        f"SELECT p.n, p.t, p.m FROM {session.dialect.rows(columns)}", (as_json(rows),)
    )
    assert [(n, t, None if m is None else str(m)) for n, t, m in found] == rows


@pytest.mark.parametrize("value", ["delimiter 'x", "Delimiter ' # y -- z", "/* delimiter ; ' */"])
def test_a_value_never_becomes_part_of_a_statement(session: WriteSession, value: str) -> None:
    """MySQL's driver obeys DELIMITER, a word of its command-line client, wherever it reads it."""
    rows = session.dialect.rows((Column("t"),))
    assert session.query(f"SELECT %s, p.t FROM {rows}", (value, as_json([(value,)]))) == [
        (value, value)
    ]


def test_many_rows_are_updated_by_id(session: WriteSession) -> None:
    """Only those that are named; matched rows are counted."""
    for number, email in ((1, "a@x.com"), (2, "b@x.com"), (3, "c@x.com")):
        session.execute(INSERT, (number, email))
    columns = (Column("id", "integer"), Column("email"), Column("first_name"))
    changed = session.execute(
        session.dialect.update("customers", columns),
        (as_json([(1, "new@x.com", None), (3, "c@x.com", "C")]),),
    )
    assert changed == 2
    assert session.query("SELECT email, first_name FROM customers ORDER BY id") == [
        ("new@x.com", None),
        ("b@x.com", None),
        ("c@x.com", "C"),
    ]


def test_a_held_row_is_a_lock_timeout(
    session: WriteSession, target_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which repeats the page, as a deadlock does."""
    session.execute(INSERT, (1, "a@x.com"))
    monkeypatch.setattr("integration.database.sqlite_writer.BUSY_SECONDS", 0.1)
    other = open_writer(target_settings)
    if other.engine != "sqlite":
        other.execute("SET SESSION innodb_lock_wait_timeout = 1")
    update = "UPDATE customers SET first_name = 'x'"
    with session.transaction():
        session.execute(update)
        with pytest.raises(Deadlock, match="for too long"), other.transaction():
            other.execute(update)
    other.close()


def test_a_lock_taken_by_another_session_is_not_taken_back(
    seeded_database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While this one had no connection; the run has to stop."""
    monkeypatch.setattr(mysql_writer, "RECONNECT_LOCK_SECONDS", 0)
    session, other = open_writer(seeded_database), open_writer(seeded_database)
    with session.try_lock("a") as held:
        assert held
        ((number,),) = session.query("SELECT CONNECTION_ID()")
        other.execute(f"KILL {number:d}")
        with other.try_lock("a", wait_seconds=10) as taken:
            assert taken
            with pytest.raises(ConnectionLost):
                session.query("SELECT 1")
            with pytest.raises(LockLost, match="another run has taken the lock"):
                session.reconnect()
    session.close()
    other.close()


def test_without_a_connection_every_call_fails_at_once(seeded_database: DatabaseSettings) -> None:
    """Also after a failed attempt to connect again, when the thread of the calls has ended."""
    with stalling_proxy(seeded_database.port) as proxy:
        settings = dataclasses.replace(seeded_database, port=proxy.port)
        session = open_writer(settings, sleep=lambda seconds: None)
    with pytest.raises(ConnectionLost):
        session.query("SELECT 1")
    with pytest.raises(DatabaseUnavailable, match="Cannot connect"):
        session.reconnect()
    with pytest.raises(ConnectionLost, match="No connection to the database"):
        session.query("SELECT 1")
    session.close()


def test_locks_of_two_databases_on_a_server_are_different(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """GET_LOCK's names are the server's."""
    second = dataclasses.replace(seeded_database, name=mysql_server.new_database())
    session, other = open_writer(seeded_database), open_writer(second)
    with session.try_lock("a") as one, other.try_lock("a") as two:
        assert one
        assert two
    session.close()
    other.close()


def test_an_unreachable_server_is_tried_three_times() -> None:
    """Each host each time, with waits between."""
    from integration.database.settings import DatabaseSettings  # noqa: PLC0415

    waits: list[float] = []
    settings = DatabaseSettings(
        "mysql", ("127.0.0.1", "localhost"), free_port(), "u", "a-secret", "shop"
    )
    with pytest.raises(DatabaseUnavailable, match="Cannot connect") as caught:
        open_writer(settings, sleep=waits.append)
    assert waits == [1, 2]
    assert "a-secret" not in str(caught.value)


def test_a_file_that_is_missing_or_no_database_is_refused(
    target_settings: DatabaseSettings, tmp_path: Path
) -> None:
    """Opening must not create it."""
    if target_settings.engine != "sqlite":
        pytest.skip("about files")
    missing, other = tmp_path / "no.db", tmp_path / "text.db"
    other.write_text("not a database, however long it may be: " * 100)
    for path, text in ((missing, "There is no SQLite database"), (other, "Cannot open")):
        with pytest.raises(DatabaseRefused, match=text):
            open_writer(dataclasses.replace(target_settings, name=str(path)))
    assert not missing.exists()


def test_a_read_only_file_is_one_line(target_settings: DatabaseSettings) -> None:
    """It says what to make writable."""
    if target_settings.engine != "sqlite":
        pytest.skip("about files")
    session = open_writer(target_settings)
    session.query("PRAGMA query_only = ON")
    with pytest.raises(WriteDenied, match="is read-only: make the file and its folder writable"):
        session.execute("DELETE FROM customers")
    session.close()


def test_times_are_text_in_utc_and_come_back() -> None:
    """With microseconds."""
    moment = to_time("2026-03-01 12:00:00.000005")
    assert moment is not None
    assert moment.tzinfo is not None
    assert to_text(moment) == "2026-03-01 12:00:00.000005"
    assert to_time(None) is None


def test_a_refused_login_names_the_setting_that_has_the_account(
    seeded_database: DatabaseSettings,
) -> None:
    """INGEST_DB_USER where that one is used."""
    wrong = dataclasses.replace(seeded_database, password="wrong", prefix="INGEST_")
    with pytest.raises(DatabaseRefused, match="check INGEST_DB_USER and INGEST_DB_PASSWORD"):
        open_writer(wrong)
    with pytest.raises(DatabaseRefused, match="check DB_USER and DB_PASSWORD"):
        open_writer(dataclasses.replace(wrong, prefix=""))
