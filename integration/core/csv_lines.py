"""Lines of a CSV file: RFC 4180 quoting, and cells that a spreadsheet would run made harmless."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What a spreadsheet takes for the start of a formula: OWASP, "CSV Injection".
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_FORMULA = re.compile(r"\n[=+\-@\t]")
_NUMBERS = {int, float}
_QUOTED = re.compile(r'[",\r\n]')


class _Echo:
    """Returns what it is given, so that `writerow` returns the line."""

    def write(self, text: str) -> str:
        return text


_WRITER = csv.writer(_Echo())


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """The lines of these rows; the same as `csv_line` of each, in half the time."""
    rows = list(rows)
    if len(set(map(len, rows))) != 1 or len(rows[0]) < 2:
        return "".join(map(csv_line, rows))
    columns = map(_column, zip(*rows, strict=True))
    return "\r\n".join([*map(",".join, zip(*columns, strict=True)), ""])


def _column(values: Sequence[object]) -> Iterable[str]:
    """The cells of a column; a column without special characters is recognized as a whole."""
    types = set(map(type, values))
    if types <= _NUMBERS:
        return map(str, values)
    if types == {type(None)}:
        return [""] * len(values)
    if types == {str}:
        cells = cast("Sequence[str]", values)
        text = "\n".join(["", *cells])
        is_plain = not (text.count("\n") > len(cells) or '"' in text or "," in text or "\r" in text)
        if is_plain and not _FORMULA.search(text):
            return cells
    return map(_cell, values)


def _cell(value: object) -> str:
    text = "" if value is None else str(escape_formula(value))
    return '"{}"'.format(text.replace('"', '""')) if _QUOTED.search(text) else text


def csv_line(cells: Iterable[object]) -> str:
    """One line with its line break; None is an empty cell."""
    line: str = _WRITER.writerow([escape_formula(cell) for cell in cells])
    return line


def escape_formula(value: object) -> object:
    """The value, with an apostrophe before text that a spreadsheet would run."""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
