"""Lines of a CSV file: RFC 4180 quoting, and cells that a spreadsheet would run made harmless."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What a spreadsheet takes for the start of a formula: OWASP, "CSV Injection".
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
# Such a cell in a text that begins with a line break: line breaks are always in quotes. It finds
# some harmless text too, but misses no cell.
_MAY_BE_FORMULA = re.compile(r'[,\n](?:[=+\-@\t]|"[=+\-@\t\r\n])')


class _Echo:
    """Returns what it is given, so that `writerow` returns the line."""

    def write(self, text: str) -> str:
        return text


_WRITER = csv.writer(_Echo())


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """The lines of these rows; the same as `csv_line` of each."""
    rows = list(rows)
    text = io.StringIO()
    text.write("\n")
    csv.writer(text).writerows(rows)
    lines = text.getvalue()
    return "".join(map(csv_line, rows)) if _MAY_BE_FORMULA.search(lines) else lines[1:]


def csv_line(cells: Iterable[object]) -> str:
    """One line with its line break; None is an empty cell."""
    line: str = _WRITER.writerow([escape_formula(cell) for cell in cells])
    return line


def escape_formula(value: object) -> object:
    """The value, with an apostrophe before text that a spreadsheet would run."""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
