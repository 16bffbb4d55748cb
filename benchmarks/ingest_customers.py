"""Customers from CSV: `cli.py run` beside LOAD DATA, the ruler, and beside dlt, in turn.

A round is the ruler, a first load, a load of the same customers from another file, a load in which
all have changed, each into the tables of the one before; then dlt, with tables of its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.dlt_runs import SETUPS, load_twice
from benchmarks.ingest_figures import Line, Target
from benchmarks.ingest_files import write_customers
from benchmarks.ingest_runs import CUSTOMERS, Counts, measure_ruler, run_ingest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.ingest_figures import Cost
    from benchmarks.ingest_files import Table
    from benchmarks.ingest_runs import Place

# The same customers with their columns in this order are another file, which has to be read.
_REORDERED = ("id", "email", "last_name", "first_name", "plan_type", "candidate")
MIN_RATIO_TO_DLT = 2.5


class Files(NamedTuple):
    """The files of all rounds."""

    first: Table
    unchanged: Table
    changed: Table


class Kind(NamedTuple):
    """What a line of the table is.

    `compared_with`: the line whose rate its ratio refers to. `is_dlt`: the ratio is then how many
    times as fast that line is.
    """

    title: str
    compared_with: str | None = None
    target: Target | None = None
    is_dlt: bool = False


def _at_least(rate: int, ratio: float) -> Target:
    text = f">= {rate:,} rows/s, >= {ratio} x ruler"
    return Target(text, lambda line: line.rate >= rate and line.ratio >= ratio)


_FASTER_THAN_DLT = Target(
    f">= {MIN_RATIO_TO_DLT} x dlt", lambda line: line.ratio >= MIN_RATIO_TO_DLT
)


def _kinds_of_dlt() -> Iterator[tuple[str, Kind]]:
    for setup in SETUPS:
        target = _FASTER_THAN_DLT if setup.name == "key" else None
        again = "its second load, of the same file"
        yield f"dlt-{setup.name}", Kind(setup.title, "first", target, is_dlt=True)
        yield f"dlt-{setup.name}-again", Kind(again, "unchanged", is_dlt=True)


KINDS: Mapping[str, Kind] = {
    "ruler": Kind("LOAD DATA LOCAL INFILE into a stage table, then INSERT ... SELECT"),
    "first": Kind("a first load into empty tables", "ruler", _at_least(40_000, 0.25)),
    "unchanged": Kind("the same customers, in another file", "ruler", _at_least(100_000, 0.55)),
    "changed": Kind("all customers have changed", "ruler", _at_least(35_000, 0.3)),
    **dict(_kinds_of_dlt()),
}


def measure_customers(
    place: Place, count: int, rounds: int, dlt: Path | None, *, judged: bool
) -> list[Line]:
    """Measure this many rounds; `dlt`: the commands of its environment, or without it."""
    with place.new_folder() as folder:
        files = write_files(folder, count)
        found: dict[str, list[Cost]] = {}
        for number in range(1, rounds + 1):
            for name, cost in _round(place, files, dlt):
                place.show([f"customers, round {number} of {rounds}: {name} {cost.seconds:.1f} s"])
                found.setdefault(name, []).append(cost)
    return lines_of(found, judged=judged)


def write_files(folder: Path, count: int) -> Files:
    """The same customers twice, in different files, and all of them changed."""
    return Files(
        write_customers(folder / "first.csv", count),
        write_customers(folder / "unchanged.csv", count, columns=_REORDERED),
        write_customers(folder / "changed.csv", count, changed=True),
    )


def _round(place: Place, files: Files, dlt: Path | None) -> Iterator[tuple[str, Cost]]:
    yield "ruler", measure_ruler(place, files.first)
    yield from _three_runs(place, files)
    for setup in SETUPS if dlt else ():
        assert dlt is not None
        with place.new_folder() as folder:
            first, second = load_twice(place, dlt, setup, files.first, folder)
        yield f"dlt-{setup.name}", first
        yield f"dlt-{setup.name}-again", second


def _three_runs(place: Place, files: Files) -> Iterator[tuple[str, Cost]]:
    rows = files.first.rows
    runs = (
        ("first", files.first, Counts(rows, inserted=rows)),
        ("unchanged", files.unchanged, Counts(rows, unchanged=rows)),
        ("changed", files.changed, Counts(rows, updated=rows)),
    )
    with place.database() as name, place.new_folder() as folder:
        (folder / "sources.toml").write_text(CUSTOMERS, encoding="utf-8")
        for line, table, counts in runs:
            (folder / "customers.csv").unlink(missing_ok=True)
            os.link(table.file, folder / "customers.csv")
            yield line, run_ingest(place, name, folder, counts, expected=[table])


def lines_of(found: Mapping[str, Sequence[Cost]], *, judged: bool) -> list[Line]:
    """The lines of the table, from the costs of all rounds by the names in `KINDS`."""
    return [_line(name, found, judged=judged) for name in found]


def _line(name: str, found: Mapping[str, Sequence[Cost]], *, judged: bool) -> Line:
    kind = KINDS[name]
    ratios: list[float] = []
    if kind.compared_with:
        pairs = zip(found[name], found[kind.compared_with], strict=True)
        ratios = [
            other.rate / own.rate if kind.is_dlt else own.rate / other.rate for own, other in pairs
        ]
    shown = name if kind.is_dlt else f"customers-{name}"
    return Line(shown, kind.title, found[name], ratios, kind.target, judged)
