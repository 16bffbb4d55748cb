"""JSON without a digit lost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from integration.core.exact_json import JsonText, dumps_exactly, loads_exactly, with_json


def test_the_texts_of_json_columns_are_marked() -> None:
    """All but NULL; other columns stay as they are."""
    rows = [("1", '{"a": 1}', "{}"), ("2", None, "{}")]
    marked = with_json(rows, [1])
    assert marked == rows
    assert [[type(value) for value in row] for row in marked] == [
        [str, JsonText, str],
        [str, type(None), str],
    ]
    assert loads_exactly(marked[0][1]) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("12345678901234567890", Decimal(12345678901234567890)),
        ("0.12345678901234567890", Decimal("0.12345678901234567890")),
        ("1e-400", Decimal("1e-400")),
        ("123456789012345678", 123456789012345678),
    ],
)
def test_numbers_keep_their_digits(text: str, value: object) -> None:
    """As floats and integers where these have them."""
    found = loads_exactly(f"[{text}]")[0]
    assert (type(found), found) == (type(value), value)
    assert Decimal(dumps_exactly(found).decode()) == Decimal(text)


@pytest.mark.parametrize("text", ["NaN", "[1", "1234567890123456789 x", '{"a": Infinity}', ""])
def test_what_is_no_json_is_refused(text: str) -> None:
    """Also what Python's own reader accepts."""
    with pytest.raises(ValueError, match=r"line \d|empty|no JSON|Input"):
        loads_exactly(text)
