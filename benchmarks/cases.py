"""The benchmark cases and the target of each."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.measure import Figures

SINGLE_CEILING = 500
BULK_CEILING = 5_000
MAX_START_SECONDS = 0.35
MEMORY_LIMIT_BYTES = 150_000_000


class Target(NamedTuple):
    """A figure in words, and whether all cases' figures (by case name) meet it."""

    text: str
    is_met: Callable[[Mapping[str, Figures]], bool]


@dataclass(frozen=True)
class Case:
    """One line of the table.

    `limited`: Iterable's published limits, all of which the program may use; else none.
    `ceiling`: the users per second that the limits allow. `incremental`: a second run, in which no
    user has changed. `wide`: with the query of `benchmarks.wide`. `arguments`: of the plain loop.
    `min_runs`: a short case needs the median of several runs.
    """

    name: str
    title: str
    users: int
    mode: str = "bulk"
    limited: bool = False
    ceiling: int | None = None
    is_program: bool = True
    incremental: bool = False
    wide: bool = False
    arguments: tuple[str, ...] = ()
    min_runs: int = 1
    target: Target | None = None

    def scaled(self, users: int | None) -> int:
        """How many users to send if `users` is given; a loop stays short, since it is slow."""
        return min(users or self.users, self.users if not self.is_program else sys.maxsize)


def _share_reached(name: str, ceiling: int) -> Target:
    def is_met(figures: Mapping[str, Figures]) -> bool:
        reached = figures[name].delivery_rate / ceiling
        return reached >= 0.95 and figures[name].refused_429 == 0

    return Target(f">= 95 % of {ceiling:,} users/s, no 429", is_met)


def _fast_enough(figures: Mapping[str, Figures]) -> bool:
    return figures["bulk-unlimited"].run_rate >= 15_000


def _small_journal(figures: Mapping[str, Figures]) -> bool:
    bulk = figures["bulk-unlimited"]
    return _fast_enough(figures) and bulk.journal_bytes <= 600 * bulk.users


def _unchanged_is_cheap(figures: Mapping[str, Figures]) -> bool:
    one = figures["incremental"]
    return one.seconds < 12 and one.cpu_per_user <= 12e-6 and one.journal_bytes <= 60 * one.users


def _wide_is_fast(figures: Mapping[str, Figures]) -> bool:
    return figures["bulk-wide"].run_rate >= 0.6 * figures["bulk-unlimited"].run_rate


def _starts_fast(figures: Mapping[str, Figures]) -> bool:
    return figures["start"].start_seconds < MAX_START_SECONDS


def _flat(figures: Mapping[str, Figures]) -> bool:
    small, large = figures["memory-10k"].peak_bytes, figures["memory-1m"].peak_bytes
    return large <= 1.3 * small and large < MEMORY_LIMIT_BYTES


CASES = (
    Case(
        "start",
        "bulk calls, no limits: process start to the first call",
        100,
        min_runs=5,
        target=Target(f"< {MAX_START_SECONDS} s to the first call", _starts_fast),
    ),
    Case(
        "single",
        "single calls, published limits",
        10_000,
        mode="single",
        limited=True,
        ceiling=SINGLE_CEILING,
        target=_share_reached("single", SINGLE_CEILING),
    ),
    Case(
        "bulk",
        "bulk calls, published limits",
        50_000,
        limited=True,
        ceiling=BULK_CEILING,
        target=_share_reached("bulk", BULK_CEILING),
    ),
    Case(
        "bulk-unlimited",
        "bulk calls, no limits",
        200_000,
        target=Target(">= 15,000 users/s, whole run; journal <= 600 B/user", _small_journal),
    ),
    Case(
        "bulk-wide",
        "bulk calls, no limits: 20 extra columns (10 profile., 10 event.)",
        200_000,
        wide=True,
        target=Target(">= 0.6 x the rate of bulk-unlimited", _wide_is_fast),
    ),
    Case("memory-10k", "bulk calls, no limits: memory of a small list", 10_000),
    Case(
        "memory-1m",
        "bulk calls, no limits: memory of a large list",
        1_000_000,
        target=Target("peak <= 1.3 x memory-10k, < 150 MB", _flat),
    ),
    Case(
        "incremental",
        "a second run in which no user has changed",
        1_000_000,
        incremental=True,
        target=Target("< 12 s, CPU <= 12 us, journal <= 60 B/user", _unchanged_is_cheap),
    ),
    Case(
        "plain-loop",
        "requests.post in a loop, no limits",
        250,
        is_program=False,
    ),
    Case(
        "session-loop",
        "the loop with a requests.Session",
        250,
        is_program=False,
        arguments=("--session",),
    ),
)
# A target that compares needs both of its cases.
GROUPS = {"memory": ("memory-10k", "memory-1m"), "columns": ("bulk-unlimited", "bulk-wide")}
