"""Reports of the figures: the table, the JSON, and the comparison of two JSONs. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.cases import Case

BUSY_MACHINE = 0.10
_HEADINGS = (
    "case", "users", "start s", "users/s", "of ceiling", "whole run/s", "spread", "CPU us/user",
    "peak MB", "journal B/user", "429s", "target", "met",
)  # fmt: skip
LEGEND = (
    "start s      time from the process's start to the first write call",
    "users/s      users / time from the first to the last write call, as the sandbox saw them come",
    "of ceiling   users/s / the published limits: 500 users/s singly, 5,000 in bulk",
    "whole run/s  users / time of the process from start to exit: database, CSV, journal, JSON too",
    "spread       of whole run/s: (highest - lowest) / median of the runs",
    "CPU, peak    of the process, user and system time, and its largest resident memory",
    "journal      growth of the journal's file",
)


@dataclass(frozen=True)
class Line:
    """A case's runs; `judged` if they have the size that the target applies to."""

    case: Case
    runs: Sequence[Figures]
    judged: bool

    @property
    def figures(self) -> Figures:
        """The medians of the runs, for each figure; problems and noise of all of them."""
        values: dict[str, Any] = {}
        for field in fields(Figures):
            per_run = [getattr(run, field.name) for run in self.runs]
            if field.name == "problems":
                values["problems"] = tuple(problem for found in per_run for problem in found)
            elif None in per_run:
                values[field.name] = None
            else:
                values[field.name] = median(per_run)
        return Figures(**values)

    @property
    def spread(self) -> float:
        """The range of the runs, as a share of their median."""
        rates = [run.run_rate for run in self.runs]
        return (max(rates) - min(rates)) / median(rates)

    def met(self, all_figures: Mapping[str, Figures]) -> bool | None:
        """Whether the target was met; None without a target."""
        if not self.judged or self.case.target is None:
            return None
        return not self.figures.problems and self.case.target.is_met(all_figures)


def figures_by_case(lines: Sequence[Line]) -> dict[str, Figures]:
    """The medians by the cases' names."""
    return {line.case.name: line.figures for line in lines}


def table(lines: Sequence[Line]) -> list[str]:
    """The table, its legend, and any problems."""
    all_figures = figures_by_case(lines)
    rows = [_HEADINGS, *(_row(line, line.met(all_figures)) for line in lines)]
    return [*aligned(rows), "", *LEGEND, *_remarks(lines)]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their longest cell, with numbers right aligned."""
    columns = [_column(cells) for cells in zip(*rows, strict=True)]
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def _column(cells: Sequence[str]) -> list[str]:
    width = max(map(len, cells))
    numbers = all(cell.lstrip("<> ")[:1].isdigit() or cell == "-" for cell in cells[1:])
    return [cell.rjust(width) if numbers else cell.ljust(width) for cell in cells]


def _row(line: Line, met: bool | None) -> tuple[str, ...]:  # noqa: FBT001  a cell
    case, figures = line.case, line.figures
    return (
        case.name,
        f"{figures.users:,.0f}",
        f"{figures.start_seconds:.2f}" if figures.delivery_seconds else "-",
        rate_text(figures.delivery_rate) if figures.delivery_seconds else "-",
        f"{figures.delivery_rate / case.ceiling:.1%}" if case.ceiling else "-",
        rate_text(figures.run_rate),
        f"{line.spread:.0%}" if len(line.runs) > 1 else "-",
        f"{figures.cpu_per_user * 1e6:,.0f}",
        f"{figures.peak_bytes / 1e6:.0f}",
        f"{figures.journal_bytes / figures.users:.0f}" if case.is_program else "-",
        f"{figures.refused_429:.0f}",
        case.target.text if case.target else "-",
        {True: "met", False: "NOT MET", None: "-"}[met],
    )


def rate_text(users_per_second: float) -> str:
    """Users per second as a cell."""
    return f"{users_per_second:,.0f}" if users_per_second >= 100 else f"{users_per_second:.1f}"


def _remarks(lines: Sequence[Line]) -> list[str]:
    remarks = [
        f"WRONG: {line.case.name}: {problem}"
        for line in lines
        for problem in sorted(set(line.figures.problems))
    ]
    for line in lines:
        worst = max((run.busy_elsewhere or 0.0 for run in line.runs), default=0.0)
        if worst > BUSY_MACHINE:
            remarks.append(
                f"Noise: others used {worst:.0%} of the machine in a run of {line.case.name}"
            )
    return ["", *remarks] if remarks else []


def as_json(lines: Sequence[Line]) -> dict[str, Any]:
    """Every run and the medians, by case."""
    all_figures = figures_by_case(lines)
    return {
        line.case.name: {
            "title": line.case.title,
            "target": line.case.target.text if line.case.target else None,
            "met": line.met(all_figures),
            "ceiling": line.case.ceiling,
            "median": _with_rates(line.figures),
            "runs": [_with_rates(run) for run in line.runs],
        }
        for line in lines
    }


def _with_rates(figures: Figures) -> dict[str, Any]:
    return asdict(figures) | {
        "delivery_rate": figures.delivery_rate,
        "run_rate": figures.run_rate,
        "cpu_per_user": figures.cpu_per_user,
    }


COMPARED = {
    "start": "start_seconds",
    "users/s": "delivery_rate",
    "whole run/s": "run_rate",
    "CPU/user": "cpu_per_user",
    "peak": "peak_bytes",
}


def comparison(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """New divided by old, case by case, and the differences in machine and versions."""
    rows: list[tuple[str, ...]] = [("case", *COMPARED, "429s")]
    for name, case in new["cases"].items():
        if name not in old["cases"]:
            continue
        before, after = old["cases"][name]["median"], case["median"]
        if before["users"] != after["users"]:
            rows.append((name, *("other size" for _ in COMPARED), "-"))
            continue
        ratios = (_ratio(after, before, field) for field in COMPARED.values())
        rows.append((name, *ratios, f"{before['refused_429']:.0f} -> {after['refused_429']:.0f}"))
    here, there = new["machine"], old["machine"]
    differing = [
        f"{fact}: {there.get(fact)} -> {here[fact]}"
        for fact in here
        if fact not in {"at", "load_before"} and here[fact] != there.get(fact)
    ]
    heading = f"{there['at']} -> {here['at']}: new / old"
    return [heading, *aligned(rows), *differing]


def _ratio(after: Mapping[str, Any], before: Mapping[str, Any], field: str) -> str:
    # A JSON of an earlier version may lack the field.
    return f"{after[field] / before[field]:.2f} x" if field in before else "-"
