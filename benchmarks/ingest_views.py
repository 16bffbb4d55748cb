"""Page views from CSV: speed, a second run of the same file, and peak memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.ingest_figures import Line, Target
from benchmarks.ingest_files import write_customers, write_views
from benchmarks.ingest_runs import VIEWS, Counts, load_customers, run_ingest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.ingest_figures import Cost
    from benchmarks.ingest_files import Table
    from benchmarks.ingest_runs import Place

MIN_RATE = 30_000
MAX_SECONDS_AGAIN = 2
MAX_PEAK_BYTES = 120_000_000
MAX_PEAK_RATIO = 1.3
_FAST = Target(f">= {MIN_RATE:,} rows/s", lambda line: line.rate >= MIN_RATE)
_NOT_READ = Target(f"< {MAX_SECONDS_AGAIN} s", lambda line: line.seconds < MAX_SECONDS_AGAIN)
_FLAT = Target(
    f"peak <= {MAX_PEAK_RATIO} x views-small, < {MAX_PEAK_BYTES // 1_000_000} MB",
    lambda line: line.ratio <= MAX_PEAK_RATIO and line.peak_bytes < MAX_PEAK_BYTES,
)


def measure_views(
    place: Place, few: int, many: int, customers: int, rounds: int, *, judged: bool
) -> list[Line]:
    """Load a short and a long file, the long one twice."""
    small: list[Cost] = []
    first: list[Cost] = []
    again: list[Cost] = []
    with place.new_folder() as folder:
        people = write_customers(folder / "customers.csv", customers)
        short = write_views(folder / "short.csv", few, customers)
        long = write_views(folder / "long.csv", many, customers)
        for number in range(1, rounds + 1):
            place.show([f"page views, {few:,} and {many:,}, round {number} of {rounds} ..."])
            small += _runs(place, people, short, times=1)
            costs = list(_runs(place, people, long, times=2))
            first.append(costs[0])
            again.append(costs[1])
    return lines_of_views(small, first, again, judged=judged)


def lines_of_views(
    small: Sequence[Cost], first: Sequence[Cost], again: Sequence[Cost], *, judged: bool
) -> list[Line]:
    """The lines of the table; the first runs appear twice, for their speed and their memory."""
    peaks = [long.peak_bytes / short.peak_bytes for long, short in zip(first, small, strict=True)]
    return [
        Line("views-small", "page views from a short CSV file", small),
        Line("views-first", "page views from a long CSV file", first, (), _FAST, judged),
        Line("views-again", "a second run of the same file", again, (), _NOT_READ, judged),
        Line("views-memory", "peak memory of the long file", first, peaks, _FLAT, judged),
    ]


def _runs(place: Place, people: Table, views: Table, times: int) -> Iterator[Cost]:
    with place.database() as name, place.new_folder() as folder:
        load_customers(place.server, name, people)
        sources = VIEWS.format(file=views.file)
        (folder / "sources.toml").write_text(sources, encoding="utf-8")
        for number in range(times):
            counts = Counts() if number else Counts(views.rows, inserted=views.rows)
            yield run_ingest(place, name, folder, counts, expected=[views])
