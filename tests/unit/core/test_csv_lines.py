"""Lines of CSV, one by one and many at once."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from integration.core.csv_lines import csv_line, csv_text, escape_formula

# Whatever begins a formula, ends or quotes a cell, or looks like either.
TRICKY = "=+-@\t\r\n\",' ;\0\u2028ä🙂1"
cells = (
    st.none()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.sampled_from(TRICKY), max_size=6)
    | st.text(st.characters(codec="utf-8"))
)
rows = st.lists(st.lists(cells, max_size=4), max_size=5)
FORMULAS = ["=1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", '="a"', "=a,b", "-\n"]


@given(rows)
@example([["a", "=1"], ["=1"], [-1], [None]])
@example([["a"], ["=1", "b"]])
@example([["a\n=1"], ["a,=1"], ['"=1"'], ['"', "=1"]])
def test_the_lines_of_many_rows_are_those_of_each(given_rows: list[list[object]]) -> None:
    """Whatever the cells contain: the fast way misses no formula, and adds no apostrophe."""
    assert csv_text(given_rows) == "".join(map(csv_line, given_rows))


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("place", range(4))
def test_one_formula_among_harmless_rows_is_found(formula: str, place: int) -> None:
    """In the first and the last cell of the first and the last row."""
    given_cells: list[object] = ["a", "b", "c", "d"]
    given_cells[place] = formula
    text = csv_text([given_cells[:2], ["x", "y"], given_cells[2:]])

    read = list(csv.reader(io.StringIO(text, newline="")))

    given_cells[place] = f"'{formula}"
    assert read == [given_cells[:2], ["x", "y"], given_cells[2:]]


@given(rows)
def test_rows_may_come_one_after_the_other(given_rows: list[list[object]]) -> None:
    """They are read once."""
    assert csv_text(iter(given_rows)) == csv_text(given_rows)


@given(cells)
def test_only_text_gets_an_apostrophe(cell: object) -> None:
    """A negative number is no formula."""
    escaped = escape_formula(cell)
    if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r\n"):
        assert escaped == f"'{cell}"
    else:
        assert escaped is cell
