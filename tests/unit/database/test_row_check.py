"""A wrong type in a row of Query 2 names customer, column, what was found and expected."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.core.models import PageView
from integration.database.errors import QueryFailed
from integration.database.row_check import page_view_rows, wrong_columns, wrong_type

ROW: tuple[object, ...] = (
    7,
    "ada@example.com",
    "Ada",
    "Lovelace",
    "pro",
    "yes",
    "pricing",
    "desktop",
    "Chrome",
    "London",
    datetime(2026, 1, 13, 14, 30),  # noqa: DTZ001
)
TEXT_COLUMNS = PageView._fields[1:-1]


def row_with(column: str, value: object) -> tuple[object, ...]:
    """A valid row, except for one value."""
    return tuple({**dict(zip(PageView._fields, ROW, strict=True)), column: value}.values())


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("id", Decimal(7), "id is DECIMAL, expected an integer or text"),
        ("id", 7.0, "id is FLOAT or DOUBLE, expected an integer or text"),
        ("id", b"7", r"id is binary \(BLOB, BINARY or VARBINARY\), expected an integer or text"),
        ("id", None, "id is NULL, expected an integer or text"),
        ("email", b"ada@example.com", "email is binary .*, expected text"),
        ("first_name", bytearray(b"Ada"), "first_name is binary .*, expected text"),
        ("last_name", 5, "last_name is an integer, expected text"),
        ("candidate", {"a"}, "candidate is SET, expected text"),
        ("location", object(), "location is object, expected text"),
        (
            "event_time",
            "2026-01-13 14:30:45",
            "event_time is text '2026-01-13 14:30:45', expected DATETIME",
        ),
        ("event_time", date(2026, 1, 13), "event_time is DATE, expected DATETIME or TIMESTAMP"),
        ("event_time", timedelta(hours=1), "event_time is TIME, expected DATETIME or TIMESTAMP"),
        ("event_time", None, "event_time is NULL, expected DATETIME or TIMESTAMP"),
        ("event_time", 1768314645, "event_time is an integer, expected DATETIME or TIMESTAMP"),
    ],
)
def test_a_wrong_type_names_the_column(column: str, value: object, words: str) -> None:
    """One line: customer, column, the type found and the one expected."""
    with pytest.raises(QueryFailed, match=f"^Customer .*: {words}.*: check Query 2") as caught:
        page_view_rows([ROW, row_with(column, value)])
    assert "\n" not in str(caught.value)
    if column != "id":
        assert str(caught.value).startswith("Customer 7: ")


@pytest.mark.parametrize("column", TEXT_COLUMNS)
def test_null_is_a_value_of_every_text_column(column: str) -> None:
    """NULL is sent as null, and a missing email is that user's failure."""
    row = row_with(column, None)
    assert page_view_rows([row]) == [(*row[:-1], "2026-01-13 14:30:00")]


@given(st.datetimes())
def test_a_time_is_nineteen_characters(moment: datetime) -> None:
    """Year to second, zero-padded; a fraction is truncated, not rounded."""
    ((*others, text),) = page_view_rows([row_with("event_time", moment)])
    assert datetime.fromisoformat(text) == moment.replace(microsecond=0)
    assert len(text) == 19
    assert tuple(others) == ROW[:-1]


@pytest.mark.parametrize("customer", [7, 2**63, "A-7", "12345678901234567890123"])
def test_an_id_is_an_integer_or_text(customer: object) -> None:
    """It is not converted."""
    assert wrong_type(row_with("id", customer)) is None


def test_an_email_that_is_a_number_is_that_users_failure() -> None:
    """In SQLite a single row may have one; the others are sent."""
    assert wrong_type(row_with("email", 12345)) is None


def test_the_actual_and_the_required_columns_are_named() -> None:
    """The message for an edited query says what is missing."""
    assert wrong_columns(PageView._fields) is None
    assert "returns the columns one, two; it must return id, email" in str(
        wrong_columns(("one", "two"))
    )
