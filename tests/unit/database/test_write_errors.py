"""Error numbers of the server as errors that say what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.database.write_errors import (
    ConnectionLost,
    Deadlock,
    LockTimeout,
    RowRefused,
    WriteDenied,
    WriteFailed,
    write_error,
)

if TYPE_CHECKING:
    from integration.database.errors import DatabaseError


def error_of(number: int, detail: str = "the driver's text") -> DatabaseError:
    """The error for this number."""
    return write_error(number, detail, host="db:3306", user="loader", name="shop")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (1213, Deadlock),
        (1205, LockTimeout),
        (2006, ConnectionLost),
        (2013, ConnectionLost),
        (1927, ConnectionLost),
        (1142, WriteDenied),
        (1044, WriteDenied),
        (1290, WriteFailed),
        (1064, WriteFailed),
        (-1, WriteFailed),
    ],
)
def test_the_kind_of_error_says_what_to_do(number: int, kind: type[DatabaseError]) -> None:
    """Exactly this kind, on one line, with exit code 69."""
    error = error_of(number, "two\nlines")
    assert type(error) is kind
    assert "\n" not in str(error)
    assert error.exit_code == ExitCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (1062, "duplicate"),
        (1452, "no_parent"),
        (1048, "missing"),
        (1406, "too_long"),
        (1264, "out_of_range"),
        (1265, "not_allowed"),
        (3819, "not_allowed"),
        (4025, "not_allowed"),
    ],
)
def test_a_refused_row_has_a_code_and_no_value(number: int, code: str) -> None:
    """The driver's text has the value, which may be personal."""
    error = error_of(number, "Duplicate entry 'mia@x.com' for key 'email'")
    assert isinstance(error, RowRefused)
    assert error.code == code
    assert "mia" not in str(error)


def test_a_missing_right_names_the_grant_and_the_settings() -> None:
    """Ready to copy."""
    text = str(error_of(1142, "INSERT command denied"))
    assert (
        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, CREATE VIEW ON `shop`.* TO"
        in text
    )
    assert "INGEST_DB_USER and INGEST_DB_PASSWORD" in text


def test_a_page_that_is_too_large_is_not_a_lost_connection() -> None:
    """The server ends the connection, but a repeated page would not help."""
    assert "max_allowed_packet" in str(error_of(1153))
