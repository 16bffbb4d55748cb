"""Every database error is one line that says what to check."""

from __future__ import annotations

import pytest

from integration.database.errors import (
    DatabaseRefused,
    DatabaseUnavailable,
    QueryFailed,
    connect_error,
    query_error,
)

FACTS = {"host": "db1:3306", "user": "reader", "name": "shop"}


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (1040, DatabaseUnavailable, "too many connections"),
        (1044, DatabaseRefused, "DB_USER, DB_NAME and its grants"),
        (1045, DatabaseRefused, "check DB_USER and DB_PASSWORD"),
        (1049, DatabaseRefused, "database_setup.sql"),
        (1129, DatabaseRefused, "mysqladmin flush-hosts"),
        (1130, DatabaseRefused, "db1:3306 accepts no connection from this machine"),
        (1203, DatabaseUnavailable, "reader has too many connections"),
        (1698, DatabaseRefused, "cannot log in with a password"),
        (2003, DatabaseUnavailable, "the server runs, DB_HOST, DB_PORT and the firewall"),
        (2005, DatabaseUnavailable, "Unknown database host db1:3306: check DB_HOST"),
        (2013, DatabaseUnavailable, "Cannot connect to the database at db1:3306"),
        (2026, DatabaseRefused, "check DB_SSL_CA"),
        (2059, DatabaseRefused, "enable TLS"),
        (2061, DatabaseRefused, "enable TLS"),
        (3118, DatabaseRefused, "locked"),
        (3159, DatabaseRefused, "set DB_SSL_CA"),
        (4151, DatabaseRefused, "locked"),
        (-1, DatabaseUnavailable, "Cannot connect to the database at db1:3306"),
    ],
)
def test_a_failed_connection_says_what_to_check(
    number: int, kind: type[Exception], words: str
) -> None:
    """Each error number has its class (retried or not) and its advice."""
    error = connect_error(number, "the driver's\nown words", **FACTS)
    assert type(error) is kind
    assert words in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (1053, DatabaseUnavailable, "Lost the connection"),
        (1054, QueryFailed, "compare them with database_setup.sql"),
        (1064, QueryFailed, "MySQL 8.0 or MariaDB 10.2"),
        (1142, QueryFailed, "grant SELECT on shop"),
        (1143, QueryFailed, "grant SELECT on shop"),
        (1146, QueryFailed, "mysql -u root -p < database_setup.sql"),
        (1927, DatabaseUnavailable, "Lost the connection"),
        (2006, DatabaseUnavailable, "Lost the connection"),
        (2013, DatabaseUnavailable, "the server and the network"),
        (4031, DatabaseUnavailable, "Lost the connection"),
        (1242, QueryFailed, "cannot run the query: the driver's own words"),
        (-1, QueryFailed, "cannot run the query"),
    ],
)
def test_a_failed_query_says_what_to_check(number: int, kind: type[Exception], words: str) -> None:
    """Wrong SQL and a lost connection are different errors."""
    error = query_error(number, "the driver's\nown words", **FACTS)
    assert type(error) is kind
    assert words in str(error)
    assert "\n" not in str(error)


def test_braces_in_a_drivers_message_are_harmless() -> None:
    """A driver's message is shown, never used as a template."""
    error = connect_error(2026, "bad {certificate} {0}", **FACTS)
    assert "bad {certificate} {0}" in str(error)
