"""A delivery alone, and beside a page that refreshes each second, in turn."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson

from benchmarks.measure import ROOT, measure_program
from benchmarks.window_data import SOURCES
from benchmarks.window_figures import Line, Sample, Target
from benchmarks.window_service import serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.ingest_runs import Place
    from benchmarks.window_service import Service

MIN_RATIO = 0.97
REFRESH_SECONDS = 1.0
JOURNAL = "iterable_journal.db"
_UNDISTURBED = Target(f">= {MIN_RATIO} of the run alone", lambda line: line.ratio >= MIN_RATIO)


def measure_delivery(place: Place, users: int, pairs: int, *, judged: bool) -> list[Line]:
    """Deliver as many users this many times in each way; the order changes from pair to pair."""
    alone: list[Sample] = []
    beside: list[Sample] = []
    with place.new_folder() as folder, place.source.with_users(users, folder) as database:
        for number in range(pairs):
            for is_beside in (False, True) if number % 2 == 0 else (True, False):
                found = beside if is_beside else alone
                found.append(_deliver(place, users, database, is_beside=is_beside))
                way = "beside the page" if is_beside else "alone"
                place.show([f"delivery {number + 1} of {pairs}, {way}: {found[-1].rate:,.0f}/s"])
    return lines_of_delivery(alone, beside, judged=judged)


def lines_of_delivery(alone: list[Sample], beside: list[Sample], *, judged: bool) -> list[Line]:
    """The lines of the table, from both runs of each pair."""
    ratios = [one.rate / other.rate for one, other in zip(beside, alone, strict=True)]
    title = f"the same beside a page that refreshes every {REFRESH_SECONDS:g} s"
    return [
        Line("delivery-alone", "a delivery in bulk without limits, alone", alone),
        Line("delivery-beside", title, beside, ratios, _UNDISTURBED, judged),
    ]


def _deliver(place: Place, users: int, database: Mapping[str, str], *, is_beside: bool) -> Sample:
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(place.new_folder())
        service = None
        if is_beside:
            service = cleanup.enter_context(_window(place, database, folder / JOURNAL))
            cleanup.enter_context(_refreshing(service))
        figures = measure_program("bulk", users, place.source, database, folder, limited=False)
        return Sample(
            count=users,
            seconds=figures.seconds,
            peak_bytes=service.peak_bytes if service else 0,
            load_average=os.getloadavg()[0],
            # Here that is the page too, which is what is measured.
            busy_elsewhere=None if is_beside else figures.busy_elsewhere,
            problems=figures.problems,
        )


@contextmanager
def _window(place: Place, database: Mapping[str, str], journal: Path) -> Iterator[Service]:
    with place.new_folder() as folder:
        (folder / "sources.toml").write_text(SOURCES, encoding="utf-8")
        with serving(place.source, database, folder, journal) as service:
            yield service


@contextmanager
def _refreshing(service: Service) -> Iterator[None]:
    """Ask for the page each second while the block runs."""
    plan = service.plan("/", pause_seconds=REFRESH_SECONDS)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.window_client"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.stdin is not None
    process.stdin.write(orjson.dumps(asdict(plan)))
    process.stdin.close()
    try:
        yield
        ended = process.poll()
    finally:
        process.kill()
        process.wait()
    if ended is not None:
        raise RuntimeError(f"the page was no longer refreshed: exit code {ended}")
