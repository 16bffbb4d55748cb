"""PostgreSQL: what its values become, and its errors in one line."""

from __future__ import annotations

import threading
import time
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from db_connection import (
    DatabaseConnection,
    DatabaseRefused,
    DatabaseUnavailable,
    Query,
    QueryFailed,
)
from tests.support.postgres_server import private_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.private_postgres import PostgreSQLServer

LONG = "SELECT pg_sleep(30) AS id"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQLServer]:
    """A server with TLS, and an account that may read one of two tables."""
    with private_server(tls=True) as server:
        server.run(
            "CREATE TABLE open_to_all (id int)",
            "CREATE TABLE closed (id int)",
            "INSERT INTO open_to_all SELECT generate_series(1, 5000)",
            "CREATE ROLE reader LOGIN PASSWORD 'geheim'",
            "GRANT SELECT ON open_to_all TO reader",
            "CREATE ROLE hasty LOGIN PASSWORD 'geheim'",
            "ALTER ROLE hasty SET statement_timeout = '200ms'",
        )
        yield server


def connection_to(server: PostgreSQLServer, **changes: Any) -> DatabaseConnection:
    """A connection that does not wait between attempts."""
    arguments = {
        "engine": "postgresql",
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "database": "postgres",
        "sleep": lambda seconds: None,
    }
    return DatabaseConnection(**{**arguments, **changes})


def rows_of(connection: DatabaseConnection, sql: str, limit: int | None = None) -> list[Any]:
    """All rows of a query of PostgreSQL's."""
    _, batches = connection.stream_rows(Query(sql, "native"), limit)
    return [row for batch in batches for row in batch]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("timestamptz '2026-03-29 03:30:00+02'", datetime(2026, 3, 29, 1, 30)),  # noqa: DTZ001
        ("timestamp '2026-03-29 03:30:00'", datetime(2026, 3, 29, 3, 30)),  # noqa: DTZ001
        ("date '2026-03-29'", date(2026, 3, 29)),
        ("1.50::numeric(5, 2)", Decimal("1.50")),
        ("true", True),
        ("9223372036854775807", 9223372036854775807),
        ("1.5::float8", 1.5),
        ("'💠'", "💠"),
        ("'{\"a\": 12345678901234567890.5}'::jsonb", '{"a": 12345678901234567890.5}'),
        ("uuid '7b3c1b1e-0000-4000-8000-000000000001'", "7b3c1b1e-0000-4000-8000-000000000001"),
        ("inet '10.0.0.1'", "10.0.0.1"),
        ("array['x', NULL]", ["x", None]),
        ("array[timestamptz '2026-03-29 03:30+02']", [datetime(2026, 3, 29, 1, 30)]),  # noqa: DTZ001
        ("NULL::timestamptz", None),
        ("'x'::bytea", b"x"),
    ],
)
def test_values_have_the_types_of_a_run(
    postgres: PostgreSQLServer, sql: str, value: object
) -> None:
    """Whatever the server's time zone is."""
    with connection_to(postgres) as connection:
        ((found,),) = rows_of(connection, f"SELECT {sql} AS value")
    assert found == value
    assert isinstance(found, type(value))


def test_a_limit_ends_the_reading(postgres: PostgreSQLServer) -> None:
    """The same connection can be used for the next query."""
    with connection_to(postgres) as connection:
        assert rows_of(connection, "SELECT id FROM open_to_all ORDER BY id", 3) == [
            (1,),
            (2,),
            (3,),
        ]
        assert len(rows_of(connection, "SELECT id FROM open_to_all")) == 5_000


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"password": "falsch"},
            DatabaseRefused,
            "Access denied for user tester at {at}: check DB_USER and DB_PASSWORD, or DATABASE_URL",
        ),
        ({"database": "nope"}, DatabaseRefused, "Unknown database nope at {at}: check DB_NAME"),
        (
            {"host": "db.invalid"},
            DatabaseUnavailable,
            "Unknown database host db.invalid:{port}: check DB_HOST or DATABASE_URL",
        ),
        (
            {"port": 1},
            DatabaseUnavailable,
            "Cannot connect to the database at 127.0.0.1:1: check that the server runs, DB_HOST,",
        ),
        (
            {"options": [("sslmode", "verify-full")]},
            DatabaseRefused,
            "No verified TLS connection to {at}: check DB_SSL_CA and sslmode, and that the",
        ),
    ],
)
def test_a_refused_login_says_what_to_check(
    postgres: PostgreSQLServer, changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    """In one line, without the password."""
    with pytest.raises(DatabaseUnavailable) as caught, connection_to(postgres, **changes):
        pass
    at = f"{postgres.host}:{postgres.port}"
    assert type(caught.value) is kind
    assert str(caught.value).startswith(message.format(at=at, port=postgres.port))
    assert "\n" not in str(caught.value)
    assert postgres.password not in str(caught.value)


def test_the_certificate_of_db_ssl_ca_is_verified(postgres: PostgreSQLServer) -> None:
    """With the name of the host."""
    authority = str(postgres.folder / "server.crt")
    query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    with connection_to(postgres, ssl_ca=authority) as connection:
        assert rows_of(connection, query) == [(True,)]
    with (
        pytest.raises(DatabaseRefused),
        connection_to(postgres, host="localhost", ssl_ca=authority),
    ):
        pass


@pytest.mark.parametrize(
    ("user", "sql", "message"),
    [
        ("reader", "SELECT id FROM closed", "User reader may not read all that the query needs ("),
        ("reader", "SELECT nope FROM open_to_all", "The tables do not match the query ("),
        ("reader", "SELECT id FROM nope", "A table is missing ("),
        ("reader", "SELEC 1", "PostgreSQL does not understand the query ("),
        ("hasty", LONG, "The database stopped the query (canceling statement due to statement "),
        ("reader", "SELECT 1 / 0 AS id", "The database cannot run the query: division by zero"),
        ("reader", "SELECT 'infinity'::date AS id", "A value of the query cannot be read: "),
        ("reader", "SELECT nextval('one')", "A table is missing ("),
    ],
)
def test_a_failed_query_says_what_to_check(
    postgres: PostgreSQLServer, user: str, sql: str, message: str
) -> None:
    """In one line."""
    with connection_to(postgres, user=user, password="geheim") as connection:
        with pytest.raises(QueryFailed) as caught:
            rows_of(connection, sql)
        assert rows_of(connection, "SELECT 1 AS one") == [(1,)]
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_the_session_is_read_only(postgres: PostgreSQLServer) -> None:
    """Also for a function that writes."""
    postgres.run(
        "CREATE OR REPLACE FUNCTION write() RETURNS int LANGUAGE sql"
        " AS 'DELETE FROM open_to_all RETURNING id'"
    )
    with connection_to(postgres) as connection, pytest.raises(QueryFailed) as caught:
        rows_of(connection, "SELECT write() AS id")
    assert str(caught.value).startswith("The query would change data, and the session is read-only")


def test_a_connection_that_is_ended_by_the_server_is_lost(postgres: PostgreSQLServer) -> None:
    """A retry may help."""
    with connection_to(postgres) as connection:
        _, batches = connection.stream_rows(Query("SELECT id FROM open_to_all", "native"))
        next(batches)
        postgres.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'iterable-integration'"
        )
        with pytest.raises(DatabaseUnavailable) as caught:
            list(batches)
    assert str(caught.value).startswith("Lost the connection to the database at 127.0.0.1:")


def test_close_ends_a_query_that_runs(postgres: PostgreSQLServer) -> None:
    """As after Ctrl-C: the server does not compute on."""
    connection = connection_to(postgres)
    connection.connect()
    failures: list[Exception] = []

    def read() -> None:
        try:
            rows_of(connection, LONG)
        except Exception as error:  # noqa: BLE001  reported below
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    wait_for_fetches(postgres, 1)
    connection.close()
    reader.join(5)
    assert not reader.is_alive()
    wait_for_fetches(postgres, 0)


def wait_for_fetches(server: PostgreSQLServer, count: int) -> None:
    """Wait until the server runs so many FETCH of the program."""
    active = (
        "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'FETCH%' AND state = 'active'"
        " AND application_name = 'iterable-integration'"
    )
    give_up = time.monotonic() + 10
    while server.run(active) != [(count,)]:
        assert time.monotonic() < give_up
        time.sleep(0.02)
