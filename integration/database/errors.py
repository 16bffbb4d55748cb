"""Database errors as one-line messages that say what to check.

    DatabaseError               exit code 69
    ├── DatabaseUnavailable     no connection, or lost while reading; a retry may help
    │   └── DatabaseRefused     login or certificate refused; a retry will not help
    ├── QueryFailed             connected, but the SQL cannot be run
    └── QueryTooSlow            longer than the limit of an interactive statement; a retry may help
        └── PoolBusy            no connection became free in time

No message contains a password: the driver's messages have none, and none is added here.
"""

from __future__ import annotations

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode

SETUP_HINT = "mysql -u root -p < database_setup.sql"


class DatabaseError(AppError):
    """The database cannot be used or read; the message says what to check."""

    exit_code = ExitCode.UNAVAILABLE


class DatabaseUnavailable(DatabaseError):  # noqa: N818  # named by what to do next
    """No connection to the database, or it was lost."""


class DatabaseRefused(DatabaseUnavailable):
    """The database refuses this connection; retrying without a change does not help."""


class QueryFailed(DatabaseError):  # noqa: N818  # named by what to do next
    """The database cannot run the query."""


class QueryTooSlow(DatabaseError):  # noqa: N818  # named by what to do next
    """A statement took longer than its limit."""


class PoolBusy(QueryTooSlow):
    """All connections are in use."""


_SIGN_IN = (
    "The driver does not support the login method of {host} for user {user}: enable TLS on the "
    "server (caching_sha2_password needs it) or change the user's authentication plugin ({detail})"
)

# Server and client error numbers: https://dev.mysql.com/doc/mysql-errors/9.7/en/
_REFUSED = {
    1044: "User {user} has no rights on database {name}: "
    "check {prefix}DB_USER, DB_NAME and its grants",
    1045: "Access denied for user {user} at {host}: check {prefix}DB_USER and {prefix}DB_PASSWORD",
    1049: "Unknown database {name} at {host}: check DB_NAME, or create it with " + SETUP_HINT,
    1129: "{host} blocks this machine after too many failed connections: "
    "run FLUSH HOSTS (or mysqladmin flush-hosts) there",
    1130: "{host} accepts no connection from this machine: check the host in the user's grants",
    1698: "Access denied for user {user} at {host}: this user cannot log in with a password; "
    "check {prefix}DB_USER and {prefix}DB_PASSWORD",
    2026: "No verified TLS connection to {host}: check DB_SSL_CA, and that the server's "
    "certificate names this host ({detail})",
    2059: _SIGN_IN,
    2061: _SIGN_IN,
    3118: "The account of user {user} at {host} is locked: unlock it, or check {prefix}DB_USER",
    3159: "{host} accepts only encrypted connections: set DB_SSL_CA",
    4151: "The account of user {user} at {host} is locked: unlock it, or check {prefix}DB_USER",
}

_UNAVAILABLE = {
    1047: "The node {host} has lost its cluster: check the other nodes ({detail})",
    1040: "{host} has too many connections: retry later, or raise max_connections",
    1203: "User {user} has too many connections at {host}: retry later",
    2005: "Unknown database host {host}: check DB_HOST",
}

_QUERY = {
    1054: "The tables do not match the query ({detail}): compare them with database_setup.sql",
    1064: "The server does not understand the query: it needs MySQL 8.0 or MariaDB 10.2 or "
    "later; check the server's version and phase2_queries.sql ({detail})",
    1142: "User {user} may not read the tables: grant SELECT on {name} ({detail})",
    1143: "User {user} may not read all the columns: grant SELECT on {name} ({detail})",
    1146: "A table is missing ({detail}): check DB_NAME, or create the tables with " + SETUP_HINT,
}

# The connection is gone: killed, timed out, the server stopping or stopped.
_LOST = frozenset({1053, 1077, 1079, 1080, 1152, 1153, 1158, 1159, 1160, 1161, 1184, 1927})
_LOST_CLIENT = frozenset({2006, 2012, 2013, 2027, 2055, 3169, 4031})


def connect_error(
    number: int, detail: str, *, host: str, user: str, name: str, prefix: str = ""
) -> DatabaseError:
    """The error for a failed connection.

    Args:
        number: MySQL's error number, as the driver gives it; -1 if it has none.
        detail: The driver's message.
        host: The host and port of the attempt.
        user: The account.
        name: DB_NAME.
        prefix: What precedes DB_USER in the name of the setting that has the account.
    """
    values = {"host": host, "user": user, "name": name, "prefix": prefix}
    values["detail"] = one_line(detail)
    if number in _REFUSED:
        return DatabaseRefused(_REFUSED[number].format(**values))
    if number in _UNAVAILABLE:
        return DatabaseUnavailable(_UNAVAILABLE[number].format(**values))
    return DatabaseUnavailable(
        f"Cannot connect to the database at {host}: check that the server runs, DB_HOST, "
        f"DB_PORT and the firewall ({values['detail']})"
    )


def query_error(number: int, detail: str, *, host: str, user: str, name: str) -> DatabaseError:
    """The error for a failed query; the arguments are those of `connect_error`."""
    values = {"host": host, "user": user, "name": name, "detail": one_line(detail)}
    if is_lost(number):
        return DatabaseUnavailable(
            f"Lost the connection to the database at {host} during the query: check the server and "
            f"the network, then run again ({values['detail']})"
        )
    if number in _QUERY:
        return QueryFailed(_QUERY[number].format(**values))
    return QueryFailed(f"The database cannot run the query: {values['detail']}")


def is_lost(number: int) -> bool:
    """Whether the error number means that the connection is gone."""
    return number in _LOST or number in _LOST_CLIENT


def one_line(text: str) -> str:
    """A driver's message, which may have several lines, as one line."""
    return " ".join(text.split())
