"""What can go wrong with the database, each said in one line that names what to check.

    DatabaseError               caught by the run: one line, exit code 69
    ├── DatabaseUnavailable     no connection, or lost in mid-stream; trying again may help
    │   └── DatabaseRefused     the server (or its certificate) says no; trying again will not help
    └── QueryFailed             connected, but the SQL cannot be run

No message holds a password: drivers put none in theirs, and none is added here.
"""

from __future__ import annotations

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode

SETUP_HINT = "mysql -u root -p < database_setup.sql"


class DatabaseError(AppError):
    """The database did not give what was asked; the message says what to check."""

    exit_code = ExitCode.UNAVAILABLE


class DatabaseUnavailable(DatabaseError):  # noqa: N818  # named by what to do next
    """There is no connection to the database, or it was lost."""


class DatabaseRefused(DatabaseUnavailable):
    """The database refuses this connection, and will again until somebody changes something."""


class QueryFailed(DatabaseError):  # noqa: N818  # named by what to do next
    """The database cannot run the query."""


_SIGN_IN = (
    "The driver cannot sign in the way that {host} wants for user {user}: switch TLS on at the "
    "server (caching_sha2_password needs it) or change the user's authentication plugin ({detail})"
)

# Server and client error numbers: https://dev.mysql.com/doc/mysql-errors/9.7/en/
_REFUSED = {
    1044: "User {user} has no rights on database {name}: check DB_USER, DB_NAME and its grants",
    1045: "Access denied for user {user} at {host}: check DB_USER and DB_PASSWORD",
    1049: "Unknown database {name} at {host}: check DB_NAME, or make it with " + SETUP_HINT,
    1129: "{host} blocks this machine after too many failed connections: "
    "run FLUSH HOSTS (or mysqladmin flush-hosts) there",
    1130: "{host} accepts no connection from this machine: check the user's host in its grants",
    1698: "Access denied for user {user} at {host}: this user cannot sign in with a password; "
    "check DB_USER and DB_PASSWORD",
    2026: "No verified TLS connection to {host}: check DB_SSL_CA, and that the server's "
    "certificate names this host ({detail})",
    2059: _SIGN_IN,
    2061: _SIGN_IN,
    3118: "The account of user {user} at {host} is locked: unlock it, or check DB_USER",
    3159: "{host} accepts only encrypted connections: set DB_SSL_CA",
    4151: "The account of user {user} at {host} is locked: unlock it, or check DB_USER",
}

_UNAVAILABLE = {
    1047: "The node {host} has lost its cluster: check the other nodes ({detail})",
    1040: "{host} has too many connections: try again later, or raise max_connections",
    1203: "User {user} has too many connections at {host}: try again later",
    2005: "Unknown database host {host}: check DB_HOST",
}

_QUERY = {
    1054: "The tables do not fit the query ({detail}): compare them with database_setup.sql",
    1064: "The server does not understand the query: it takes MySQL 8.0 or MariaDB 10.2 or "
    "later; check the server's version and phase2_queries.sql ({detail})",
    1142: "User {user} may not read the tables: grant SELECT on {name} ({detail})",
    1143: "User {user} may not read all the columns: grant SELECT on {name} ({detail})",
    1146: "A table is missing ({detail}): check DB_NAME, or make the tables with " + SETUP_HINT,
}

# The connection is gone: killed, timed out, the server stopping or stopped.
_LOST = frozenset({1053, 1077, 1079, 1080, 1152, 1153, 1158, 1159, 1160, 1161, 1184, 1927})
_LOST_CLIENT = frozenset({2006, 2012, 2013, 2027, 2055, 3169, 4031})


def connect_error(number: int, detail: str, *, host: str, user: str, name: str) -> DatabaseError:
    """Say what a failed connection means.

    Args:
        number: MySQL's error number, as the driver gives it; -1 where it has none.
        detail: The driver's own words.
        host: The host and port that were tried.
        user: DB_USER.
        name: DB_NAME.
    """
    facts = {"host": host, "user": user, "name": name, "detail": one_line(detail)}
    if number in _REFUSED:
        return DatabaseRefused(_REFUSED[number].format(**facts))
    if number in _UNAVAILABLE:
        return DatabaseUnavailable(_UNAVAILABLE[number].format(**facts))
    return DatabaseUnavailable(
        f"Cannot connect to the database at {host}: check that the server runs, DB_HOST, "
        f"DB_PORT and the firewall ({facts['detail']})"
    )


def query_error(number: int, detail: str, *, host: str, user: str, name: str) -> DatabaseError:
    """Say what a failed query means; the arguments are those of `connect_error`."""
    facts = {"host": host, "user": user, "name": name, "detail": one_line(detail)}
    if number in _LOST or number in _LOST_CLIENT:
        return DatabaseUnavailable(
            f"Lost the connection to the database at {host} in mid-query: check the server and "
            f"the network, then run again ({facts['detail']})"
        )
    if number in _QUERY:
        return QueryFailed(_QUERY[number].format(**facts))
    return QueryFailed(f"The database cannot run the query: {facts['detail']}")


def one_line(text: str) -> str:
    """Put a driver's message, which may be several lines, on one."""
    return " ".join(text.split())
