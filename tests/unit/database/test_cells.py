"""What drivers return, as JSON has it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.core.exact_json import JsonText, dumps_exactly, loads_exactly
from integration.core.mapping import Mapping, MappingError
from integration.database.cells import cells_of
from integration.database.row_check import name_of_type

MOMENT = datetime(2026, 1, 13, 14, 30, 45, 999999)  # noqa: DTZ001  as drivers return it: UTC


def cell(value: object, column: str = "profile.x") -> object:
    """A value as it is sent."""
    cells = cells_of(Mapping.of(["email", column]), [("a@b.c", value), ("b@b.c", None)])
    assert not cells.problems
    return cells.rows[0][1]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, None),
        ("text", "text"),
        (True, True),
        (7, 7),
        (2**53 + 1, 2**53 + 1),
        (0.1, 0.1),
        (Decimal("19.90"), 19.9),
        (Decimal("20.00"), 20.0),
        (Decimal(20), 20),
        (Decimal(-(10**25)), -(10**25)),
        (Decimal("12345678901234567.89"), Decimal("12345678901234567.89")),
        (MOMENT, "2026-01-13 14:30:45 +00:00"),
        (MOMENT.replace(tzinfo=UTC), "2026-01-13 14:30:45 +00:00"),
        (MOMENT.replace(tzinfo=timezone(timedelta(hours=2))), "2026-01-13 12:30:45 +00:00"),
        (date(2026, 1, 13), "2026-01-13 00:00:00 +00:00"),
        (time(14, 30), "14:30:00"),
        (timedelta(hours=100, seconds=1), "100:00:01"),
        (-timedelta(hours=1), "-01:00:00"),
        ({"b", "a"}, ["a", "b"]),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (JsonText('{"a": [1, null, 1.50]}'), {"a": [1, None, 1.5]}),
        ([Decimal("1.5"), {"at": MOMENT}], [1.5, {"at": "2026-01-13 14:30:45 +00:00"}]),
    ],
)
def test_a_value_keeps_what_it_is(value: object, sent: object) -> None:
    """Numbers, booleans and JSON as such; times as Iterable's format in UTC."""
    found = cell(value)
    assert found == sent
    assert type(found) is type(sent)


def test_text_is_json_only_if_the_query_says_so() -> None:
    """By the column's name, on engines without a JSON type."""
    assert cell('{"a": 1}') == '{"a": 1}'
    assert cell('{"a": 1}', "event.x:json") == {"a": 1}
    assert cell({"a": 1}, "event.x:json") == {"a": 1}


@pytest.mark.parametrize("value", [b"\0", bytearray(b"x"), memoryview(b"x"), object(), 1j])
def test_what_cannot_be_sent_is_named_with_its_column(value: object) -> None:
    """The run ends before its first call."""
    with pytest.raises(MappingError, match=r"^The query's column profile\.x is "):
        cell(value)
    with pytest.raises(MappingError, match=r"column profile\.x is "):
        cell([value])


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("profile.x", float("nan"), "profile.x is nan, which JSON does not have"),
        ("profile.x", float("-inf"), "profile.x is -inf"),
        ("profile.x", Decimal("NaN"), "profile.x is NaN"),
        ("profile.x", Decimal("1e400"), "profile.x has more digits"),
        ("profile.x", Decimal(10**400), "profile.x has more digits"),
        ("event.x:json", "1e400", "event.x:json is not JSON"),
        ("event.x:json", "{", "event.x:json is not JSON"),
        ("event.x:json", "NaN", "event.x:json is not JSON"),
    ],
)
def test_a_value_that_json_does_not_have_is_the_problem_of_its_row(
    column: str, value: object, words: str
) -> None:
    """All others are sent."""
    rows = [("a@b.c", None), ("b@b.c", value), ("c@b.c", None)]
    cells = cells_of(Mapping.of(["email", column]), rows)
    assert list(cells.problems) == [1]
    assert words in cells.problems[1]
    assert [row[1] for row in cells.rows] == [None, None, None]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 1.5),
        ("id", True),
        ("event_name", 7),
        ("event_id", 0.5),
        ("send_profile", "no"),
        ("event_time", "yesterday"),
    ],
)
def test_columns_that_are_no_fields_have_their_types(column: str, value: object) -> None:
    """A wrong one is named."""
    columns = dict.fromkeys(["email", column, "event_name"])
    row = {"email": "a@b.c", "event_name": "x", column: value}
    with pytest.raises(MappingError, match=f"^{column} is .*expected"):
        cells_of(Mapping.of(list(columns)), [tuple(row[name] for name in columns)])


numbers = st.integers(-(10**300), 10**300) | st.decimals(-(10**300), 10**300)
documents = st.recursive(
    st.none() | st.booleans() | st.text() | numbers,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(documents)
def test_json_keeps_every_digit(document: Any) -> None:
    """What is read and written again is the same number, as people read it."""
    text = dumps_exactly(document)
    again = dumps_exactly(loads_exactly(text))
    assert as_people_read(again) == as_people_read(text)
    assert b"\n" not in again


def as_people_read(text: bytes) -> Any:
    """JSON with all numbers as decimal ones."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def test_the_types_of_a_row_are_named_as_in_sql() -> None:
    """As `--check` shows them."""
    values = (7, "text", JsonText("[1]"), Decimal("1.5"), None, timedelta(1))
    names = ["an integer", "text", "JSON", "DECIMAL", "NULL", "TIME"]
    assert list(map(name_of_type, values)) == names
