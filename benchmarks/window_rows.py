"""`/data` at the beginning, the middle and the end of all customers; `/data/export`."""

from __future__ import annotations

import http.client
import os
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import orjson

from benchmarks.window_client import Plan
from benchmarks.window_data import SHOP_EVERY
from benchmarks.window_figures import Line, Sample, Target
from benchmarks.window_ruler import Plan as RulerPlan
from benchmarks.window_service import CONNECTIONS, run_module

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.window_data import Sizes
    from benchmarks.window_service import Service
    from sandbox.private_mysql import MySQLServer

PAGE_SIZE = 100
WALK_SIZE = 500
# Pages that are asked for at each place.
PLACE_PAGES = 40
TOO_SLOW = 503
MIN_RATE = 800
MAX_P99_MS = 40
MAX_DEPTH_RATIO = 1.3
EXPORT_LIMIT_BYTES = 150_000_000
_FAST = Target(
    f">= {MIN_RATE} requests/s, p99 <= {MAX_P99_MS} ms",
    lambda line: line.rate >= MIN_RATE and line.percentile_ms(99) <= MAX_P99_MS,
)
_SAME_AT_ANY_DEPTH = Target(f"< {MAX_DEPTH_RATIO} x", lambda line: line.ratio < MAX_DEPTH_RATIO)
_SMALL = Target(
    f"peak < {EXPORT_LIMIT_BYTES // 10**6} MB, flat",
    lambda line: line.peak_bytes < EXPORT_LIMIT_BYTES,
)
_PLACES = ("begin", "middle", "end")


class Walk(NamedTuple):
    """All pages of a filter, one after the other.

    Attributes:
        paths: of the pages after the first.
        problems: what was wrong with the rows.
    """

    paths: list[str]
    problems: list[str]


def measure_data(
    service: Service, server: MySQLServer, name: str, sizes: Sizes, rounds: int, *, judged: bool
) -> list[Line]:
    """Ask for pages of customers, each round beside the rulers."""
    everything = walk(service.port, sizes.customers, {})
    shop = walk(service.port, sizes.customers // SHOP_EVERY, {"source": "shop"})
    paths = paths_of(everything.paths, shop.paths, sizes.customers)
    found: dict[str, list[Sample]] = {}
    for _ in range(rounds):
        for line, with_sources in (("ruler", False), ("ruler-sources", True)):
            ruler = _ruler(server, name, sizes, has_sources=with_sources)
            found.setdefault(line, []).append(ruler)
        for line, asked in paths.items():
            plan = service.plan(*asked, connections=CONNECTIONS, seconds=sizes.seconds)
            found.setdefault(line, []).append(service.measure(plan)[0])
    wrong = {"begin": everything.problems, "source": shop.problems}
    for line, problems in wrong.items():
        found[line][0] = replace(found[line][0], problems=(*found[line][0].problems, *problems))
    return lines_of_data(found, judged=judged)


def walk(port: int, rows: int, filters: dict[str, str]) -> Walk:
    """Read all pages by cursor, and check that they have so many customers, each of them once."""
    paths: list[str] = []
    problems: list[str] = []
    last, count = 0, 0
    cursor: str | None = None
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        while not count or cursor:
            following = filters | {"cursor": cursor} if cursor else filters
            connection.request("GET", _path(WALK_SIZE, following))
            response = connection.getresponse()
            page: dict[str, Any] = orjson.loads(response.read())
            if response.status == TOO_SLOW and filters:
                # Not wrong: the samples count these answers.
                return Walk(paths, problems)
            ids = [item["id"] for item in page.get("items", ())]
            if not ids:
                problems.append(f"a page without rows after {count:,}: {page.get('detail')}")
                break
            if ids != sorted(set(ids)) or ids[0] <= last:
                problems.append(f"rows out of order or twice after id {last}")
            last, count, cursor = ids[-1], count + len(ids), page["next_cursor"]
            if cursor:
                paths.append(_path(PAGE_SIZE, filters | {"cursor": cursor}))
    if count != rows:
        problems.append(f"{count:,} rows by cursor instead of {rows:,}")
    return Walk(paths, problems)


def _path(page_size: int, parameters: dict[str, str]) -> str:
    return f"/data?{urlencode({'page_size': str(page_size), **parameters})}"


def paths_of(
    everything: Sequence[str], shop: Sequence[str], customers: int
) -> dict[str, list[str]]:
    """What each line of the table asks for."""
    first = _path(PAGE_SIZE, {})
    last = f"customer.{customers - 1:07}"
    middle = max(0, len(everything) // 2 - PLACE_PAGES // 2)
    return {
        "first": [first],
        "begin": list(everything[:PLACE_PAGES]) or [first],
        "middle": list(everything[middle : middle + PLACE_PAGES]) or [first],
        "end": list(everything[-PLACE_PAGES:]) or [first],
        "search": [_path(PAGE_SIZE, {"search": "zo"})],
        "search-last": [_path(PAGE_SIZE, {"search": last})],
        "source": list(shop[-PLACE_PAGES:]) or [_path(PAGE_SIZE, {"source": "shop"})],
    }


def _ruler(server: MySQLServer, name: str, sizes: Sizes, *, has_sources: bool) -> Sample:
    starts = list(range(0, sizes.customers, max(1, sizes.customers // 1_000)))
    login = {"host": server.host, "port": server.port, "user": server.user}
    plan = RulerPlan(
        **login,  # type: ignore[arg-type]
        password=server.password,
        name=name,
        starts=starts,
        seconds=sizes.seconds / 2,
        has_sources=has_sources,
    )
    report = run_module("benchmarks.window_ruler", asdict(plan))
    return Sample(
        count=report["pages"],
        seconds=report["seconds"],
        service_cpu_seconds=report["cpu_seconds"],
        load_average=os.getloadavg()[0],
    )


def lines_of_data(found: dict[str, list[Sample]], *, judged: bool) -> list[Line]:
    """The lines of the table, from the samples of all rounds."""
    titles = {
        "ruler": "a loop of keyset queries and orjson in one process, without sources",
        "ruler-sources": "the same with the service's query, which finds each row's sources",
        "first": "the first page, which counts up to 10,001 rows",
        "begin": "pages by cursor, 100 rows each: at the beginning",
        "middle": "in the middle",
        "end": "at the end",
        "search": "a prefix that one customer in eight has: search=zo",
        "search-last": "a prefix that only the last customers have",
        "source": "the customers of a source that has one in seven, at the end",
    }
    lines = []
    for line, samples in found.items():
        is_ruler = line.startswith("ruler")
        pairs = zip(samples, found["ruler"], strict=True)
        ratios = [] if is_ruler else [one.rate / ruler.rate for one, ruler in pairs]
        target = _FAST if line in _PLACES else None
        lines.append(Line(f"data-{line}", titles[line], samples, ratios, target, judged))
    return [*lines, _depth(found, judged=judged)]


def _depth(found: dict[str, list[Sample]], *, judged: bool) -> Line:
    ratios = []
    for samples in zip(*(found[place] for place in _PLACES), strict=True):
        rates = [sample.rate for sample in samples]
        ratios.append(max(rates) / min(rates))
    title = "how much the place changes the rate"
    return Line("data-depth", title, found["end"], ratios, _SAME_AT_ANY_DEPTH, judged)


def measure_export(service: Service, sizes: Sizes, rounds: int, *, judged: bool) -> list[Line]:
    """Read all customers as a file; the service has just started."""
    # What any first answer needs is there before.
    service.sample("/data?page_size=500", requests=5)
    before = service.peak_bytes
    found: dict[str, list[Sample]] = {"csv": [], "ndjson": []}
    for _ in range(rounds):
        for kind, samples in found.items():
            samples.append(_export(service, kind, sizes.customers))
    return [
        Line(
            f"export-{kind}",
            f"/data/export of all customers as {kind}",
            samples,
            [sample.peak_bytes / before for sample in samples if before],
            _SMALL,
            judged,
        )
        for kind, samples in found.items()
    ]


def _export(service: Service, kind: str, rows: int) -> Sample:
    plan = Plan(service.port, [f"/data/export?format={kind}"], is_download=True)
    sample, report = service.measure(plan)
    found = report.lines - (kind == "csv")
    problems = () if found == rows else (f"{found:,} rows instead of {rows:,}",)
    return replace(sample, count=rows, latencies=(), problems=(*sample.problems, *problems))
