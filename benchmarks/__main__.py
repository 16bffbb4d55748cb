"""`python -m benchmarks`: measure the program, print a table and write a JSON file."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import engines, ingest, ingest_figures, machine, peer, query, window, window_figures
from benchmarks.cases import CASES, GROUPS
from benchmarks.ingest_runs import Place
from benchmarks.measure import LATENCY_SECONDS, measure
from benchmarks.peer_environment import PeerError, drt_folder
from benchmarks.report import Line, as_json, comparison, figures_by_case, table
from benchmarks.sources import DATABASES, open_source
from sandbox.private_mysql import NONE_INSTALLED, NoServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.cases import Case
    from benchmarks.sources import Source

OUTPUT_DIR = Path("bench_output")
QUERY_CASE = "query"
PEER_CASE = "peer"
ENGINES_CASE = "engines"
QUERY_TITLE = "Query 2 beside other indexes, 500,000 customers, 5,000,000 views (minutes to load)"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    names = [*GROUPS, *(case.name for case in CASES), QUERY_CASE, PEER_CASE]
    names += [ENGINES_CASE]
    names += [*ingest.TITLES, *window.TITLES]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Runs main.py against a mock Iterable server with 50 ms of latency, and cli.py."
        " Exit code 1: a user was lost, or a target was missed.",
    )
    add = parser.add_argument
    add("--case", action="append", choices=names, metavar="NAME", help="only this; repeatable")
    add("--users", type=int, metavar="N", help="another size for all cases; nothing is judged")
    add("--views", type=int, metavar="N", help="another number of page views: ingest, window")
    add("--customers", type=int, metavar="N", help="another number of customers for the window")
    add(
        "--runs",
        type=int,
        metavar="N",
        help=f"runs of each case, for medians [1; peer and pairs of deliveries: {peer.RUNS}]",
    )
    add("--database", choices=DATABASES, default="auto", help="auto: a server if one is installed")
    add("--output-dir", type=Path, default=OUTPUT_DIR, metavar="DIR", help=f"[{OUTPUT_DIR}]")
    add("--list", action="store_true", help="show the cases")
    add("--compare", nargs=2, type=Path, metavar=("OLD", "NEW"), help="two JSONs of this program")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or show earlier results."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.list:
        titles = {case.name: case.title for case in CASES}
        titles |= {QUERY_CASE: QUERY_TITLE, PEER_CASE: peer.TITLE, ENGINES_CASE: engines.TITLE}
        titles |= ingest.TITLES
        titles |= window.TITLES
        show([f"{name:17} {title}" for name, title in titles.items()])
        return 0
    if options.compare:
        old, new = (json.loads(path.read_text(encoding="utf-8")) for path in options.compare)
        show(comparison(old, new))
        return 0
    try:
        return run(options)
    except (NoServerError, PeerError) as error:
        parser.exit(1, f"{error}\n")


def run(options: argparse.Namespace) -> int:
    """Measure the chosen cases and save the results."""
    options.output_dir.mkdir(parents=True, exist_ok=True)
    facts = machine.facts()
    with ExitStack() as cleanup:
        source = cleanup.enter_context(open_source(options.database))
        show([f"Database: {source.name}; {facts['cores']} cores; latency {LATENCY_SECONDS:g} s"])
        if source.server is None and options.database == "auto":
            show([f"Reading from SQLite, since there is {NONE_INSTALLED}"])
        lines = [measured(case, options, source) for case in chosen(options.case or [])]
        indexes = measured_indexes(source) if QUERY_CASE in (options.case or []) else []
        compared = compared_with_peer(options, source) if PEER_CASE in (options.case or []) else []
        by_engine = measured_engines(options, source)
        ingested = measured_ingest(options, source) if ingest.is_chosen(options.case or []) else []
        windows = measured_window(options, source) if window.is_chosen(options.case or []) else []
    results: dict[str, Any] = {"machine": facts | {"database": source.name}}
    results |= {"latency_seconds": LATENCY_SECONDS, "cases": as_json(lines)}
    results["query"] = [asdict(index) for index in indexes]
    results["engines"] = [asdict(one) for one in by_engine]
    results["peer"] = peer.as_json(compared)
    results["ingest"] = ingest_figures.as_json(ingested)
    results["window"] = window_figures.as_json(windows)
    file = options.output_dir / f"bench_{datetime.now().astimezone():%Y%m%d_%H%M%S}.json"
    file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    show(["", *(table(lines) if lines else []), *(query.lines(indexes) if indexes else [])])
    show(engines.lines(by_engine) if by_engine else [])
    show(peer.table(compared) if compared else [])
    show(ingest_figures.table(ingested))
    show(window_figures.table(windows))
    show(["", f"Figures of every run: {file}"])
    met = [all_targets_met(lines), not indexes or query.is_met(indexes), peer.all_met(compared)]
    met += [ingest_figures.all_met(ingested), window_figures.all_right(windows)]
    met.append(not by_engine or engines.is_met(by_engine))
    return 0 if all(met) else 1


def chosen(names: Sequence[str]) -> list[Case]:
    """The cases with these names, in the table's order; all of them when none is named."""
    wanted = {member for name in names for member in GROUPS.get(name, (name,))}
    return [case for case in CASES if not names or case.name in wanted]


def measured(case: Case, options: argparse.Namespace, source: Source) -> Line:
    """Run a case the given number of times, each in an empty folder."""
    users = case.scaled(options.users)
    runs = []
    count = options.runs or case.min_runs
    for number in range(1, count + 1):
        show([f"{case.name}: {case.title}, {users:,} users, run {number} of {count} ..."])
        # Next to the results and not in /tmp, which may be memory: the journal is part of it.
        with tempfile.TemporaryDirectory(dir=options.output_dir.resolve()) as folder:
            runs.append(measure(case, users, source, Path(folder)))
    return Line(case, runs, judged=users == case.users)


def measured_indexes(source: Source) -> list[query.IndexFigures]:
    """Query 2 with the shipped index and with others.

    Raises:
        NoServerError: it needs a server.
    """
    if source.server is None:
        raise NoServerError(NONE_INSTALLED)
    show([f"{QUERY_CASE}: {QUERY_TITLE} ..."])
    return query.measure_indexes(source.server)


def compared_with_peer(options: argparse.Namespace, source: Source) -> list[peer.Compared]:
    """The program and drt in turn.

    Raises:
        NoServerError: it needs a server.
        PeerError: drt cannot be installed.
    """
    if source.server is None:
        raise NoServerError(NONE_INSTALLED)
    show([f"{PEER_CASE}: {peer.TITLE} ..."])
    runs = options.runs or peer.RUNS
    folder = options.output_dir
    setting = peer.Setting(source, drt_folder(folder), folder)
    return peer.compare_all(setting, runs, options.users, show)


def measured_engines(options: argparse.Namespace, source: Source) -> list[engines.EngineFigures]:
    """Query 2 from each engine.

    Raises:
        NoServerError: it needs both servers.
    """
    if ENGINES_CASE not in (options.case or []):
        return []
    return engines.measure_engines(source, options.output_dir, options.users, options.runs, show)


def measured_ingest(options: argparse.Namespace, source: Source) -> list[ingest_figures.Line]:
    """`cli.py run`, beside LOAD DATA and dlt.

    Raises:
        NoServerError: it needs a server.
        PeerError: dlt cannot be installed.
    """
    if source.server is None:
        raise NoServerError(NONE_INSTALLED)
    place = Place(source, source.server, options.output_dir, show)
    sizes = ingest.sizes_for(options.users, options.views)
    return ingest.measure_ingest(place, options.case, sizes, options.runs or ingest.RUNS)


def measured_window(options: argparse.Namespace, source: Source) -> list[window_figures.Line]:
    """`cli.py serve` with many rows, runs and users.

    Raises:
        NoServerError: it needs a server.
    """
    if source.server is None:
        raise NoServerError(NONE_INSTALLED)
    place = Place(source, source.server, options.output_dir, show)
    sizes = window.sizes_for(options.customers, options.views, options.users)
    return window.measure_window(place, options.case, sizes, options.runs)


def all_targets_met(lines: Sequence[Line]) -> bool:
    """Whether no user was lost and no target was missed."""
    all_figures = figures_by_case(lines)
    return all(not line.figures.problems and line.met(all_figures) is not False for line in lines)


def show(lines: Sequence[str]) -> None:
    """Print immediately, without buffering."""
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    sys.exit(main())
