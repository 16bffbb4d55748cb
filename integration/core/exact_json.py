"""JSON without a digit lost, and texts of a database that are JSON. Pure.

orjson reads numbers with more digits than a float has as floats, and writes no integers of more
than 64 bits. Texts with such numbers are read and written here, by the standard library.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

# What a stored row begins with if it has numbers that are to be read with all their digits.
EXACT = b" "
# Fewer digits than this are the same as a float and as a decimal number.
SAFE_DIGITS = 15
_MANY_DIGITS = re.compile(rb"\d[\d.]{15}|\d[eE]")
_INT64_DIGITS = 18


class JsonText(str):
    """Text of a column whose type is JSON."""

    __slots__ = ()


def with_json(rows: Sequence[tuple[Any, ...]], places: Sequence[int]) -> list[tuple[Any, ...]]:
    """The rows with the texts at these places marked as JSON."""
    marked = [list(row) for row in rows]
    for row in marked:
        for place in places:
            if isinstance(row[place], str):
                row[place] = JsonText(row[place])
    return list(map(tuple, marked))


def loads_exactly(text: str | bytes) -> Any:  # noqa: ANN401  decoded JSON
    """Decode JSON; a number that no float or 64-bit integer can hold becomes a Decimal.

    Raises:
        ValueError: it is no JSON.
    """
    # orjson takes no subclass of str.
    content = text.encode() if isinstance(text, str) else text
    value = orjson.loads(content)
    if not _MANY_DIGITS.search(content):
        return value
    import json  # noqa: PLC0415  few rows need it

    return json.loads(content, parse_float=_float_or_decimal, parse_int=_int_or_decimal)


def dumps_exactly(value: object) -> bytes:
    """Encode as JSON without spaces; a Decimal as a number with all its digits.

    Raises:
        TypeError: a value has no form in JSON.
    """
    return orjson.dumps(_with_decimals(value), default=_number)


def _float_or_decimal(text: str) -> float | Decimal:
    number = float(text)
    exact = Decimal(text)
    return number if Decimal(repr(number)) == exact else exact


def _int_or_decimal(text: str) -> int | Decimal:
    return int(text) if len(text) <= _INT64_DIGITS else Decimal(text)


def _with_decimals(value: object) -> object:
    """The same with Decimals in place of integers of more than 64 bits."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else Decimal(value)
    if isinstance(value, dict):
        return {name: _with_decimals(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_with_decimals(one) for one in value]
    return value


def _number(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} has no form in JSON")
