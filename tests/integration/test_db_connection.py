"""DatabaseConnection against a real server: what it reads, and how it reports failures."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import signal
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import mysql.connector
import pytest

from db_connection import (
    DatabaseConnection,
    DatabaseError,
    DatabaseRefused,
    DatabaseSettings,
    DatabaseUnavailable,
    QueryFailed,
    load_query,
)
from integration.core.hosts import parse_hosts
from integration.core.models import PageView
from integration.database import mysql as db_mysql
from tests.conftest import QUERIES_SQL, load_seed
from tests.support.fake_mysql import GREETING, OK, fake_mysql
from tests.support.mysql_server import MySQLServer, find_server, is_mariadb, private_server
from tests.support.stalling_proxy import stalling_proxy
from tests.support.users import page_views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.fake_mysql import Peer

QUERY_2 = load_query(QUERIES_SQL, 2)
COLUMNS = "c.id, email, first_name, last_name, plan_type, candidate, v.page, v.device, v.browser, "
ANY = f"SELECT * FROM ({QUERY_2}) AS q"
# 40 ** 4 rows: more than any buffer between the server and this process holds.
HUGE_QUERY = (
    f"SELECT {COLUMNS} v.location, v.event_time FROM customers c JOIN page_views v "
    "ON v.user_id = c.id, page_views x, page_views y, page_views z"
)
# Forty times as many rows keep the fastest machine busy for half a minute.
HALF_OF_READING_IT_ALL = 15.0
UNUSED_HOST = "127.0.0.2"  # this machine, where the private server does not listen


def no_sleep(seconds: float) -> None:
    """Return immediately."""


def open_quickly(settings: DatabaseSettings, **changes: Any) -> DatabaseConnection:
    """A connection to the same database with these changes, whose retries do not wait."""
    changed = dataclasses.replace(settings, **changes)
    return DatabaseConnection.from_settings(changed, sleep=no_sleep, connect_timeout_seconds=5)


def connect_failure(settings: DatabaseSettings, **changes: Any) -> DatabaseError:
    """The error that connecting raises, after checks that apply to every such error."""
    with pytest.raises(DatabaseError) as caught:
        open_quickly(settings, **changes).connect()
    message = str(caught.value)
    assert "\n" not in message
    assert isinstance(caught.value.__cause__, Exception)
    for password in (settings.password, changes.get("password")):
        assert not password or password not in message
    return caught.value


def wait_until(condition: Callable[[], bool]) -> bool:
    """Give the server a moment to reach this state."""
    give_up = time.monotonic() + 30
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


def set_view(server: MySQLServer, name: str, **values: str | None) -> None:
    """Change Mia's latest view and Mia herself, with the values as parameters."""
    assignments = ", ".join(f"{column} = %s" for column in values)
    with server.connected(name) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE customers c JOIN page_views v ON v.user_id = c.id "
            f"SET {assignments} WHERE v.id = 13",
            tuple(values.values()),
        )


def test_the_password_is_not_in_the_settings_repr() -> None:
    """Printing a settings object by mistake does not reveal the password."""
    settings = DatabaseSettings("mysql", ("db",), 3306, "reader", "s3cret", "shop")
    assert "s3cret" not in repr(settings)


def test_query_2_is_read_from_the_file_without_comments() -> None:
    """load_query returns one statement without comments."""
    assert QUERY_2.startswith("WITH ranked_views AS (")
    assert QUERY_2.endswith("ORDER BY id")
    assert "--" not in QUERY_2
    assert ";" not in QUERY_2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "Cannot read the queries in .*queries.sql"),
        ("SELECT 1;", "no line '-- Query 2: ...'"),
        ("-- Query 2: nothing\n", "no complete statement"),
        ("-- Query 2: cut off\nSELECT 1\n", "no complete statement"),
        ("-- Query 2: none of its own\n-- Query 3: other\nSELECT 3;\n", "no complete statement"),
        ("-- Query 2: two\nSELECT 1;\nSELECT 2;\n", "queries.sql has more than one statement"),
    ],
)
def test_a_query_that_cannot_be_found_is_an_error(
    tmp_path: Path, text: str | None, message: str
) -> None:
    """A missing file, heading or statement is one clear error, never another query."""
    file = tmp_path / "queries.sql"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(QueryFailed, match=message):
        load_query(file, 2)


@pytest.mark.parametrize(
    "comment",
    ["-- all pro users; the newest view of each", "# all; of them", "/* all;\nof them */"],
)
def test_a_semicolon_in_a_comment_does_not_change_who_is_sent(
    tmp_path: Path, seeded_database: DatabaseSettings, comment: str
) -> None:
    """The condition below the comment still counts: three customers, not nine views."""
    file = tmp_path / "queries.sql"
    where = "FROM ranked_views"
    file.write_text(QUERIES_SQL.read_text(encoding="utf-8").replace(where, f"{where} {comment}\n"))
    with DatabaseConnection.from_settings(seeded_database) as database:
        rows = list(page_views(database.stream_page_views(load_query(file, 2))))
    assert [row.id for row in rows] == [1, 2, 3]


def test_the_rows_of_query_2_are_page_views(
    seeded_database: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Connecting, reading and the number of rows are logged in the documented words."""
    caplog.set_level(logging.INFO, logger="db_connection")
    with DatabaseConnection.from_settings(seeded_database) as database:
        rows = list(page_views(database.stream_page_views(QUERY_2)))
    assert [(row.id, row.email, row.page) for row in rows] == [
        (1, "delgadoalex10@gmail.com", "pricing"),
        (2, "sarah.johnson@email.com", "settings"),
        (3, "mia.harris@email.com", "pricing"),
    ]
    assert caplog.messages == [
        f"Successfully connected to database: {seeded_database.name}",
        "Query executed successfully, returned 3 rows",
    ]


def test_times_are_utc_whatever_the_servers_zone(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """The session's zone is UTC: a view of an hour ago reads as an hour ago in UTC."""
    view = (datetime.now(UTC) - timedelta(hours=1)).replace(tzinfo=None, microsecond=0)
    set_view(mysql_server, seeded_database.name, event_time=str(view))
    with DatabaseConnection.from_settings(seeded_database) as database:
        assert list(page_views(database.stream_page_views(QUERY_2)))[2].event_time == str(view)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("first_name", "Zoë 🦊"),
        ("first_name", None),
        ("email", "MIA.Harris@EMAIL.com"),
        ("location", "=cmd|' /C calc'!A0"),
        ("browser", "Chrome 🚀"),
        ("browser", None),
        ("location", 'a "quoted", \\back\\slashed\nplace'),
    ],
)
def test_values_arrive_as_they_are_stored(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings, column: str, value: str | None
) -> None:
    """No value changes between the table and a PageView."""
    set_view(mysql_server, seeded_database.name, **{column: value})
    with DatabaseConnection.from_settings(seeded_database) as database:
        assert getattr(list(page_views(database.stream_page_views(QUERY_2)))[2], column) == value


@pytest.mark.parametrize(("limit", "ids"), [(0, []), (2, [1, 2]), (99, [1, 2, 3])])
def test_a_limit_bounds_the_rows(
    seeded_database: DatabaseSettings, limit: int, ids: list[int]
) -> None:
    """At most `limit` rows are read, the first ones."""
    with DatabaseConnection.from_settings(seeded_database) as database:
        assert [row.id for row in page_views(database.stream_page_views(QUERY_2, limit))] == ids


@pytest.mark.parametrize(
    ("query", "limit", "ids"),
    [
        (f"{QUERY_2} LIMIT 2", 5, [1, 2]),
        (f"{QUERY_2} LIMIT 5", 2, [1, 2]),
        (f"{QUERY_2} DESC LIMIT 3 OFFSET 1", 1, [2]),
        (f"{QUERY_2} DESC -- the newest first", 2, [3, 2]),
        (f"{ANY} UNION ALL {ANY} ORDER BY id DESC", 3, [3, 3, 2]),
        (f"SELECT * FROM ({QUERY_2} LIMIT 3) AS q ORDER BY id DESC", 2, [3, 2]),
    ],
)
def test_a_limit_bounds_any_query_and_keeps_its_order(
    seeded_database: DatabaseSettings, query: str, limit: int, ids: list[int]
) -> None:
    """Also one that has a LIMIT already: the smaller of the two counts."""
    with DatabaseConnection.from_settings(seeded_database) as database:
        assert [row.id for row in page_views(database.stream_page_views(query, limit))] == ids


def test_a_limit_is_for_one_query_only(seeded_database: DatabaseSettings) -> None:
    """The next one on the same connection returns everything again."""
    with DatabaseConnection.from_settings(seeded_database) as database:
        assert len(list(page_views(database.stream_page_views(QUERY_2, 1)))) == 1
        assert len(list(page_views(database.stream_page_views(QUERY_2)))) == 3


def test_with_a_limit_the_server_does_not_send_the_rest(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """After the first rows of a huge result nothing remains to be read or stopped."""
    with DatabaseConnection.from_settings(seeded_database) as database:
        assert len(list(page_views(database.stream_page_views(HUGE_QUERY, 5)))) == 5
        assert sends(mysql_server, seeded_database.name) == 0


@pytest.mark.parametrize(
    ("column", "instead", "words"),
    [
        ("id", "CAST(id AS DECIMAL(10, 0))", "id is DECIMAL, expected an integer or text"),
        ("id", "id + 0e0", "id is FLOAT or DOUBLE, expected an integer or text"),
        ("id", "CAST(id AS BINARY)", "id is binary"),
        ("first_name", "CAST(first_name AS BINARY)", "first_name is binary .* expected text"),
        ("last_name", "LENGTH(last_name)", "last_name is an integer, expected text"),
        (
            "event_time",
            "CAST(event_time AS CHAR)",
            "event_time is text '20.*', expected DATETIME or",
        ),
        ("event_time", "DATE(event_time)", "event_time is DATE, expected DATETIME or TIMESTAMP"),
        ("event_time", "NULL", "event_time is NULL, expected DATETIME or TIMESTAMP"),
    ],
)
def test_a_column_of_a_wrong_type_is_named(
    seeded_database: DatabaseSettings, column: str, instead: str, words: str
) -> None:
    """One line with the customer, the column, the type found and the type expected."""
    columns = ", ".join(PageView._fields).replace(column, f"{instead} AS {column}", 1)
    query = f"SELECT {columns} FROM ({QUERY_2}) AS q"
    with (
        DatabaseConnection.from_settings(seeded_database) as database,
        pytest.raises(QueryFailed, match=rf"^Customer (b')?1.*: {words}.*check Query 2"),
    ):
        list(database.stream_page_views(query))


def test_rows_arrive_while_the_server_still_sends(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """Rows are streamed: the first arrives before the last was sent, so none need be kept."""
    with DatabaseConnection.from_settings(seeded_database) as database:
        next(database.stream_page_views(HUGE_QUERY))
        assert sends(mysql_server, seeded_database.name) == 1


def sends(server: MySQLServer, name: str) -> int:
    """How many queries the server is running in this database."""
    running = f"SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{name}'"
    return int(server.run(running + " AND command = 'Query'")[0][0])


def test_closing_does_not_read_the_rows_that_are_left(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """With millions of rows unread, close returns immediately and the server stops working."""
    database = DatabaseConnection.from_settings(seeded_database)
    database.connect()
    next(database.stream_page_views(HUGE_QUERY + ", page_views w"))
    started = time.monotonic()
    database.close()
    assert time.monotonic() - started < HALF_OF_READING_IT_ALL
    assert wait_until(lambda: sends(mysql_server, seeded_database.name) == 0)


def test_closing_twice_is_harmless(seeded_database: DatabaseSettings) -> None:
    """Close may be called by the run and by the context manager."""
    with DatabaseConnection.from_settings(seeded_database) as database:
        database.close()
        database.close()


def test_a_failing_close_does_not_fail_the_run(
    seeded_database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything was read by then; the driver's message goes to the debug log."""
    database = DatabaseConnection.from_settings(seeded_database)
    database.connect()
    connection = database._session._connection  # type: ignore[union-attr]
    really_close = connection.close

    def close() -> None:
        really_close()
        raise mysql.connector.Error("lost on the way out")

    monkeypatch.setattr(connection, "close", close)
    database.close()


def test_reading_without_a_connection_is_an_error(seeded_database: DatabaseSettings) -> None:
    """After close the connection cannot be used."""
    with DatabaseConnection.from_settings(seeded_database) as database:
        pass
    with pytest.raises(DatabaseUnavailable, match="Not connected"):
        next(database.stream_page_views(QUERY_2))


def test_one_connection_runs_several_queries(seeded_database: DatabaseSettings) -> None:
    """A query that was read completely leaves the connection ready for the next."""
    with DatabaseConnection.from_settings(seeded_database) as database:
        for _ in range(2):
            assert len(list(page_views(database.stream_page_views(QUERY_2)))) == 3


def test_the_session_can_only_read(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """Even an account with write access cannot write through this connection."""
    with (
        DatabaseConnection.from_settings(seeded_database) as database,
        pytest.raises(QueryFailed, match="READ ONLY"),
    ):
        next(database.stream_page_views("DELETE FROM page_views"))
    assert mysql_server.run("SELECT COUNT(*) FROM page_views", name=seeded_database.name) == [(40,)]


def test_the_c_extension_reads_the_rows(seeded_database: DatabaseSettings) -> None:
    """The pinned driver includes its C extension on this platform."""
    with DatabaseConnection.from_settings(seeded_database) as database:
        assert type(database._session._connection).__name__ == "CMySQLConnection"  # type: ignore[union-attr]


@pytest.fixture
def without_c_extension(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which the driver's C extension cannot be loaded."""

    def broken(name: str) -> None:
        raise ImportError(f"{name}: libssl.so.3: version `OPENSSL_3.2.0' not found")

    monkeypatch.setattr(mysql.connector, "HAVE_CEXT", False)
    monkeypatch.setattr(db_mysql, "importlib", SimpleNamespace(import_module=broken))
    db_mysql._has_c_extension.cache_clear()
    yield
    db_mysql._has_c_extension.cache_clear()


def test_without_the_c_extension_it_still_reads_and_warns_once(
    seeded_database: DatabaseSettings,
    without_c_extension: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The slow path works; one warning gives the cause and the fix."""
    for _ in range(2):
        with DatabaseConnection.from_settings(seeded_database) as database:
            assert len(list(page_views(database.stream_page_views(QUERY_2)))) == 3
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "OPENSSL_3.2.0" in warning
    assert "9.7.0" in warning


@pytest.fixture(params=["C extension", "pure Python"])
def either_driver(request: pytest.FixtureRequest) -> None:
    """Both implementations of the driver, one after the other."""
    if request.param == "pure Python":
        request.getfixturevalue("without_c_extension")


@pytest.mark.parametrize(
    "query",
    ["SELECT id FROM customers", "LOAD DATA LOCAL INFILE '{}' INTO TABLE t -- FROM customers"],
    ids=["select", "load"],
)
def test_a_rogue_server_gets_no_file_of_this_machine(
    tmp_path: Path, either_driver: None, query: str
) -> None:
    """A server may answer any query with LOCAL INFILE: the file's content is never sent."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the content of a file")
    received: list[bytes] = []

    def answer_with_a_file_request(peer: Peer) -> None:
        peer.sign_in()
        while True:
            command = peer.receive()
            if b"FROM customers" in command:
                received.append(b"asked")
                received.append(peer.ask_for_file(str(secret)))
            elif command[1:].startswith(b"SHOW"):
                peer.send_no_rows()
                continue
            peer.send(OK)

    with fake_mysql(UNUSED_HOST, 0, answer_with_a_file_request) as fake:
        settings = DatabaseSettings("mysql", (UNUSED_HOST,), fake.port, "reader", "secret", "shop")
        with DatabaseConnection.from_settings(settings) as database, pytest.raises(DatabaseError):
            next(database.stream_page_views(query.format(secret)))
    assert received[0] == b"asked"
    assert b"".join(received[1:]) == b""


def test_a_wrong_password_is_not_retried(seeded_database: DatabaseSettings) -> None:
    """Access denied names the settings to check, and is not retried."""
    waits: list[float] = []
    wrong = dataclasses.replace(seeded_database, password="not-the-password")
    with pytest.raises(DatabaseRefused, match="check DB_USER and DB_PASSWORD") as caught:
        DatabaseConnection.from_settings(wrong, sleep=waits.append).connect()
    assert waits == []
    assert "not-the-password" not in str(caught.value)


def test_an_unknown_database_is_not_retried(seeded_database: DatabaseSettings) -> None:
    """An unknown database names the file that creates it."""
    error = connect_failure(seeded_database, name="no_such_database")
    assert isinstance(error, DatabaseRefused)
    assert "no_such_database" in str(error)
    assert "database_setup.sql" in str(error)


@pytest.fixture
def make_user(mysql_server: MySQLServer) -> Iterator[Callable[..., str]]:
    """Create users with only the rights that the test grants."""
    made: list[str] = []

    def make(*grants: str, options: str = "") -> str:
        user = f"user_{len(made)}_{time.monotonic_ns() % 10**9}"
        made.append(user)
        account = f"'{user}'@'%'"
        mysql_server.run(f"CREATE USER {account} IDENTIFIED BY 'secret-of-user' {options}")
        for grant in grants:
            mysql_server.run(f"GRANT {grant} TO {account}")
        return user

    yield make
    for user in made:
        mysql_server.run(f"DROP USER '{user}'@'%'")


def test_a_user_without_rights_on_the_database_gets_a_specific_message(
    seeded_database: DatabaseSettings, make_user: Callable[..., str]
) -> None:
    """Missing grants have a message that differs from that of a wrong password."""
    error = connect_failure(seeded_database, user=make_user(), password="secret-of-user")
    assert isinstance(error, DatabaseRefused)
    assert "no rights on database" in str(error)


def test_a_user_who_may_not_select_is_told_what_to_grant(
    seeded_database: DatabaseSettings, make_user: Callable[..., str]
) -> None:
    """A missing SELECT right is a failed query that names the grant."""
    user = make_user(f"INSERT ON {seeded_database.name}.*")
    with (
        open_quickly(seeded_database, user=user, password="secret-of-user") as database,
        pytest.raises(QueryFailed, match="grant SELECT on"),
    ):
        next(database.stream_page_views(QUERY_2))


def test_a_user_who_may_only_select_can_run_query_2(
    seeded_database: DatabaseSettings, make_user: Callable[..., str]
) -> None:
    """SELECT is all that the program needs, for closing early too."""
    user = make_user(f"SELECT ON {seeded_database.name}.*")
    with open_quickly(seeded_database, user=user, password="secret-of-user") as database:
        assert len(list(page_views(database.stream_page_views(QUERY_2)))) == 3
        next(database.stream_page_views(HUGE_QUERY + ", page_views w"))
        started = time.monotonic()
    assert time.monotonic() - started < HALF_OF_READING_IT_ALL


def test_a_locked_account_gets_a_specific_message(
    seeded_database: DatabaseSettings, make_user: Callable[..., str]
) -> None:
    """A locked account is refused with that reason."""
    user = make_user(options="ACCOUNT LOCK")
    error = connect_failure(seeded_database, user=user, password="secret-of-user")
    assert isinstance(error, DatabaseRefused)
    assert "locked" in str(error)


def test_an_unreachable_server_is_tried_three_times(
    seeded_database: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Connection refused: three attempts with waits of 1 and 2 seconds, then one line."""
    waits: list[float] = []
    dead = dataclasses.replace(seeded_database, hosts=(UNUSED_HOST,))
    with pytest.raises(DatabaseUnavailable, match=rf"{UNUSED_HOST}:{dead.port}.*DB_HOST, DB_PORT"):
        DatabaseConnection.from_settings(dead, sleep=waits.append).connect()
    assert waits == [1, 2]
    assert [message[-17:] for message in caplog.messages] == [
        "Trying again in 1 s"[-17:],
        "Trying again in 2 s"[-17:],
    ]


def test_a_server_that_comes_back_is_used(
    seeded_database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry that succeeds is a success."""
    database = DatabaseConnection.from_settings(
        dataclasses.replace(seeded_database, hosts=(UNUSED_HOST,)),
        sleep=lambda _: setattr(database, "_settings", seeded_database),
    )
    with database:
        assert len(list(page_views(database.stream_page_views(QUERY_2)))) == 3


@pytest.mark.parametrize("text", ["::1", "[::1]"])
def test_an_ipv6_address_is_connected_to(seeded_database: DatabaseSettings, text: str) -> None:
    """With or without brackets in the setting, always with them in messages."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with stalling_proxy(seeded_database.port, "::1") as proxy:
        settings = dataclasses.replace(seeded_database, hosts=parse_hosts(text), port=proxy.port)
        with DatabaseConnection.from_settings(settings) as database:
            assert len(list(page_views(database.stream_page_views(QUERY_2)))) == 3
    assert f"at [::1]:{proxy.port}" in str(connect_failure(settings))


def test_an_unknown_host_gets_a_specific_message(seeded_database: DatabaseSettings) -> None:
    """The error for a name that does not resolve mentions DB_HOST."""
    error = connect_failure(seeded_database, hosts=("no-such-host.invalid",))
    assert isinstance(error, DatabaseUnavailable)
    assert "Unknown database host no-such-host.invalid" in str(error)
    assert "DB_HOST" in str(error)


def test_an_unreachable_host_is_skipped_for_the_next(
    seeded_database: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Hosts are tried in order; the log names the one that failed."""
    with open_quickly(seeded_database, hosts=(UNUSED_HOST, *seeded_database.hosts)) as database:
        assert len(list(page_views(database.stream_page_views(QUERY_2)))) == 3
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert UNUSED_HOST in warning
    assert warning.endswith("Trying the next host")


def test_the_whole_list_of_hosts_is_tried_three_times(
    seeded_database: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """With all hosts dead, each is tried three times."""
    error = connect_failure(seeded_database, hosts=(UNUSED_HOST, "127.0.0.3"))
    said = " ".join([*caplog.messages, str(error)])
    for host in (UNUSED_HOST, "127.0.0.3"):
        assert said.count(f"at {host}:") == 3


def test_a_refusal_is_not_retried_on_the_next_host(
    seeded_database: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """The hosts are one service: a wrong password is wrong on all of them."""
    hosts = seeded_database.hosts * 2
    error = connect_failure(seeded_database, hosts=hosts, password="wrong")
    assert isinstance(error, DatabaseRefused)
    assert caplog.messages == []


def test_a_server_that_never_answers_times_out() -> None:
    """A port that accepts and then sends nothing does not block the run forever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        silent = DatabaseSettings("mysql", ("127.0.0.1",), port, "reader", "secret", "shop")
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="Cannot connect to the database"):
            db_mysql.MySQLSession(silent, "127.0.0.1", 1)
        assert time.monotonic() - started > 0.5


def greet_and_wait(peer: Peer) -> None:
    """Greet as a MySQL server does, read what the client sends, and answer nothing."""
    peer.send(GREETING)
    while True:
        peer.receive()


def sign_in_and_wait(peer: Peer) -> None:
    """Accept the login, and leave the first statement unanswered."""
    peer.sign_in()
    while True:
        peer.receive()


@pytest.mark.parametrize("stall", [greet_and_wait, sign_in_and_wait])
def test_a_host_that_stalls_after_its_greeting_is_skipped_for_the_next(
    seeded_database: DatabaseSettings, stall: Callable[[Peer], None]
) -> None:
    """Time to connect is time until signed in, however far the host lets us come."""
    hosts = (UNUSED_HOST, *seeded_database.hosts)
    with fake_mysql(UNUSED_HOST, seeded_database.port, stall) as fake:
        settings = dataclasses.replace(seeded_database, hosts=hosts)
        with DatabaseConnection.from_settings(settings, connect_timeout_seconds=0.5) as database:
            assert len(list(page_views(database.stream_page_views(QUERY_2)))) == 3
        assert len(fake.peers) == 1


def test_a_host_that_stalls_is_reported_as_not_answering(
    seeded_database: DatabaseSettings,
) -> None:
    """One line with the timeout, after three attempts."""
    waits: list[float] = []
    with fake_mysql(UNUSED_HOST, 0, greet_and_wait) as fake:
        stalled = dataclasses.replace(seeded_database, hosts=(UNUSED_HOST,), port=fake.port)
        with pytest.raises(DatabaseUnavailable, match=r"not logged in within 0\.2 s"):
            DatabaseConnection.from_settings(
                stalled, sleep=waits.append, connect_timeout_seconds=0.2
            ).connect()
    assert waits == [1, 2]


def test_a_server_that_is_not_a_database_gets_a_specific_message() -> None:
    """A port with a different protocol is one line, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        other = DatabaseSettings("mysql", ("127.0.0.1",), port, "reader", "secret", "shop")
        greeter = threading.Thread(target=_greet, args=(listener,))
        greeter.start()
        with pytest.raises(DatabaseUnavailable, match="Cannot connect to the database"):
            db_mysql.MySQLSession(other, "127.0.0.1", 2)
        greeter.join()


def _greet(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM no_such_table", r"no_such_table.*database_setup\.sql"),
        ("SELECT no_such_column FROM customers", r"no_such_column.*database_setup\.sql"),
        ("WITHOUT ranked_views", r"MySQL 8\.0"),
        (QUERY_2.replace("pv.location", "(SELECT id FROM customers) AS location"), "cannot run"),
        ("SELECT 1 AS one", "returns the columns one; it must return id, email"),
    ],
)
def test_a_query_that_cannot_run_says_what_to_check(
    seeded_database: DatabaseSettings, query: str, message: str
) -> None:
    """Each kind of SQL error is one line that names the next step."""
    with (
        DatabaseConnection.from_settings(seeded_database) as database,
        pytest.raises(QueryFailed, match=message) as caught,
    ):
        next(database.stream_page_views(query))
    assert "\n" not in str(caught.value)


def test_missing_tables_name_the_setup_file(empty_database: DatabaseSettings) -> None:
    """The error for an empty database says how to create the tables."""
    with (
        DatabaseConnection.from_settings(empty_database) as database,
        pytest.raises(QueryFailed, match=r"mysql -u root -p < database_setup\.sql"),
    ):
        next(database.stream_page_views(QUERY_2))


def test_a_connection_that_the_server_ends_is_lost(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """An administrator's KILL during the query is a lost connection, not fewer rows."""
    with DatabaseConnection.from_settings(seeded_database) as database:
        rows = database.stream_page_views(HUGE_QUERY)
        next(rows)
        thread = mysql_server.run(
            "SELECT id FROM information_schema.processlist "
            f"WHERE db = '{seeded_database.name}' AND command = 'Query'"
        )[0][0]
        mysql_server.run(f"KILL {thread}")
        with pytest.raises(DatabaseUnavailable, match="Lost the connection"):
            _read_all(rows)


def _read_all(rows: Iterator[object]) -> None:
    for _ in rows:
        pass


def _seed(server: MySQLServer) -> DatabaseSettings:
    settings = server.settings(server.new_database())
    load_seed(server, settings.name)
    return settings


def test_a_server_killed_mid_stream_is_a_lost_connection() -> None:
    """The server gets kill -9 while rows stream: one error, and closing does not hang."""
    with private_server() as server:
        database = DatabaseConnection.from_settings(_seed(server))
        database.connect()
        rows = database.stream_page_views(HUGE_QUERY)
        next(rows)
        assert server.process is not None
        server.process.send_signal(signal.SIGKILL)
        with pytest.raises(DatabaseUnavailable, match="Lost the connection") as caught:
            _read_all(rows)
        assert "\n" not in str(caught.value)
        database.close()


def test_closing_after_the_server_crashed_is_silent() -> None:
    """With rows unread and no server left to stop, close just returns."""
    with private_server() as server:
        database = DatabaseConnection.from_settings(_seed(server), connect_timeout_seconds=2)
        database.connect()
        next(database.stream_page_views(HUGE_QUERY))
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        database.close()


def _skip_unless(*, mariadb: bool) -> None:
    program = find_server()
    if program is not None and is_mariadb(program) is not mariadb:
        pytest.skip(f"for {'MariaDB' if mariadb else 'MySQL'} only")


def test_mariadb_takes_a_password_without_tls() -> None:
    """A connection to a MariaDB without a certificate, like Debian's, is in plain text."""
    _skip_unless(mariadb=True)
    with (
        private_server("--skip-ssl") as server,
        DatabaseConnection.from_settings(_seed(server)) as database,
    ):
        assert len(list(page_views(database.stream_page_views(QUERY_2)))) == 3


def test_mysql_without_tls_is_refused_with_the_fix() -> None:
    """The driver sends no caching_sha2_password in plain text: the message says so."""
    _skip_unless(mariadb=False)
    with private_server() as server:
        settings = dataclasses.replace(server.settings("mysql"), user="new", password="secret")
        server.run(
            "CREATE USER 'new'@'%' IDENTIFIED BY 'secret'",
            "SET GLOBAL tls_version = ''",
            "ALTER INSTANCE RELOAD TLS NO ROLLBACK ON ERROR",
        )
        error = connect_failure(settings)
    assert isinstance(error, DatabaseRefused)
    assert "switch TLS on" in str(error)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem signed server.pem for the name `localhost`; other.pem is an unrelated CA."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("tls")
    new_key = ["-newkey", "rsa:2048", "-nodes"]

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        subject = ["-subj", f"/CN=Test {name}", "-days", "2"]
        run("req", "-x509", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.pem", *subject)
    subject = ["-subj", "/CN=localhost"]
    run("req", *new_key, "-keyout", "server.key", "-out", "server.csr", *subject)
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
    run("x509", "-req", "-in", "server.csr", "-extfile", "names", "-out", "server.pem", *signing)
    return folder


@pytest.fixture(scope="module")
def tls_database(certificates: Path) -> Iterator[DatabaseSettings]:
    """A seeded database whose user may connect with TLS only."""
    options = [
        f"--ssl-ca={certificates / 'ca.pem'}",
        f"--ssl-cert={certificates / 'server.pem'}",
        f"--ssl-key={certificates / 'server.key'}",
    ]
    with private_server(*options) as server:
        settings = _seed(server)
        server.run(f"ALTER USER '{server.user}'@'%' REQUIRE SSL")
        yield dataclasses.replace(settings, hosts=("localhost",))


def test_tls_with_the_right_ca_connects(tls_database: DatabaseSettings, certificates: Path) -> None:
    """A certificate that the CA signed for this host is accepted."""
    with open_quickly(tls_database, ssl_ca=str(certificates / "ca.pem")) as database:
        assert len(list(page_views(database.stream_page_views(QUERY_2)))) == 3


@pytest.mark.parametrize(
    ("ca", "host"), [("other.pem", "localhost"), ("ca.pem", "127.0.0.1")], ids=["ca", "name"]
)
def test_tls_with_an_unknown_certificate_is_refused(
    tls_database: DatabaseSettings, certificates: Path, ca: str, host: str
) -> None:
    """Another CA's certificate, or another host's, is rejected and not retried."""
    error = connect_failure(tls_database, ssl_ca=str(certificates / ca), hosts=(host,))
    assert isinstance(error, DatabaseRefused)
    assert "DB_SSL_CA" in str(error)


def test_with_a_ca_a_server_without_tls_is_refused(certificates: Path) -> None:
    """A CA means that TLS is required: there is no fallback to plain text."""
    with private_server("--loose-skip-ssl") as server:
        settings = server.settings("mysql")
        error = connect_failure(settings, ssl_ca=str(certificates / "ca.pem"))
    assert isinstance(error, DatabaseRefused)
    assert "TLS" in str(error)


def test_a_session_that_cannot_be_set_up_is_an_error(
    mysql_server: MySQLServer,
    seeded_database: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection whose session settings the server rejects is not used."""
    monkeypatch.setattr(db_mysql, "SESSION_SETUP", ("SET no_such_variable = 1",))
    error = connect_failure(seeded_database)
    assert "no_such_variable" in str(error)
    mine = f"SELECT 1 FROM information_schema.processlist WHERE db = '{seeded_database.name}'"
    assert wait_until(lambda: not mysql_server.run(mine))
