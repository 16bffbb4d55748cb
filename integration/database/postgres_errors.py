"""PostgreSQL's errors as one-line messages that say what to check."""

from __future__ import annotations

import re

from integration.database.errors import (
    DatabaseError,
    DatabaseRefused,
    DatabaseUnavailable,
    QueryFailed,
    one_line,
)

_LOGIN = "Access denied for user {user} at {host}: check DB_USER and DB_PASSWORD, or DATABASE_URL"
_TLS = (
    "No verified TLS connection to {host}: check DB_SSL_CA and sslmode, and that the server's "
    "certificate names this host ({detail})"
)
_STARTING = "The database at {host} is starting or stopping: retry later ({detail})"
# The driver has no error code for a failed connection. These are the beginnings of the server's
# messages (https://www.postgresql.org/docs/current/client-authentication-problems.html) and of
# libpq's; those of a server with another language get the last line of `connect_error`.
_REFUSED = {
    r"FATAL: +(password|SCRAM|\w+) authentication failed": _LOGIN,
    r"FATAL: +role \".*\" (does not exist|is not permitted)": _LOGIN,
    r"fe_sendauth: no password supplied": _LOGIN,
    r"FATAL: +database \".*\" does not exist": "Unknown database {name} at {host}: check DB_NAME",
    r"FATAL: +permission denied for database": "User {user} has no rights on database {name}: "
    "GRANT CONNECT ON DATABASE {name} TO {user}",
    r"FATAL: +(no pg_hba\.conf entry|pg_hba\.conf rejects)": "{host} accepts no such connection: "
    "check pg_hba.conf there, and DB_SSL_CA or sslmode if it asks for TLS ({detail})",
    r"(SSL error|server certificate|server does not support SSL|root certificate)": _TLS,
    r"(could not read root certificate|invalid sslmode|weak sslmode)": _TLS,
}
_UNAVAILABLE = {
    r"FATAL: +the database system is": _STARTING,
    r"FATAL: +(sorry, too many clients|remaining connection slots|too many connections)": "{host} "
    "has too many connections: retry later, or raise max_connections",
    r"failed to resolve host": "Unknown database host {host}: check DB_HOST or DATABASE_URL",
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_QUERY = {
    "42501": "User {user} may not read all that the query needs ({detail}): "
    "GRANT SELECT ON the tables, and USAGE ON their schema, TO {user}",
    "42P01": "A table is missing ({detail}): check DB_NAME, the query and the search_path of "
    "{user}",
    "42703": "The tables do not match the query ({detail}): check the query's columns",
    "42601": "PostgreSQL does not understand the query ({detail}): a query in MySQL's dialect "
    "begins with the line -- dialect: mysql",
    "25006": "The query would change data, and the session is read-only ({detail})",
    "57014": "The database stopped the query ({detail}): raise statement_timeout of {user}, "
    "or make the query faster",
}
# Connection exceptions, operator intervention, and a session that was idle for too long.
_LOST = ("08", "57P", "25P03", "25P04")
_PREFIX = re.compile(r"connection (failed|is bad): |connection to server at .*? failed: ")


def connect_error(detail: str, *, host: str, user: str, name: str) -> DatabaseError:
    """The error for a failed connection.

    Args:
        detail: the driver's message.
        host: the host and port of the attempt.
        user: the account.
        name: DB_NAME.
    """
    # Without TLS, libpq tries again: the last line is about the last attempt.
    reasons = [_PREFIX.sub("", line).strip() for line in detail.splitlines()]
    values = {"host": host, "user": user, "name": name, "detail": one_line(_PREFIX.sub("", detail))}
    for texts, kind in ((_REFUSED, DatabaseRefused), (_UNAVAILABLE, DatabaseUnavailable)):
        for pattern, text in texts.items():
            if any(re.match(pattern, reason) for reason in reasons):
                return kind(text.format(**values))
    return DatabaseUnavailable(
        f"Cannot connect to the database at {host}: check that the server runs, DB_HOST, "
        f"DB_PORT and the firewall ({values['detail']})"
    )


def query_error(
    state: str | None, detail: str, *, host: str, user: str, name: str
) -> DatabaseError:
    """The error for a failed query.

    Args:
        state: the SQLSTATE, or None if there was no answer.
        detail: the server's or the driver's message.
        host: the host and port.
        user: the account.
        name: DB_NAME.
    """
    values = {"host": host, "user": user, "name": name, "detail": one_line(detail)}
    if state is None or state.startswith(_LOST):
        return DatabaseUnavailable(
            f"Lost the connection to the database at {host} during the query: check the server and "
            f"the network, then run again ({values['detail']})"
        )
    if state in _QUERY:
        return QueryFailed(_QUERY[state].format(**values))
    return QueryFailed(f"The database cannot run the query: {values['detail']}")
