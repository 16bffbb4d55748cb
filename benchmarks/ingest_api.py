"""Customers from the mock source: how close the ingest comes to one page per latency.

The next page can be asked for only after the one before has come, since that names its cursor. So
the ceiling is a page per latency; whatever is done between two requests comes on top. The ruler is
a loop that only decodes the pages. All pages are read once before anything is measured: the mock
source keeps what it has made, and then takes no time of the processors from those who read it.
"""

from __future__ import annotations

from http.client import HTTPConnection
from time import perf_counter
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import orjson

from benchmarks.ingest_figures import Cost, Line, Target
from benchmarks.ingest_runs import API, Counts, run_ingest
from benchmarks.measure import LATENCY_SECONDS
from sandbox.source import SourceOptions, SourceProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.ingest_runs import Place

PAGE_SIZE = 1_000
MIN_SHARE = 0.95
MAX_LATENCY_SECONDS = 1.1 * LATENCY_SECONDS
_PREFETCHED = Target(f">= {MIN_SHARE} of a page per latency", lambda line: line.ratio >= MIN_SHARE)


def measure_api(place: Place, records: int, rounds: int, *, judged: bool) -> list[Line]:
    """Load all records, a thousand to a page, this many times; with a ruler each time."""
    costs, shares, rulers, ruler_shares = [], [], [], []
    for number in range(1, rounds + 1):
        place.show([f"http, {records:,} records, round {number} of {rounds} ..."])
        ruler, share = _measure_ruler(records)
        rulers.append(ruler)
        ruler_shares.append(share)
        cost, share = _measure(place, records)
        costs.append(cost)
        shares.append(share)
    title = f"customers from an API, {PAGE_SIZE:,} to a page, {LATENCY_SECONDS * 1000:g} ms"
    return [
        Line("http-ruler", "the same pages, read in a loop and not stored", rulers, ruler_shares),
        Line("http", title, costs, shares, _PREFETCHED, judged),
    ]


def _measure_ruler(records: int) -> tuple[Cost, float]:
    with SourceProcess(SourceOptions(customers=records, latency=LATENCY_SECONDS)) as source:
        first = _make_pages(source)
        started = perf_counter()
        found = read_pages(source.url)
        problems = () if found == records else (f"{found:,} records instead of {records:,}",)
        cost = Cost(records, perf_counter() - started, problems=problems)
        return cost, share_of_latency(source.requests()[first:])


def _make_pages(source: SourceProcess) -> int:
    """Have the mock source make all its pages; returns the number of requests so far."""
    read_pages(source.url)
    return len(source.requests())


def read_pages(url: str) -> int:
    """Read all pages of customers, one after the other, and count their records."""
    address = urlsplit(url)
    connection = HTTPConnection(str(address.hostname), address.port)
    path, found = f"/cursor/customers?limit={PAGE_SIZE}", 0
    cursor = ""
    while cursor is not None:
        connection.request("GET", f"{path}&cursor={quote(cursor)}" if cursor else path)
        page = orjson.loads(connection.getresponse().read())
        found += len(page["data"])
        cursor = page.get("paging", {}).get("next")
    connection.close()
    return found


def _measure(place: Place, records: int) -> tuple[Cost, float]:
    options = SourceOptions(customers=records, latency=LATENCY_SECONDS)
    with (
        SourceProcess(options) as source,
        place.database() as name,
        place.new_folder() as folder,
    ):
        sources = API.format(url=source.url, page_size=PAGE_SIZE)
        (folder / "sources.toml").write_text(sources, encoding="utf-8")
        counts = Counts(records, inserted=records)
        first = _make_pages(source)
        cost = run_ingest(place, name, folder, counts, server_seconds=source.cpu_seconds)
        return cost, share_of_latency(source.requests()[first:])


def share_of_latency(requests: Sequence[Mapping[str, float]]) -> float:
    """The share of the time in which a request was with the source; 0 for fewer than two.

    The latency is as long as the mock source took: on a busy machine it answers late, and that
    time is not the program's. A pause of the whole machine does not count as latency.
    """
    asked, last = requests[:-1], requests[-1:]
    if not asked:
        return 0.0
    taken = (request["answered_unix_time"] - request["unix_time"] for request in asked)
    latency = sum(min(seconds, MAX_LATENCY_SECONDS) for seconds in taken)
    return latency / (last[0]["unix_time"] - asked[0]["unix_time"])
