"""Times, durations and numbers as the page writes them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

_COMMAND = re.compile(r"python (?:main|cli)\.py[^,;)]*")
_STEPS = ((90, 1, "s"), (90 * 60, 60, "min"), (36 * 3600, 3600, "h"))


class Piece(NamedTuple):
    """A piece of a sentence: text, or a command."""

    text: str
    is_command: bool


def pieces_of(advice: str | None) -> list[Piece]:
    """An advice with its commands apart."""
    pieces: list[Piece] = []
    end = 0
    for found in _COMMAND.finditer(advice or ""):
        pieces += [Piece((advice or "")[end : found.start()], is_command=False)]
        pieces += [Piece(found[0], is_command=True)]
        end = found.end()
    pieces.append(Piece((advice or "")[end:], is_command=False))
    return [piece for piece in pieces if piece.text]


def age_text(moment: datetime | None, now: datetime) -> str:
    """How long ago something was."""
    return "never" if moment is None else f"{duration_text((now - moment).total_seconds())} ago"


def duration_text(seconds: float) -> str:
    """A duration, to two or three digits."""
    seconds = max(0.0, seconds)
    for limit, size, unit in _STEPS:
        if seconds < limit:
            return (
                f"{seconds / size:.1f} {unit}" if seconds < 10 else f"{seconds / size:.0f} {unit}"
            )
    return f"{seconds / 86400:.0f} days"


def minute_text(moment: datetime | None) -> str:
    """A time in UTC, to the minute."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "–"


def number_text(value: float | None) -> str:
    """A number with separators; with one decimal unless it is whole."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def change_text(value: float) -> str:
    """A difference with its sign."""
    return f"+{number_text(value)}" if value > 0 else number_text(value).replace("-", "−")


def plural(number: int, one: str, many: str | None = None) -> str:
    """A number of things."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
