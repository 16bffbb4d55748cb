"""The program beside its nearest peer, drt 1.2.1 (drt-core on PyPI): users per second.

Both send the same users from the same database to the same mock server, in turn: the program, drt,
the program, and so on. A figure is the median over whole processes, from start to exit. drt is set
up as fast as we could make it, except in the last comparison. It keeps no journal and writes no
list of users; only the arrival of all profiles and events at the mock server is checked for it.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Command, Figures, measure_command, measure_program
from benchmarks.peer_project import Setup, project_files, project_variables
from benchmarks.report import BUSY_MACHINE, aligned, rate_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.sources import Source

TITLE = "this program / drt 1.2.1, six ways to send; installs drt on its own (about five minutes)"
RUNS = 3
_HEADINGS = (
    "comparison", "users", "product users/s", "drt users/s", "ratio", "rounds",
    "CPU us/user", "of drt", "429s", "of drt", "target", "met",
)  # fmt: skip
LEGEND = (
    "users/s      users / time of the whole process from start to exit; medians",
    "ratio        product / drt, of these medians; rounds: the lowest and highest of a round",
    "CPU us/user  user and system time of the process and those it started",
)
# Profiles and events in two processes, side by side: each has its own rate limit and core. The
# events go half a second behind the profiles, in the same order and at the same pace, since those
# of unknown users are refused: a single call with 400, which is retried; in bulk with 200, which
# drt takes for a success, so that these would be lost, and WRONG here.
_SIDE_BY_SIDE = (
    "drt run --quiet --threads 24 --select 'users_*' & users=$!;"
    " sleep 0.5; drt run --quiet --threads 24 --select 'events_*'; events=$?;"
    " wait $users && exit $events"
)


@dataclass(frozen=True)
class Comparison:
    """One line of the table; `limited`: with Iterable's published limits."""

    name: str
    title: str
    users: int
    mode: str
    target: float
    setup: Setup
    limited: bool = False


COMPARISONS = (
    Comparison(
        "bulk",
        "bulk, no limits; drt's JSON made by SQL",
        50_000,
        "bulk",
        1.2,
        Setup("drt run --quiet --threads 8", shards=8),
    ),
    Comparison(
        "bulk-jinja",
        "bulk, no limits; drt as in its manual: JSON made by Jinja, profiles, then events",
        50_000,
        "bulk",
        2.0,
        Setup("drt run --quiet", json_by_sql=False, items_per_call=10_000),
    ),
    Comparison(
        "bulk-jinja-8",
        "bulk, no limits; drt's JSON made by Jinja, in 2 x 8 shards",
        50_000,
        "bulk",
        1.0,
        Setup("drt run --quiet --threads 8", shards=8, json_by_sql=False),
    ),
    Comparison(
        "bulk-limits",
        "bulk, published limits; drt's profiles and events side by side",
        20_000,
        "bulk",
        1.0,
        Setup(_SIDE_BY_SIDE, rates=(5, 5), ordered=True),
        limited=True,
    ),
    Comparison(
        "single-limits",
        "single calls, published limits; drt in 2 x 24 shards",
        4_000,
        "single",
        1.3,
        Setup(
            _SIDE_BY_SIDE,
            bulk=False,
            shards=24,
            rates=(500, 500),
            ordered=True,
            retry_unknown_users=True,
        ),
        limited=True,
    ),
    Comparison(
        "single-plain",
        "single calls, published limits; drt as in its manual: profiles, then events",
        400,
        "single",
        18.0,
        Setup("drt run", bulk=False, json_by_sql=False, batch_size=None, rates=(500, 500)),
        limited=True,
    ),
)


@dataclass(frozen=True)
class Compared:
    """A comparison's rounds: the figures of the program and of drt, one after the other."""

    comparison: Comparison
    rounds: Sequence[tuple[Figures, Figures]]
    judged: bool

    @property
    def rates(self) -> tuple[float, float]:
        """The median users per second of the program and of drt."""
        product, drt = (self._median(place, "run_rate") for place in (0, 1))
        return product, drt

    @property
    def ratio(self) -> float:
        """How many times as fast the program is."""
        product, drt = self.rates
        return product / drt

    @property
    def round_ratios(self) -> list[float]:
        """The ratio in each round."""
        return [product.run_rate / drt.run_rate for product, drt in self.rounds]

    @property
    def problems(self) -> list[str]:
        """What either of them lost or reported."""
        names = ("product", "drt")
        return sorted(
            {
                f"{self.comparison.name}, {name}: {problem}"
                for one in self.rounds
                for name, figures in zip(names, one, strict=True)
                for problem in figures.problems
            }
        )

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None for another size."""
        return self.ratio >= self.comparison.target and not self.problems if self.judged else None

    def cells(self) -> tuple[str, ...]:
        """The line of the table."""
        lowest, highest = min(self.round_ratios), max(self.round_ratios)
        met = {True: "met", False: "NOT MET", None: "-"}[self.met]
        return (
            self.comparison.name,
            f"{self.rounds[0][0].users:,}",
            *map(rate_text, self.rates),
            f"{self.ratio:.2f}",
            f"{lowest:.2f}-{highest:.2f}",
            *(f"{self._median(place, 'cpu_per_user') * 1e6:,.0f}" for place in (0, 1)),
            *(f"{self._median(place, 'refused_429'):.0f}" for place in (0, 1)),
            f">= {self.comparison.target}",
            met,
        )

    def _median(self, place: int, figure: str) -> float:
        return median(float(getattr(one[place], figure)) for one in self.rounds)


@dataclass(frozen=True)
class Setting:
    """What all comparisons share: the database, the folder of `drt`, a folder for its runs."""

    source: Source
    drt: Path
    folder: Path

    def new_folder(self) -> tempfile.TemporaryDirectory[str]:
        """An empty folder for one run."""
        return tempfile.TemporaryDirectory(dir=self.folder.resolve())


def compare_all(
    setting: Setting, runs: int, users: int | None, show: Callable[[Sequence[str]], None]
) -> list[Compared]:
    """Make all comparisons; `show` prints lines."""
    return [
        _compare(setting, comparison, runs, users or comparison.users, show)
        for comparison in COMPARISONS
    ]


def _compare(
    setting: Setting,
    comparison: Comparison,
    runs: int,
    users: int,
    show: Callable[[Sequence[str]], None],
) -> Compared:
    rounds = []
    with setting.source.with_users(users, setting.folder) as database:
        for number in range(1, runs + 1):
            show([f"{comparison.title}, {users:,} users, round {number} of {runs} ..."])
            with setting.new_folder() as folder:
                product = measure_program(
                    comparison.mode,
                    users,
                    setting.source,
                    database,
                    Path(folder),
                    limited=comparison.limited,
                )
            with setting.new_folder() as folder:
                drt = measure_drt(setting, comparison, users, database, Path(folder))
            rounds.append((product, drt))
    return Compared(comparison, rounds, judged=users == comparison.users)


def measure_drt(
    setting: Setting,
    comparison: Comparison,
    users: int,
    database: Mapping[str, str],
    folder: Path,
) -> Figures:
    """Run drt once in an empty folder and check that everything arrived."""

    def command_for(url: str) -> Command:
        for path, content in project_files(comparison.setup, url, database).items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        path = os.pathsep.join([str(setting.drt), os.environ.get("PATH", "")])
        variables = project_variables(str(folder), database) | {"PATH": path}
        return Command(["/bin/sh", "-c", comparison.setup.script], variables)

    return measure_command(command_for, users, setting.source, folder, limited=comparison.limited)


def table(compared: Sequence[Compared]) -> list[str]:
    """The table, its legend, and any problems."""
    remarks = [f"WRONG: {problem}" for one in compared for problem in one.problems]
    rows = [_HEADINGS, *(one.cells() for one in compared)]
    return [*aligned(rows), "", *LEGEND, *_titles(compared), *remarks, *_noise(compared)]


def _titles(compared: Sequence[Compared]) -> Iterator[str]:
    for one in compared:
        yield f"{one.comparison.name:15}{one.comparison.title}"


def _noise(compared: Sequence[Compared]) -> Iterator[str]:
    for one in compared:
        shares = (figures.busy_elsewhere or 0.0 for pair in one.rounds for figures in pair)
        if (worst := max(shares)) > BUSY_MACHINE:
            yield f"Noise: others used {worst:.0%} of the machine in a run of {one.comparison.name}"


def all_met(compared: Sequence[Compared]) -> bool:
    """Whether nothing was lost and no target was missed."""
    return all(not one.problems and one.met is not False for one in compared)


def as_json(compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """The ratios and every run."""
    return [
        {
            "name": one.comparison.name,
            "title": one.comparison.title,
            "target": one.comparison.target,
            "met": one.met,
            "ratio": one.ratio,
            "round_ratios": one.round_ratios,
            "users_per_second": dict(zip(("product", "drt"), one.rates, strict=True)),
            "rounds": [
                {"product": asdict(product), "drt": asdict(drt)} for product, drt in one.rounds
            ],
        }
        for one in compared
    ]
