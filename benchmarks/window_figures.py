"""Figures of the window: rates, latencies and targets; the table and the JSON. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.ingest_figures import ratio_text
from benchmarks.report import BUSY_MACHINE, aligned, rate_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_HEADINGS = (
    "window", "requests", "per s", "p50 ms", "p99 ms", "503s", "MB/s", "ratio", "service ms",
    "server ms", "peak MB", "load", "target", "met",
)  # fmt: skip
LEGEND = (
    "per s        requests answered; pages of the rulers; users of a delivery; rows of an export",
    "p50, p99     from a request to the last byte of its answer, as the client saw it",
    "503s         answers that say that the query took too long",
    "ratio        data: per s / that of the ruler; depth: fastest / slowest place; export: peak /",
    "             peak before it; delivery: per s beside the page / alone, pair by pair",
    "service      CPU time of the service for a request, user and system; of a ruler, its own",
    "server       the same of the database server",
    "peak MB      largest resident memory of the service so far",
    "load         load average of the machine over the last minute, at the end",
)


@dataclass(frozen=True)
class Sample:
    """What was measured at a time.

    `count`: what was done, requests unless the line says otherwise. `latencies`: seconds of each
    request. `busy_elsewhere`: the share of the machine that other programs used; None if unknown.
    """

    count: int
    seconds: float
    latencies: tuple[float, ...] = ()
    too_slow: int = 0
    received_bytes: int = 0
    service_cpu_seconds: float = 0.0
    server_cpu_seconds: float = 0.0
    peak_bytes: int = 0
    load_average: float = 0.0
    busy_elsewhere: float | None = None
    problems: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """What was done in a second."""
        return self.count / self.seconds


class Target(NamedTuple):
    """A figure in words, and whether a line meets it."""

    text: str
    is_met: Callable[[Line], bool]


@dataclass(frozen=True)
class Line:
    """The runs of one line of the table."""

    name: str
    title: str
    runs: Sequence[Sample]
    ratios: Sequence[float] = ()
    target: Target | None = None
    judged: bool = True

    @property
    def rate(self) -> float:
        """The median of the runs."""
        return median(run.rate for run in self.runs)

    @property
    def ratio(self) -> float:
        """The median of the runs, or 0 without one."""
        return median(self.ratios) if self.ratios else 0.0

    @property
    def peak_bytes(self) -> int:
        """The highest of all runs."""
        return max(run.peak_bytes for run in self.runs)

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

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latencies: the median of that of each run."""
        return median(percentile(run.latencies, percent) for run in self.runs) * 1000

    def cells(self) -> tuple[str, ...]:
        """The line of the table."""
        has_latencies = all(run.latencies for run in self.runs)
        megabytes = median(run.received_bytes / run.seconds for run in self.runs) / 1e6
        return (
            self.name,
            f"{self.runs[0].count:,}",
            rate_text(self.rate),
            f"{self.percentile_ms(50):,.1f}" if has_latencies else "-",
            f"{self.percentile_ms(99):,.1f}" if has_latencies else "-",
            f"{sum(run.too_slow for run in self.runs)}" if has_latencies else "-",
            f"{megabytes:.1f}" if megabytes else "-",
            ratio_text(self.ratio) if self.ratios else "-",
            self._cost(median(run.service_cpu_seconds / run.count for run in self.runs)),
            self._cost(median(run.server_cpu_seconds / run.count for run in self.runs)),
            f"{self.peak_bytes / 1e6:.0f}" if self.peak_bytes else "-",
            f"{max(run.load_average for run in self.runs):.1f}",
            self.target.text if self.target else "-",
            {True: "met", False: "NOT MET", None: "-"}[self.met],
        )

    @staticmethod
    def _cost(seconds: float) -> str:
        return f"{seconds * 1000:,.3f}" if seconds else "-"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    place = -int(-percent * len(ordered) // 100)
    return ordered[max(place, 1) - 1]


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


def all_right(lines: Sequence[Line]) -> bool:
    """Whether every answer was right. A target that was missed is no error: it is shown."""
    return not any(line.problems for line in lines)


def as_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Every run, the medians and the ratios; of the latencies, the percentiles."""
    return [
        {
            "name": line.name,
            "title": line.title,
            "target": line.target.text if line.target else None,
            "met": line.met,
            "per_second": line.rate,
            "ratios": list(line.ratios),
            "runs": [_sample_json(run) for run in line.runs],
        }
        for line in lines
    ]


def _sample_json(run: Sample) -> dict[str, Any]:
    shown = asdict(run)
    latencies = shown.pop("latencies")
    if latencies:
        percents = (50, 90, 99, 100)
        shown["latency_ms"] = {f"p{n}": percentile(latencies, n) * 1000 for n in percents}
    return shown
