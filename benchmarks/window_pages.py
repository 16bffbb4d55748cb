"""`/health`, `/stats` and `/` with many runs in history; `/people/{email}` with a large journal."""

from __future__ import annotations

import http.client
import random
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from benchmarks.window_data import source_of
from benchmarks.window_figures import Line, Target
from benchmarks.window_journal import FAILED_EVERY, email_at, outcome_at
from benchmarks.window_service import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.window_data import Sizes
    from benchmarks.window_figures import Sample
    from benchmarks.window_service import Service

MAX_P99_MS = 100
PEOPLE = 200
# The overview is kept for a second: requests so far apart look themselves.
FRESH_SECONDS = 1.1
_PROMPT = Target(f"p99 <= {MAX_P99_MS} ms", lambda line: line.percentile_ms(99) <= MAX_P99_MS)
_PAGES = {"health": "/health", "stats": "/stats", "home": "/"}


class PersonLine(NamedTuple):
    """A line of `/people/{email}`."""

    name: str
    title: str
    connections: int


def measure_pages(service: Service, sizes: Sizes, rounds: int, *, judged: bool) -> list[Line]:
    """Ask for each page by all connections, and then by one that waits between its requests."""
    problems = list(_wrong_totals(service, sizes))
    lines = []
    for name, path in _PAGES.items():
        busy = [
            service.sample(path, connections=CONNECTIONS, seconds=sizes.seconds)
            for _ in range(rounds)
        ]
        busy[0] = replace(busy[0], problems=(*busy[0].problems, *problems))
        fresh = [
            service.sample(path, requests=sizes.fresh_requests, pause_seconds=FRESH_SECONDS)
            for _ in range(rounds)
        ]
        text = f"{path} with {sizes.ingest_runs} and {sizes.delivery_runs} runs in history"
        lines.append(Line(f"pages-{name}", text, busy, (), _PROMPT, judged))
        apart = f"requests {FRESH_SECONDS} s apart, none of which finds a remembered overview"
        lines.append(Line(f"pages-{name}-fresh", apart, fresh, (), _PROMPT, judged))
    return lines


def _wrong_totals(service: Service, sizes: Sizes) -> Iterator[str]:
    found = _json(service, "/stats")
    counts = (found["run_count"], found["deliveries"]["runs"])
    if counts != (sizes.ingest_runs, sizes.delivery_runs):
        yield f"{counts} runs in /stats"


def measure_person(
    service: Service, sizes: Sizes, lines: list[PersonLine], rounds: int, *, judged: bool
) -> list[Line]:
    """Ask for people from all over the journal, after some stories were checked."""
    distance = sizes.customers // sizes.person_users
    choice = random.Random(1)
    positions = [choice.randint(1, sizes.person_users) for _ in range(PEOPLE)]
    paths = [f"/people/{email_at(position, distance)}" for position in positions]
    failed = [FAILED_EVERY] if sizes.person_users >= FAILED_EVERY else []
    checked = [1, sizes.person_users, *failed, *positions[:3]]
    problems = [text for position in checked for text in wrong_story(service, sizes, position)]
    found = []
    for line in lines:
        samples = [
            service.sample(*paths, connections=line.connections, seconds=sizes.seconds)
            for _ in range(rounds)
        ]
        samples[0] = _with_problems(samples[0], problems)
        found.append(Line(line.name, line.title, samples, (), _PROMPT, judged))
    return found


def _with_problems(sample: Sample, problems: list[str]) -> Sample:
    return replace(sample, problems=(*sample.problems, *problems))


def wrong_story(service: Service, sizes: Sizes, position: int) -> Iterator[str]:
    """What is wrong with the story of the user at a position of all runs."""
    distance = sizes.customers // sizes.person_users
    email, customer = email_at(position, distance), position * distance
    found = _json(service, f"/people/{email}")
    if "views" not in found:
        yield f"{email}: {found.get('detail')}"
        return
    runs = [(one["run"], one["outcome"]) for one in found["deliveries"]]
    newest_first = range(sizes.person_runs, 0, -1)
    if runs != [(f"delivery-{run}", outcome_at(position)) for run in newest_first]:
        yield f"{email}: {len(runs)} deliveries, {runs[:1]} first"
    sources = [record["source"] for record in found["sources"]]
    if sources != [source_of(customer)] or (found["customer"] or {}).get("id") != customer:
        yield f"{email}: from {sources}, customer {found['customer']}"
    views = max(1, sizes.views // sizes.customers)
    if found["views"]["count"] != views:
        yield f"{email}: {found['views']['count']} views instead of {views}"


def _json(service: Service, path: str) -> dict[str, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)) as connection:
        connection.request("GET", path)
        found: dict[str, Any] = orjson.loads(connection.getresponse().read())
    return found
