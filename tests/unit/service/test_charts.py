"""The charts are what their numbers are."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from integration.service.charts import HEIGHT, MAX_BARS, WIDTH, Bar, Part, bar_chart

SVG = "{http://www.w3.org/2000/svg}"


def drawn(bars: list[Bar]) -> ET.Element:
    """The chart as a tree."""
    text = str(bar_chart(bars, "label")).replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1)
    return ET.fromstring(text)


def heights(bars: list[Bar]) -> list[float]:
    """The heights of its pieces, in order."""
    return [float(piece.attrib["height"]) for piece in drawn(bars).iter(f"{SVG}rect")]


def test_heights_are_in_proportion() -> None:
    """Heights are in proportion."""
    bars = [Bar("a", [Part("ok", 50), Part("failed", 50)]), Bar("b", [Part("ok", 200)])]

    assert heights(bars) == [HEIGHT / 4, HEIGHT / 4, HEIGHT]


def test_one_failure_in_a_million_is_visible() -> None:
    """One failure in a million is visible."""
    assert min(heights([Bar("a", [Part("ok", 1_000_000), Part("failed", 1)])])) >= 2


def test_nothing_is_a_line_at_the_bottom() -> None:
    """Nothing is a line at the bottom."""
    (piece,) = drawn([Bar("a", [])]).iter(f"{SVG}rect")

    assert (piece.attrib["class"], float(piece.attrib["y"])) == ("idle", HEIGHT - 1)


def test_only_the_last_bars_are_shown() -> None:
    """Only the last bars are shown."""
    titles = [one.text for one in drawn([Bar(str(n), []) for n in range(99)]).iter(f"{SVG}title")]

    assert titles == [str(number) for number in range(99 - MAX_BARS, 99)]


def test_titles_and_labels_are_escaped() -> None:
    """Titles and labels are escaped."""
    text = bar_chart([Bar("<script>", [])], '"><script>')

    assert "<script>" not in text
    assert "&lt;script&gt;" in text


@given(st.lists(st.lists(st.integers(0, 10**12), max_size=4), max_size=40))
def test_no_bar_leaves_the_chart(values: list[list[int]]) -> None:
    """No bar leaves the chart."""
    bars = [Bar("x", [Part("ok", value) for value in parts]) for parts in values]

    for piece in drawn(bars).iter(f"{SVG}rect"):
        top, left = float(piece.attrib["y"]), float(piece.attrib["x"])
        assert left >= 0
        assert left + float(piece.attrib["width"]) <= WIDTH
        assert top >= 0
    assert re.search(r'role="img"', str(bar_chart(bars, "x")))
