"""How far a source was read: the highest cursor, and where the next run starts. Pure.

A cursor is a time, as ISO text or as unix seconds or milliseconds, or a number that grows. Marks
of one source have one form; a value of another form does not move the mark.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Form = Literal["iso", "seconds", "milliseconds", "number"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UTC_TEXT = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]+)?Z"
)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Times from 2001 to 5138; smaller and larger numbers are no times.
_SECONDS = (10**9, 10**11)
_MILLISECONDS = (10**12, 10**14)
_PER_UNIT = {"seconds": 1_000_000, "milliseconds": 1_000}


class Mark(NamedTuple):
    """A cursor.

    Attributes:
        form: how the source writes it.
        value: microseconds since 1970, or the number itself.
    """

    form: Form
    value: int

    def text(self) -> str:
        """The cursor as the source writes it, for its parameter; rounded down."""
        if self.form == "iso":
            return to_time(self.value).isoformat().replace("+00:00", "Z")
        return str(self.value // _PER_UNIT.get(self.form, 1))

    def lowered(self, seconds: int) -> Mark:
        """The cursor some seconds before; a number that is no time stays."""
        if self.form == "number":
            return self
        return self._replace(value=self.value - seconds * 1_000_000)

    def clamped(self, moment: datetime) -> Mark:
        """The cursor, or this time if it is earlier."""
        if self.form == "number":
            return self
        return self._replace(value=min(self.value, microseconds(moment)))

    def as_json(self) -> list[object]:
        """The mark as JSON."""
        return [self.form, self.value]


def from_json(value: object) -> Mark | None:
    """The mark that `as_json` made, or None if this is none."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    form, number = value
    if form not in {"iso", "number", *_PER_UNIT} or not isinstance(number, int):
        return None
    return Mark(form, number)


def mark_of(value: object) -> Mark | None:
    """The cursor of a record, or None if the value is none."""
    try:
        if isinstance(value, str):
            return Mark("iso", microseconds(datetime.fromisoformat(value.strip())))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return _numeric_mark(value)
    except (ValueError, OverflowError):
        pass
    return None


def _numeric_mark(value: float) -> Mark:
    if _SECONDS[0] <= value < _SECONDS[1]:
        return Mark("seconds", int(value * 1_000_000))
    if _MILLISECONDS[0] <= value < _MILLISECONDS[1]:
        return Mark("milliseconds", int(value * 1_000))
    return Mark("number", int(value))


def highest(first: Mark | None, second: Mark | None) -> Mark | None:
    """The higher one; of different forms, the first."""
    if first is None or second is None:
        return first or second
    return second if second.form == first.form and second.value > first.value else first


def peak_of(values: Sequence[object]) -> Mark | None:
    """The highest cursor of a page."""
    texts = [value for value in values if isinstance(value, str) and _UTC_TEXT.fullmatch(value)]
    # Texts of one form have the order of their times: only the last one needs to be read.
    if len(texts) == len(values) and len(set(map(len, texts))) == 1:
        peak = mark_of(max(texts))
        if peak is not None:  # there is no 30th of February
            return peak
    return reduce(highest, map(mark_of, values), None)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970; a time without a zone is UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def to_time(value: int) -> datetime:
    """The time of so many microseconds since 1970, within the years that Python knows."""
    try:
        return _EPOCH + timedelta(microseconds=value)
    except OverflowError:
        return _EARLIEST if value < 0 else _LATEST
