"""The errors of a writable session, named by what to do next.

DatabaseError               exit code 69
├── DatabaseUnavailable     no connection
│   └── ConnectionLost      reconnect, then repeat the transaction
└── WriteFailed             connected, but the statement failed
    ├── Deadlock            another transaction was preferred: repeat this one
    │   └── LockTimeout     another transaction holds the rows for too long: repeat this one
    ├── RowRefused          the table cannot hold one of the rows; `code` says why
    └── WriteDenied         the account lacks a right: the message has the GRANT
"""

from __future__ import annotations

from typing import Literal

from integration.database.errors import (
    DatabaseError,
    DatabaseUnavailable,
    is_lost,
    one_line,
    query_error,
)

RowCode = Literal[
    "duplicate", "no_parent", "missing", "type", "too_long", "not_allowed", "out_of_range"
]
RIGHTS = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, CREATE VIEW"


class ConnectionLost(DatabaseUnavailable):
    """The connection is gone; whether an open COMMIT has succeeded is not known."""


class LockLost(DatabaseUnavailable):
    """A lock that was held went to another session while there was no connection."""


class WriteFailed(DatabaseError):  # noqa: N818  # named by what to do next
    """The database cannot run the statement."""


class Deadlock(WriteFailed):
    """The transaction was rolled back in favour of another one."""


class LockTimeout(Deadlock):
    """Another transaction holds the rows."""


class RowRefused(WriteFailed):
    """A row violates a key or does not fit its columns; the statement wrote nothing."""

    def __init__(self, message: str, code: RowCode) -> None:
        super().__init__(message)
        self.code = code


class WriteDenied(WriteFailed):
    """The account may not do this."""


# Error numbers of the server: https://dev.mysql.com/doc/mysql-errors/9.7/en/
_ROW_CODES: dict[int, RowCode] = {
    1062: "duplicate",
    1586: "duplicate",
    1216: "no_parent",
    1452: "no_parent",
    1048: "missing",
    1406: "too_long",
    1264: "out_of_range",
    1292: "out_of_range",
    1690: "out_of_range",
    1265: "not_allowed",
    1366: "not_allowed",
    1644: "not_allowed",  # SIGNAL in a trigger
    3819: "not_allowed",
    3988: "not_allowed",
    4025: "not_allowed",
}
_DEADLOCK = "A deadlock with another program at {host}: run again"
_DENIED = (
    "User {user} may not write to {name} ({detail}): GRANT " + RIGHTS + " ON `{name}`.* TO that "
    "user, or set INGEST_DB_USER and INGEST_DB_PASSWORD to an account that has these rights"
)
_LOCK_TIMEOUT = (
    "Another program holds rows of {name} at {host} for too long: "
    "find it with SHOW PROCESSLIST, then run again"
)
_TOO_LARGE = (
    "A page is larger than {host} accepts: raise max_allowed_packet there, "
    "or lower the source's page_size if it has one"
)
_REFERENCED = (
    "Another table of {name} refers to a row that is to be deleted ({detail}): declare its foreign "
    "key ON DELETE CASCADE, or delete its rows first"
)
_NO_DEFAULT = (
    "A table of {name} has a column that the ingest does not fill ({detail}): "
    "give it a default, or allow NULL"
)
_READ_ONLY = "{host} is read-only: set DB_HOST to the primary ({detail})"
_MESSAGES: dict[int, tuple[type[WriteFailed], str]] = {
    1213: (Deadlock, _DEADLOCK),
    1180: (Deadlock, _DEADLOCK),  # a COMMIT that the cluster refused
    1205: (LockTimeout, _LOCK_TIMEOUT),
    **dict.fromkeys((1044, 1142, 1143, 1227, 1370), (WriteDenied, _DENIED)),
    **dict.fromkeys((1217, 1451), (WriteFailed, _REFERENCED)),
    1364: (WriteFailed, _NO_DEFAULT),
    **dict.fromkeys((1153, 2020), (WriteFailed, _TOO_LARGE)),
    **dict.fromkeys((1290, 1792, 1836), (WriteFailed, _READ_ONLY)),
}


def write_error(number: int, detail: str, *, host: str, user: str, name: str) -> DatabaseError:
    """The error for a failed statement.

    The texts of `RowRefused` do not include the driver's message, which has the value.

    Args:
        number: MySQL's error number, as the driver gives it; -1 if it has none.
        detail: The driver's message.
        host: The host and port.
        user: The account.
        name: The database.
    """
    if number in _ROW_CODES:
        code = _ROW_CODES[number]
        return RowRefused(f"The database refused a row (error {number}, {code})", code)
    if number in _MESSAGES:
        kind, message = _MESSAGES[number]
        return kind(message.format(host=host, user=user, name=name, detail=one_line(detail)))
    text = str(query_error(number, detail, host=host, user=user, name=name))
    return ConnectionLost(text) if is_lost(number) else WriteFailed(text)
