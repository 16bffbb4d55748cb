"""What is unusual about a run, compared with earlier runs of its source. Pure."""

from __future__ import annotations

from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

# The runs that a run is compared with. Fewer than three say nothing about what is usual.
COMPARED_RUNS = 7
MIN_RUNS = 3
# Half of a few records, or a tenth of a few seconds, is nothing unusual.
MIN_RECORDS = 20
MIN_SECONDS = 10.0


class Extent(NamedTuple):
    """How much a run read, and how long it took."""

    records: int
    seconds: float


def unusual(run: Extent, earlier: Sequence[Extent]) -> list[str]:
    """A text for each way in which a run differs from the median of earlier ones."""
    if len(earlier) < MIN_RUNS:
        return []
    records = median(one.records for one in earlier)
    seconds = median(one.seconds for one in earlier)
    texts = []
    if text := _unusual_number(run.records, records):
        texts.append(f"{text}; the median of the last {len(earlier)} runs is {records:,.0f}")
    if seconds >= MIN_SECONDS and run.seconds * 10 <= seconds:
        texts.append(
            f"it took {run.seconds:.1f} s, a tenth of the usual {seconds:.0f} s or less: "
            "check whether the source sent everything"
        )
    return texts


def _unusual_number(records: int, usual: float) -> str | None:
    if records == 0 and usual >= 1:
        return "no records"
    if usual < MIN_RECORDS:
        return None
    if records * 2 <= usual:
        return f"only {records:,} records, half as many as usual or fewer"
    if records >= usual * 2:
        return f"{records:,} records, twice as many as usual or more"
    return None


def stale(last_success: datetime | None, now: datetime, expected_every_hours: float) -> str | None:
    """A text if there is no successful run, or the last one is longer ago than expected."""
    if last_success is None:
        return "stale: no run has been successful yet"
    if now - last_success <= timedelta(hours=expected_every_hours):
        return None
    return (
        f"stale: the last successful run ended at {last_success:%Y-%m-%d %H:%M} UTC, more than "
        f"{expected_every_hours:g} hours ago"
    )
