"""The benchmark of the window runs and reports wrong answers. No test here asserts a speed."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import window
from benchmarks.ingest_runs import Place
from benchmarks.sources import Source
from benchmarks.window_journal import FAILED_EVERY, outcome_at, write_journal
from benchmarks.window_pages import wrong_story
from benchmarks.window_rows import walk
from integration.journal.queries import count_outcomes, recent_runs
from integration.journal.read_only import ReadOnlyJournal
from sandbox.private_mysql import NONE_INSTALLED, find_server
from tests.support.mysql_server import missing

if TYPE_CHECKING:
    from tests.support.mysql_server import MySQLServer

ROOT = Path(__file__).resolve().parents[2]
LINES = [
    *("data-ruler", "data-ruler-sources", "data-first", "data-begin", "data-middle", "data-end"),
    *("data-search", "data-search-last", "data-source", "data-depth"),
    *("export-csv", "export-ndjson", "pages-health", "pages-health-fresh", "pages-stats"),
    *("pages-stats-fresh", "pages-home", "pages-home-fresh", "person-1", "person"),
    *("person-1-pruned", "person-pruned", "delivery-alone", "delivery-beside"),
]
WITHOUT_LATENCY = ("data-ruler", "export", "delivery")


def test_the_window_is_measured_and_its_answers_are_checked(tmp_path: Path) -> None:
    """`cli.py serve` in all its parts: rows by cursor, pages, stories, exports, a delivery."""
    if find_server() is None:
        missing(NONE_INSTALLED)
    sizes = ("--customers=1500", "--views=3000", "--users=200", "--runs=1")
    command = [sys.executable, "-m", "benchmarks", f"--output-dir={tmp_path}", "--case=window"]
    done = subprocess.run(
        [*command, *sizes], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "WRONG" not in done.stdout
    (results,) = tmp_path.iterdir()
    lines = json.loads(results.read_text())["window"]
    runs = {line["name"]: line["runs"][0] for line in lines}
    assert list(runs) == LINES
    assert [name for name, run in runs.items() if "latency_ms" not in run] == [
        name for name in LINES if name.startswith(WITHOUT_LATENCY)
    ]
    assert [runs[name]["count"] for name in ("export-csv", "export-ndjson")] == [1500, 1500]
    assert runs["export-csv"]["peak_bytes"] > 10_000_000
    assert {line["met"] for line in lines} == {None}


def test_wrong_rows_and_stories_are_problems(tmp_path: Path, mysql_server: MySQLServer) -> None:
    """Each customer is found once by cursor, and each of their deliveries in their story."""
    place = Place(Source(mysql_server, "a server"), mysql_server, tmp_path, show=print)
    sizes = window.sizes_for(1_200, 2_400, None)
    with ExitStack() as cleanup:
        loaded = window.load(place, sizes, cleanup)
        write_journal(loaded.folder / "two.db", 2, sizes.person_users, 1)
        service = cleanup.enter_context(loaded.serving("two.db"))

        assert walk(service.port, 1_200, {}).problems == []
        assert walk(service.port, 1_201, {}).problems == ["1,200 rows by cursor instead of 1,201"]
        assert walk(service.port, 0, {"source": "none"}).problems == [
            "a page without rows after 0: None"
        ]
        (two_of_sixty,) = wrong_story(service, sizes, FAILED_EVERY)
        assert two_of_sixty == (
            "customer.0000997@example.com: 2 deliveries, [('delivery-2', 'partial')] first"
        )


def test_the_journal_has_the_same_users_in_all_runs(tmp_path: Path) -> None:
    """Copies by SQL are whole runs: counts, times and outcomes like those of the first."""
    write_journal(tmp_path / "journal.db", runs=3, users=2_000, distance=2)
    journal = ReadOnlyJournal.open(tmp_path / "journal.db")
    assert journal is not None
    with journal:
        runs = recent_runs(journal, 10)
        assert [run.number for run in runs] == [3, 2, 1]
        assert len({run.started_at for run in runs}) == len({run.run_id for run in runs}) == 3
        for run in runs:
            counts = count_outcomes(journal, run.number)
            assert (counts.successful, counts.partial_failures) == (1_998, 2)
            groups = journal.all(
                "SELECT users_update_status, events_track_status, users FROM outcome_counts"
                " WHERE run = ? ORDER BY users",
                (run.number,),
            )
            assert groups == [(1, 0, 2), (1, 1, 1_998)]
    assert [outcome_at(position) for position in (996, 997)] == ["successful", "partial"]
    assert [path.name for path in tmp_path.iterdir()] == ["journal.db"]
