"""What counts as unusual about a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.ingest.alarms import Extent, stale, unusual

USUAL = [Extent(1000, 100.0)] * 3
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (Extent(0, 100), "no records; the median of the last 3 runs is 1,000"),
        (Extent(500, 100), "only 500 records, half as many as usual or fewer"),
        (Extent(2000, 100), "2,000 records, twice as many as usual or more"),
        (Extent(1000, 10), "it took 10.0 s, a tenth of the usual 100 s or less"),
    ],
)
def test_an_unusual_run_is_reported(run: Extent, text: str) -> None:
    """Compared with the median of earlier ones."""
    (found,) = unusual(run, USUAL)
    assert found.startswith(text)


@pytest.mark.parametrize("run", [Extent(501, 100), Extent(1999, 100), Extent(1000, 10.1)])
def test_a_usual_run_is_not(run: Extent) -> None:
    """Up to the limits."""
    assert unusual(run, USUAL) == []


@pytest.mark.parametrize("earlier", [USUAL[:2], [Extent(0, 0.1)] * 7, [Extent(19, 9.9)] * 7, []])
def test_small_or_few_runs_say_nothing_about_what_is_usual(earlier: list[Extent]) -> None:
    """Half of a few records is nothing unusual."""
    assert unusual(Extent(1, 0.1), earlier) == []


def test_no_records_are_usual_if_half_of_the_runs_had_none() -> None:
    """A median between 0 and 1 is none."""
    earlier = [Extent(0, 0.1), Extent(0, 0.1), Extent(1, 0.1), Extent(5000, 0.1)]
    assert unusual(Extent(0, 0.1), earlier) == []


def test_the_median_ignores_one_extreme_run() -> None:
    """As a first run is, which reads everything."""
    assert unusual(Extent(1000, 100), [*USUAL, Extent(10**6, 10**4)]) == []


def test_a_source_is_stale_after_its_hours() -> None:
    """Counted from the end of its last successful run; without one, at once."""
    assert stale(None, NOW, 24) == "stale: no run has been successful yet"
    assert stale(NOW - timedelta(hours=24), NOW, 24) is None
    assert stale(NOW - timedelta(hours=25), NOW, 24) == (
        "stale: the last successful run ended at 2026-11-19 23:00 UTC, more than 24 hours ago"
    )
