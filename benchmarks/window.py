"""The case `window`: `cli.py serve` as a process, asked by a load generator of our own."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.sources import database_variables
from benchmarks.window_data import SOURCES, Sizes, fill
from benchmarks.window_delivery import measure_delivery
from benchmarks.window_journal import write_journal
from benchmarks.window_pages import PersonLine, measure_pages, measure_person
from benchmarks.window_rows import measure_data, measure_export
from benchmarks.window_service import CONNECTIONS, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from benchmarks.ingest_runs import Place
    from benchmarks.window_figures import Line
    from benchmarks.window_service import Service

CASE = "window"
DATA, PAGES, PERSON, EXPORT, DELIVERY = (
    f"{CASE}-{part}" for part in ("data", "pages", "person", "export", "delivery")
)
# The names of the parts, and what each measures.
TITLES = {
    CASE: "the five cases below (about ten minutes)",
    DATA: "/data by cursor in 1,000,000 customers, 8 connections; beside a bare loop of queries",
    PAGES: "/health, /stats and / with 365 runs of sources and 365 deliveries in history",
    PERSON: "/people/{email} with 60 runs of 100,000 users in the journal",
    EXPORT: "/data/export of 1,000,000 customers: speed and memory",
    DELIVERY: "a delivery alone, and beside a page that refreshes each second",
}
PAIRS = 3
FULL = Sizes()
# Below this, a few requests of each kind are enough to see that the benchmark works.
SMALL = 10_000
_PERSON_LINES = [
    PersonLine("person-1", "/people/{email}, one connection", 1),
    PersonLine("person", f"the same, {CONNECTIONS} connections", CONNECTIONS),
]
_WITHOUT_PAGES = [
    PersonLine("person-1-pruned", "without raw pages, one connection", 1),
    PersonLine("person-pruned", f"without raw pages, {CONNECTIONS} connections", CONNECTIONS),
]


@dataclass(frozen=True)
class Loaded:
    """A filled database that all parts of a run share."""

    place: Place
    name: str
    folder: Path
    sizes: Sizes

    def serving(self, journal: str) -> AbstractContextManager[Service]:
        """A new service that reads it."""
        place = self.place
        variables = database_variables(place.server, self.name)
        return serving(place.source, variables, self.folder, self.folder / journal)


def sizes_for(customers: int | None, views: int | None, users: int | None) -> Sizes:
    """The sizes for the options `--customers`, `--views` and `--users`, which is of deliveries."""
    count = customers or FULL.customers
    sizes = replace(
        FULL,
        customers=count,
        views=views or FULL.views,
        person_users=min(count, FULL.person_users),
        delivered=users or min(count, FULL.delivered),
        users_of_run=min(count, FULL.users_of_run),
    )
    return replace(sizes, seconds=0.3, fresh_requests=2) if count < SMALL else sizes


def is_chosen(names: Sequence[str]) -> bool:
    """Whether any of these cases is one of the window."""
    return not TITLES.keys().isdisjoint(names)


def measure_window(
    place: Place, names: Sequence[str], sizes: Sizes, runs: int | None
) -> list[Line]:
    """Measure the parts with these names; `runs`: rounds of each, else one, and three pairs."""
    parts = set(TITLES) if CASE in names else set(names)
    judged = (sizes.customers, sizes.views) == (FULL.customers, FULL.views)
    lines: list[Line] = []
    if parts & {DATA, PAGES, PERSON, EXPORT}:
        with ExitStack() as cleanup:
            loaded = load(place, sizes, cleanup)
            lines += _measured(loaded, parts, runs or 1, judged=judged)
    if DELIVERY in parts:
        judged = sizes.delivered == FULL.delivered
        lines += measure_delivery(place, sizes.delivered, runs or PAIRS, judged=judged)
    return lines


def load(place: Place, sizes: Sizes, cleanup: ExitStack) -> Loaded:
    """Fill a database, and a folder with the configuration of its sources."""
    place.show([f"window: loading {sizes.customers:,} customers, {sizes.views:,} views ..."])
    name = cleanup.enter_context(place.database())
    folder = cleanup.enter_context(place.new_folder())
    fill(place.server, name, folder, sizes)
    (folder / "sources.toml").write_text(SOURCES, encoding="utf-8")
    return Loaded(place, name, folder, sizes)


def _measured(loaded: Loaded, parts: set[str], rounds: int, *, judged: bool) -> Iterator[Line]:
    measures = {DATA: _data, EXPORT: _export, PAGES: _pages, PERSON: _person}
    for part, measure in measures.items():
        if part in parts:
            loaded.place.show([f"{part}: {TITLES[part]} ..."])
            lines = measure(loaded, rounds, judged=judged)
            loaded.place.show([f"  {line.name}: {line.rate:,.0f}/s" for line in lines])
            yield from lines


def _data(loaded: Loaded, rounds: int, *, judged: bool) -> list[Line]:
    server, name = loaded.place.server, loaded.name
    with loaded.serving("none.db") as service:
        return measure_data(service, server, name, loaded.sizes, rounds, judged=judged)


def _export(loaded: Loaded, rounds: int, *, judged: bool) -> list[Line]:
    with loaded.serving("none.db") as service:
        return measure_export(service, loaded.sizes, rounds, judged=judged)


def _pages(loaded: Loaded, rounds: int, *, judged: bool) -> list[Line]:
    sizes = loaded.sizes
    journal = loaded.folder / "pages.db"
    write_journal(journal, sizes.delivery_runs, sizes.users_of_run, 1)
    with loaded.serving(journal.name) as service:
        return measure_pages(service, sizes, rounds, judged=judged)


def _person(loaded: Loaded, rounds: int, *, judged: bool) -> list[Line]:
    sizes, server = loaded.sizes, loaded.place.server
    journal = loaded.folder / "person.db"
    distance = sizes.customers // sizes.person_users
    write_journal(journal, sizes.person_runs, sizes.person_users, distance)
    with loaded.serving(journal.name) as service:
        lines = measure_person(service, sizes, _PERSON_LINES, rounds, judged=judged)
        server.run("DELETE FROM etl_raw_data", name=loaded.name)
        lines += measure_person(service, sizes, _WITHOUT_PAGES, rounds, judged=judged)
    return lines
