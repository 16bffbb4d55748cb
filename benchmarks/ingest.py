"""The case `ingest`: `cli.py run` as a process, beside LOAD DATA and dlt, and its memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.dlt_runs import install_dlt
from benchmarks.ingest_api import measure_api
from benchmarks.ingest_customers import measure_customers
from benchmarks.ingest_views import measure_views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.ingest_figures import Line
    from benchmarks.ingest_runs import Place

CASE = "ingest"
CUSTOMERS, DLT, VIEWS, API = (f"{CASE}-{part}" for part in ("customers", "dlt", "views", "http"))
# The names of the parts, and what each measures.
TITLES = {
    CASE: "the four cases below (about ten minutes)",
    CUSTOMERS: "500,000 customers from CSV: first load, unchanged, changed; beside LOAD DATA",
    DLT: "the same, and with dlt 1.31.0, which is installed on its own",
    VIEWS: "5,000,000 page views from CSV: first load, second run, memory",
    API: "100,000 customers from a mock API with 50 ms of latency",
}
RUNS = 1


@dataclass(frozen=True)
class Sizes:
    """How many rows; targets apply to the defaults."""

    customers: int = 500_000
    views: int = 5_000_000
    few_views: int = 10_000
    from_api: int = 100_000


FULL = Sizes()


def sizes_for(users: int | None, views: int | None) -> Sizes:
    """The sizes for the options `--users` and `--views`."""
    return Sizes(
        customers=users or FULL.customers,
        views=views or FULL.views,
        few_views=min(views or FULL.few_views, FULL.few_views),
        from_api=users or FULL.from_api,
    )


def is_chosen(names: Sequence[str]) -> bool:
    """Whether any of these cases is one of the ingest."""
    return not TITLES.keys().isdisjoint(names)


def measure_ingest(place: Place, names: Sequence[str], sizes: Sizes, runs: int) -> list[Line]:
    """Measure the parts with these names.

    Raises:
        PeerError: dlt cannot be installed.
    """
    parts = set(TITLES) if CASE in names else set(names)
    dlt = install_dlt(place.folder) if DLT in parts else None
    lines: list[Line] = []
    if parts & {CUSTOMERS, DLT}:
        judged = sizes.customers == FULL.customers
        lines += measure_customers(place, sizes.customers, runs, dlt, judged=judged)
    if VIEWS in parts:
        judged = sizes.views == FULL.views
        few, many = sizes.few_views, sizes.views
        lines += measure_views(place, few, many, sizes.customers, runs, judged=judged)
    if API in parts:
        judged = sizes.from_api == FULL.from_api
        lines += measure_api(place, sizes.from_api, runs, judged=judged)
    return lines
