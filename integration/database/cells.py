"""The values of a query's rows as they are sent: what each driver returns, as JSON has it.

Numbers stay numbers with all their digits, times become Iterable's format in UTC, and JSON becomes
objects and arrays. Whole columns are looked at first: most need no change.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from integration.core.exact_json import SAFE_DIGITS, JsonText, loads_exactly
from integration.core.mapping import MappingError
from integration.database.row_check import name_of_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.core.mapping import Mapping, Role, Target

_PLAIN = frozenset({str, int, bool, NoneType})
_SECONDS = len("YYYY-MM-DD HH:MM:SS")
# What a column of this role may have, and its name in an error.
_ALLOWED: dict[Role, tuple[frozenset[type], str]] = {
    "id": (frozenset({int, str, NoneType}), "an integer or text"),
    "event_id": (frozenset({int, str, NoneType}), "an integer or text"),
    "event_name": (frozenset({str, NoneType}), "text"),
    "send_profile": (frozenset({int, bool, NoneType}), "0 or 1"),
    "email": (frozenset({int, float, str, NoneType}), "text"),
}


class Cells(NamedTuple):
    """Rows of a query as they are sent.

    Attributes:
        rows: the values, in the query's order.
        problems: why a row cannot be sent, by its index.
    """

    rows: list[tuple[Any, ...]]
    problems: dict[int, str]


class _CellError(ValueError):
    """A value that cannot be sent, of a type that could; its row is recorded with the reason."""


def cells_of(mapping: Mapping, rows: Sequence[tuple[Any, ...]]) -> Cells:
    """The rows of a batch as they are sent.

    Raises:
        MappingError: a column has a type that cannot be sent; the message names the column.
    """
    problems: dict[int, str] = {}
    columns = [
        _column(target, values, problems)
        for target, values in zip(mapping.targets, zip(*rows, strict=True), strict=True)
    ]
    return Cells(list(zip(*columns, strict=True)), problems)


def _column(target: Target, values: Sequence[object], problems: dict[int, str]) -> Sequence[object]:
    types = set(map(type, values))
    if target.role == "event_time":
        return [_event_time(value) for value in values]
    if target.role == "json":
        cells: Sequence[object] = _each(target, values, problems, _decoded)
    elif types <= _PLAIN or (types <= _PLAIN | {float} and _are_finite(values)):
        cells = values
    else:
        cells = _each(target, values, problems, _cell)
    allowed = _ALLOWED.get(target.role)
    if allowed and not allowed[0].issuperset(map(type, cells)):
        wrong = next(value for value in cells if type(value) not in allowed[0])
        raise MappingError(
            f"{target.column} is {name_of_type(wrong)}, expected {allowed[1]}: {_CHECK}"
        )
    return cells


_CHECK = "check the query"


def _are_finite(values: Sequence[object]) -> bool:
    return all(isfinite(value) for value in values if isinstance(value, float))


def _each(
    target: Target,
    values: Sequence[object],
    problems: dict[int, str],
    convert: Callable[[object], object],
) -> list[object]:
    """The values one by one."""
    kinds = set(map(type, values)) - {NoneType}
    if convert is _cell and len(kinds) == 1:
        # Usually all are of one type, and none is a problem.
        with suppress(_CellError, TypeError, KeyError):
            of_kind = _CONVERTED[kinds.pop()]
            return [None if value is None else of_kind(value) for value in values]
    cells: list[object] = []
    for index, value in enumerate(values):
        try:
            cells.append(convert(value))
        except _CellError as error:
            problems.setdefault(index, f"not sent: {target.column} {error}")
            cells.append(None)
        except TypeError as error:
            raise MappingError(
                f"The query's column {target.column} is {error}, which cannot be sent:"
                " convert it in the query (CAST), or remove it"
            ) from error
    return cells


def _cell(value: object) -> object:
    """A value as it is sent.

    Raises:
        TypeError: with the name of a type that cannot be sent.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    convert = _CONVERTED.get(kind) or next(
        (convert for one, convert in _CONVERTED.items() if isinstance(value, one)), None
    )
    if convert is None:
        raise TypeError(name_of_type(value))
    return convert(value)


def _float(value: float) -> float:
    if not isfinite(value):
        raise _CellError(f"is {value}, which JSON does not have")
    return value


def _decimal(value: Decimal) -> object:
    """An integer without a fraction; else a float if it has the same digits."""
    if not value.is_finite():
        raise _CellError(f"is {value}, which JSON does not have")
    if not isfinite(float(value)):
        raise _CellError("has more digits than a number of JSON may have")
    text = str(value)
    if text.removeprefix("-").isdecimal():
        return int(text)
    return value if len(text) > SAFE_DIGITS else float(value)


def _moment(value: datetime) -> str:
    return f"{_in_utc(value)} +00:00"


def _in_utc(value: datetime) -> str:
    """The time to the second; one without a zone is in UTC."""
    if value.tzinfo is not None:
        value = value.astimezone(UTC)
    return str(value)[:_SECONDS]


def _date(value: date) -> str:
    return f"{value} 00:00:00 +00:00"


def _interval(value: timedelta) -> str:
    """What MySQL shows for a TIME, which may be negative and longer than a day."""
    seconds = abs(value) // timedelta(seconds=1)
    sign = "-" if value < timedelta() else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _json(value: str) -> object:
    try:
        return loads_exactly(value)
    except ValueError as error:
        raise _CellError("is not JSON") from error


def _decoded(value: object) -> object:
    """The value of a column that the query marks as JSON."""
    return _json(value) if isinstance(value, str) else _cell(value)


def _object(value: dict[object, object]) -> dict[str, object]:
    return {str(name): _cell(one) for name, one in value.items()}


def _array(value: Sequence[object]) -> list[object]:
    return [_cell(one) for one in value]


def _members(value: set[str]) -> list[str]:
    return sorted(value)


_CONVERTED: dict[type, Callable[[Any], object]] = {
    float: _float,
    Decimal: _decimal,
    datetime: _moment,
    date: _date,
    time: str,
    timedelta: _interval,
    UUID: str,
    JsonText: _json,
    dict: _object,
    list: _array,
    tuple: _array,
    set: _members,
    str: str,
    int: int,
}


def _event_time(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return _in_utc(value)
    if isinstance(value, date):
        return f"{value} 00:00:00"
    raise MappingError(
        f"event_time is {name_of_type(value)}, expected DATETIME or TIMESTAMP: {_CHECK}"
    )
