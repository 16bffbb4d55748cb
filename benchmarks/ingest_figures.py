"""Figures of the ingest: costs, ratios and targets; the table and the JSON. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.report import BUSY_MACHINE, aligned, rate_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_HEADINGS = (
    "ingest", "rows", "seconds", "rows/s", "ratio", "rounds", "CPU us/row", "peak MB", "target",
    "met",
)  # fmt: skip
LEGEND = (
    "seconds      the whole process from start to exit; medians",
    "ratio        customers: rows/s / those of the ruler; dlt: the program's rows/s / dlt's;",
    "             views-memory: peak / that of views-small; http: of one page per latency",
    "rounds       the lowest and the highest ratio of a round",
    "CPU, peak    of the process, user and system time, and its largest resident memory",
)


@dataclass(frozen=True)
class Cost:
    """What a run of `rows` rows cost.

    `is_stopped`: it had not ended after these seconds, and its rate is the highest that it can have
    had. `busy_elsewhere`: the share of the machine that other programs used; None if unknown.
    """

    rows: int
    seconds: float
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    busy_elsewhere: float | None = None
    problems: tuple[str, ...] = ()
    is_stopped: bool = False

    @property
    def rate(self) -> float:
        """Rows per second of the whole process."""
        return self.rows / self.seconds


class Target(NamedTuple):
    """A figure in words, and whether a line meets it."""

    text: str
    is_met: Callable[[Line], bool]


@dataclass(frozen=True)
class Line:
    """The runs of one line of the table, with the ratio of each if it is compared."""

    name: str
    title: str
    runs: Sequence[Cost]
    ratios: Sequence[float] = ()
    target: Target | None = None
    judged: bool = True

    @property
    def rate(self) -> float:
        """The median rows per second."""
        return median(run.rate for run in self.runs)

    @property
    def seconds(self) -> float:
        """The median seconds."""
        return median(run.seconds for run in self.runs)

    @property
    def peak_bytes(self) -> float:
        """The highest of all runs."""
        return max(run.peak_bytes for run in self.runs)

    @property
    def ratio(self) -> float:
        """The median ratio, or 0 without one."""
        return median(self.ratios) if self.ratios else 0.0

    @property
    def problems(self) -> list[str]:
        """What is wrong with any run."""
        return sorted({f"{self.name}: {text}" for run in self.runs for text in run.problems})

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None without one, and for another size."""
        if not self.judged or self.target is None:
            return None
        return not self.problems and self.target.is_met(self)

    def cells(self) -> tuple[str, ...]:
        """The line of the table; a run that read no rows has no rate."""
        rows = self.runs[0].rows
        stopped = any(run.is_stopped for run in self.runs)
        cpu = median(run.cpu_seconds for run in self.runs)
        return (
            self.name,
            f"{rows:,}",
            f"{self.seconds:.2f}" + (" stopped" if stopped else ""),
            ("< " if stopped else "") + rate_text(self.rate) if rows else "-",
            (("> " if stopped else "") + ratio_text(self.ratio)) if self.ratios else "-",
            "-".join(map(ratio_text, _range(self.ratios))) if len(self.ratios) > 1 else "-",
            f"{cpu / rows * 1e6:,.1f}" if cpu and rows else "-",
            f"{self.peak_bytes / 1e6:.0f}" if self.peak_bytes else "-",
            self.target.text if self.target else "-",
            {True: "met", False: "NOT MET", None: "-"}[self.met],
        )


def ratio_text(ratio: float) -> str:
    """A ratio as a cell; targets have two digits after the point at most."""
    return f"{ratio:.3f}" if ratio < 1 else f"{ratio:.2f}"


def _range(ratios: Sequence[float]) -> tuple[float, float]:
    return min(ratios), max(ratios)


def table(lines: Sequence[Line]) -> list[str]:
    """The table, its legend, what the lines are, and any problems."""
    if not lines:
        return []
    titles = aligned([(line.name, line.title) for line in lines])
    wrong = [f"WRONG: {problem}" for line in lines for problem in line.problems]
    rows = [_HEADINGS, *(line.cells() for line in lines)]
    return [*aligned(rows), "", *LEGEND, "", *titles, *wrong, *_noise(lines)]


def _noise(lines: Sequence[Line]) -> Iterator[str]:
    worst = {line.name: max(run.busy_elsewhere or 0.0 for run in line.runs) for line in lines}
    noisy = [f"{name} {share:.0%}" for name, share in worst.items() if share > BUSY_MACHINE]
    if noisy:
        yield f"Noise: others used this much of the machine in a run: {', '.join(noisy)}"


def all_met(lines: Sequence[Line]) -> bool:
    """Whether nothing is wrong and no target was missed."""
    return all(not line.problems and line.met is not False for line in lines)


def as_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Every run, the medians and the ratios."""
    return [
        {
            "name": line.name,
            "title": line.title,
            "target": line.target.text if line.target else None,
            "met": line.met,
            "rows_per_second": line.rate,
            "ratio": line.ratio if line.ratios else None,
            "ratios": list(line.ratios),
            "runs": [asdict(run) for run in line.runs],
        }
        for line in lines
    ]
