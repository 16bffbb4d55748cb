"""Cursors: their forms, their order, and where a run starts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from integration.ingest.kinds.high_water import (
    Mark,
    from_json,
    highest,
    mark_of,
    peak_of,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31 13:00:00+01:00", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00.000001Z", "2026-01-31T12:00:00.000001Z"),
        ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456Z"),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        (1769860800, "1769860800"),
        (1769860800.9, "1769860800"),
        (1769860800123, "1769860800123"),
        (4711, "4711"),
    ],
)
def test_a_cursor_is_written_as_the_source_writes_it(value: object, text: str) -> None:
    """In UTC, and never later than it was."""
    mark = mark_of(value)
    assert mark is not None
    assert mark.text() == text


@pytest.mark.parametrize("value", [None, "", "yesterday", True, [], {}, float("nan"), float("inf")])
def test_another_value_is_no_cursor(value: object) -> None:
    """It does not move the mark."""
    assert mark_of(value) is None


def test_a_run_starts_before_the_mark() -> None:
    """A counter has no seconds."""
    noon, counter = mark_of("2026-01-31T12:00:00Z"), mark_of(4711)
    assert noon is not None
    assert counter is not None
    assert noon.lowered(300).text() == "2026-01-31T11:55:00Z"
    assert counter.lowered(300) == counter
    assert noon.lowered(10**13).text() == "0001-01-01T00:00:00Z"


def test_a_mark_is_clamped_to_a_time() -> None:
    """A counter is not."""
    late = mark_of("2027-01-01T00:00:00Z")
    assert late is not None
    assert late.clamped(NOON).text() == "2026-01-31T12:00:00Z"
    assert Mark("seconds", late.value).clamped(NOON).text() == "1769860800"
    assert Mark("number", 10**6).clamped(NOON).value == 10**6


def test_the_highest_of_two() -> None:
    """Of different forms, the first one stays."""
    low, high = mark_of("2026-01-01T00:00:00Z"), mark_of("2026-01-01T00:00:00.000001Z")
    assert highest(low, high) == highest(high, low) == high
    assert highest(None, low) == highest(low, None) == low
    assert highest(low, mark_of(10**10)) == low


@given(st.datetimes(timezones=st.just(UTC)), st.timedeltas(timedelta(0), timedelta(days=9)))
def test_a_mark_survives_the_checkpoint_and_keeps_the_order(
    moment: datetime, later: timedelta
) -> None:
    """To the microsecond."""
    mark = mark_of(moment.isoformat())
    assert mark is not None
    assert from_json(mark.as_json()) == mark
    assert mark_of(mark.text()) == mark
    try:
        after = mark_of((moment + later).isoformat())
    except OverflowError:
        return
    assert highest(mark, after) == after


@pytest.mark.parametrize("value", [None, [], ["iso"], ["iso", "x"], ["other", 1], {"iso": 1}])
def test_another_value_in_a_checkpoint_is_no_mark(value: object) -> None:
    """Then the source is read from its beginning."""
    assert from_json(value) is None


MOMENTS = st.datetimes(timezones=st.just(UTC))
CURSORS = st.one_of(
    MOMENTS.map(lambda moment: moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")),
    MOMENTS.map(lambda moment: moment.isoformat().replace("+00:00", "Z")),
    st.sampled_from(["2026-01-31", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+01:00", None, "x"]),
)


@given(st.lists(CURSORS, max_size=6))
@example(["2026-02-28T00:00:00Z", "2026-02-30T00:00:00Z"])
def test_the_peak_of_a_page_is_its_highest_cursor(values: list[object]) -> None:
    """Also where only the last text is read, because all have one form."""
    expected = None
    for value in values:
        expected = highest(expected, mark_of(value))
    assert peak_of(values) == expected


def test_a_page_without_records_has_no_peak() -> None:
    """Then the mark stays."""
    assert peak_of([]) is None
