"""The benchmarks still run and report lost users. No test here asserts a speed."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import ingest, one_call, window
from benchmarks.cases import CASES
from benchmarks.ingest_files import write_customers
from benchmarks.ingest_runs import CUSTOMERS, Counts, Place, run_ingest, stored_wrongly
from benchmarks.measure import Figures, measure
from benchmarks.outcome import count_csv, problems_at_iterable, problems_of_run, read_results
from benchmarks.people import people
from benchmarks.query import INDEXES, measure_indexes, reads_all_views
from benchmarks.report import Line, aligned, as_json, comparison, table
from benchmarks.sources import Source
from sandbox.private_mysql import NONE_INSTALLED, find_server
from tests.support.mysql_server import missing
from tests.support.runs import Customer, database_of, environment_for, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.process import SandboxProcess
    from tests.support.mysql_server import MySQLServer

ROOT = Path(__file__).resolve().parents[2]
RECORD = '    {"email":"a@example.com","overall_success":true}'
HEAD = '{\n  "total_users": 2,\n  "records": [\n'
TAIL = "  ]\n}\n"


def benchmark(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run the real command; returns the process and the JSON file that it wrote."""
    command = [sys.executable, "-m", "benchmarks", f"--output-dir={folder}", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    files = list(folder.glob("bench_*.json"))
    return done, json.loads(files[0].read_text()) if files else None


def figures(**changes: Any) -> Figures:
    """A run that meets every target."""
    values: dict[str, Any] = {
        "users": 10_000,
        "seconds": 20.0,
        "start_seconds": 0.3,
        "delivery_seconds": 20.0,
        "cpu_seconds": 8.0,
        "server_cpu_seconds": 2.0,
        "peak_bytes": 60_000_000,
        "journal_bytes": 1_000_000,
        "calls": 20_000,
        "refused_429": 0,
        "busy_elsewhere": None,
        "problems": (),
    }
    return Figures(**values | changes)


def line(name: str, *runs: Figures, judged: bool = True) -> Line:
    """These runs as the line of one case."""
    case = next(case for case in CASES if case.name == name)
    return Line(case, runs, judged)


def test_the_real_program_is_measured_in_both_modes_and_no_user_is_lost(tmp_path: Path) -> None:
    """`python -m benchmarks` runs main.py, checks its files, prints a table and writes a JSON."""
    cases = ("--case=single", "--case=bulk-unlimited")
    done, results = benchmark(tmp_path, *cases, "--users=300", "--runs=2", "--database=sqlite")

    assert (done.returncode, done.stderr) == (0, "")
    assert "WRONG" not in done.stdout
    # On a machine that stalls, calls bunch up and Iterable rejects one of them.
    assert {
        name: case["median"]["calls"] - case["median"]["refused_429"]
        for name, case in results["cases"].items()
    } == {"single": 600, "bulk-unlimited": 2}
    for case in results["cases"].values():
        assert [run["users"] for run in case["runs"]] == [300, 300]
        assert case["median"]["cpu_seconds"] > 0
        assert 0 < case["median"]["start_seconds"] < case["median"]["seconds"]
        assert case["median"]["peak_bytes"] > 10_000_000
        assert case["met"] is None
    assert results["machine"]["database"].startswith("SQLite")
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_plain_loops_deliver_every_user(tmp_path: Path) -> None:
    """The loops that the program is compared with make both calls for every user, and succeed."""
    done, results = benchmark(
        tmp_path, "--case=plain-loop", "--case=session-loop", "--users=3", "--database=sqlite"
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert [case["median"]["calls"] for case in results["cases"].values()] == [6, 6]


def test_the_ingest_is_measured_and_its_rows_are_checked(tmp_path: Path) -> None:
    """`cli.py run` on CSV files and an API, beside LOAD DATA; dlt is not installed by a test."""
    if find_server() is None:
        missing(NONE_INSTALLED)
    cases = [f"--case={name}" for name in ingest.TITLES if name not in {ingest.CASE, ingest.DLT}]
    done, results = benchmark(tmp_path, *cases, "--users=300", "--views=500", "--runs=1")

    assert (done.returncode, done.stderr) == (0, "")
    assert "WRONG" not in done.stdout
    runs = {line["name"]: line["runs"][0] for line in results["ingest"]}
    assert {name: run["rows"] for name, run in runs.items()} == {
        "customers-ruler": 300,
        "customers-first": 300,
        "customers-unchanged": 300,
        "customers-changed": 300,
        "views-small": 500,
        "views-first": 500,
        "views-again": 0,
        "views-memory": 500,
        "http-ruler": 300,
        "http": 300,
    }
    assert all(run["peak_bytes"] > 10_000_000 for name, run in runs.items() if "ruler" not in name)
    assert {line["met"] for line in results["ingest"]} == {None}
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_rows_that_are_lost_or_wrong_and_counts_are_problems(
    tmp_path: Path, mysql_server: MySQLServer
) -> None:
    """Tables must have exactly the rows of the file, and the counts of the run their number."""
    place = Place(Source(mysql_server, "a server"), mysql_server, tmp_path, show=print)
    table = write_customers(tmp_path / "some.csv", 3)
    with place.database() as name, place.new_folder() as folder:
        (folder / "sources.toml").write_text(CUSTOMERS)
        (folder / "customers.csv").write_bytes(table.file.read_bytes())
        cost = run_ingest(place, name, folder, Counts(3, inserted=3), expected=[table])
        assert cost.problems == ()

        mysql_server.run("UPDATE customers SET first_name = 'X' WHERE id = 2", name=name)
        assert stored_wrongly(mysql_server, name, table) == [
            "3 rows in customers instead of 3, another checksum"
        ]
        (folder / "customers.csv").write_text("id,email,plan_type\n4,no address,pro\n")
        cost = run_ingest(place, name, folder, Counts(1, inserted=1), expected=[table])
        exit_code, counted, stored = cost.problems
        assert exit_code == "exit code 1"
        assert counted == f"counted {Counts(1, rejected=1)}, expected {Counts(1, inserted=1)}"
        assert stored == "3 rows in customers instead of 3, another checksum"


def test_the_cost_of_one_call_is_measured_for_each_client(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """requests.post, Session.post with and without the environment, and the program's client."""
    assert one_call.main(calls=3) == 0
    (heading, *rows) = capsys.readouterr().out.splitlines()
    assert heading.split() == ["way", "CPU", "us/call", "ratio"]
    assert [row[0] for row in rows] == ["r", "S", "t", "T"]
    assert rows[-1].split()[0] == "Transport.send"
    assert rows[-1].split()[-1] == "1.0"


def test_the_cases_are_listed() -> None:
    """`--list` prints every case and measures nothing."""
    command = [sys.executable, "-m", "benchmarks", "--list"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = [text.split()[0] for text in done.stdout.splitlines()]
    parts = ["engines", *ingest.TITLES, *window.TITLES]
    assert names == [*(case.name for case in CASES), "query", "peer", *parts]


def test_customers_are_reproducible_and_unique() -> None:
    """Results of two days are comparable only if the customers are the same."""
    first, second = list(people(500)), list(people(500))
    assert [one[:-1] for one in first] == [one[:-1] for one in second]
    assert len({one.email for one in first}) == 500


def test_a_lost_user_is_a_problem(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Files and sandbox are counted, so a fast run that loses users is reported as wrong."""
    file = database_of(tmp_path / "some.db", [Customer("a@example.com"), Customer("no address")])
    run(tmp_path, environment_for(tmp_path, sandbox, file))

    assert list(problems_of_run(tmp_path, 2, "successful")) == [
        "results file: 2 records, 1 of them successful",
        "1 users delivered in the journal",
    ]
    assert list(problems_at_iterable(sandbox.stats(), 2)) == [
        "1 users in the sandbox",
        "1 events in the sandbox",
    ]


def test_records_that_contradict_the_counts_are_a_problem(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """The head's counts are not trusted: the records are counted too."""
    file = database_of(tmp_path / "some.db", ["a@example.com", "b@example.com"])
    run(tmp_path, environment_for(tmp_path, sandbox, file))
    assert list(problems_of_run(tmp_path, 2, "successful")) == []

    (results,) = tmp_path.glob("integration_results_*.json")
    results.write_text(results.read_text().replace('"overall_success":true', '"overall_success":1'))
    assert list(problems_of_run(tmp_path, 2, "successful")) == [
        "results file: 2 records, 0 of them successful"
    ]


def test_a_measured_run_names_the_lost_users(tmp_path: Path) -> None:
    """A figure is always reported with the problems of its run."""

    class SourceWithABadAddress(Source):
        @contextmanager
        def with_users(self, count: int, folder: Path) -> Iterator[dict[str, str]]:
            emails = ["no address", *(f"{number}@example.com" for number in range(count - 1))]
            yield {"DB_ENGINE": "sqlite", "DB_NAME": str(database_of(folder / "some.db", emails))}

    case = next(case for case in CASES if case.name == "bulk-unlimited")
    measured = measure(case, 3, SourceWithABadAddress(None, "a file"), tmp_path)

    assert measured.users == 3
    assert "2 users in the sandbox" in measured.problems
    assert "exit code 1" in measured.problems
    assert "results file: 3 records, 2 of them successful" in measured.problems


def test_a_larger_size_does_not_apply_to_the_slow_loops() -> None:
    """200,000 users in a loop would take hours."""
    loop = next(case for case in CASES if not case.is_program)
    assert (loop.scaled(3), loop.scaled(200_000)) == (3, loop.users)
    program = next(case for case in CASES if case.is_program)
    assert program.scaled(200_000) == 200_000


def test_a_results_file_is_read_record_by_record(tmp_path: Path) -> None:
    """Reads the head and counts records and successes, without loading the whole file."""
    file = tmp_path / "results.json"
    file.write_text(f"{HEAD}{RECORD},\n{RECORD.replace('true', 'false')}\n{TAIL}")
    assert read_results(file) == ({"total_users": 2, "records": []}, 2, 1)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"{HEAD}{RECORD}\n{RECORD}\n{TAIL}", id="no comma between records"),
        pytest.param(f"{HEAD}{RECORD},\n{TAIL}", id="a comma after the last record"),
        pytest.param(f"{HEAD}{RECORD},\n    {{no json}}\n{TAIL}", id="a record that is no JSON"),
        pytest.param(f"{HEAD}{RECORD}\n  ]\n", id="an end that is missing"),
        pytest.param('{\n  "total_users": 2\n}\n', id="no records at all"),
    ],
)
def test_a_results_file_that_is_not_json_is_rejected(tmp_path: Path, content: str) -> None:
    """What json.loads rejects is rejected here too."""
    file = tmp_path / "results.json"
    file.write_text(content)
    with pytest.raises(ValueError):  # noqa: PT011  the module's own or orjson's
        read_results(file)


def test_csv_rows_are_counted_not_lines(tmp_path: Path) -> None:
    """A cell may contain a line break."""
    file = tmp_path / "rows.csv"
    file.write_text('id,name\r\n1,"a\nb"\r\n', newline="")
    assert count_csv(file) == 1


@pytest.mark.parametrize(
    ("name", "measured", "met"),
    [
        ("single", figures(), True),
        ("single", figures(delivery_seconds=21.1), False),
        ("single", figures(refused_429=1), False),
        ("single", figures(problems=("1 users in the sandbox",)), False),
        ("start", figures(start_seconds=0.34), True),
        ("start", figures(start_seconds=0.35), False),
        ("bulk-unlimited", figures(seconds=0.6), True),
        ("bulk-unlimited", figures(seconds=0.7), False),
    ],
)
def test_a_target_needs_the_speed_no_429_and_no_user_lost(
    name: str, measured: Figures, met: bool
) -> None:
    """95 % of the ceiling, 0.35 s to the first call, 15,000 users/s."""
    judged = line(name, measured)
    assert judged.met({name: measured}) is met
    assert ("NOT MET" in table([judged])[1]) is not met


def test_memory_is_judged_by_the_ratio_and_by_the_bytes() -> None:
    """At most 1.3 times that of the small list, and under 150 MB."""
    for small, large, met in [(100, 130, True), (100, 131, False), (140, 150, False)]:
        lines = [
            line("memory-10k", figures(peak_bytes=small * 1_000_000)),
            line("memory-1m", figures(peak_bytes=large * 1_000_000)),
        ]
        assert as_json(lines)["memory-1m"]["met"] is met


def test_a_case_of_another_size_is_not_judged() -> None:
    """The targets apply to one size only."""
    assert line("single", figures(), judged=False).met({}) is None


def test_medians_and_spread_of_several_runs_are_shown() -> None:
    """Three runs of 10, 20 and 25 s: a median of 500 users/s, a spread of 120 %."""
    runs = [figures(seconds=seconds, problems=("lost",)) for seconds in (25.0, 10.0, 20.0)]
    (_, row, *rest) = table([line("memory-10k", *runs)])
    assert row.split()[5:7] == ["500", "120%"]
    assert "WRONG: memory-10k: lost" in rest


def test_load_from_other_processes_is_reported() -> None:
    """Figures from a busy machine are unreliable, and the table says so."""
    shown = table([line("single", figures(busy_elsewhere=0.25))])
    assert shown[-1] == "Noise: others used 25% of the machine in a run of single"


def test_two_days_are_compared_as_ratios() -> None:
    """New divided by old, and the differences between the machines."""
    machine = {"at": "monday", "cores": 2, "load_before": [0]}
    old = {"machine": machine, "cases": as_json([line("single", figures())])}
    later = figures(seconds=10.0, start_seconds=0.15, delivery_seconds=40.0, refused_429=3)
    new = {
        "machine": {"at": "tuesday", "cores": 4, "load_before": [1]},
        "cases": as_json([line("single", later), line("bulk", later)]),
    }
    assert comparison(old, new) == [
        "monday -> tuesday: new / old",
        "case     start  users/s  whole run/s  CPU/user    peak    429s",
        "single  0.50 x   0.50 x       2.00 x    1.00 x  1.00 x  0 -> 3",
        "cores: 2 -> 4",
    ]


def test_a_figure_that_an_old_json_lacks_is_not_compared() -> None:
    """Figures are added from version to version."""
    machine = {"at": "monday"}
    old = {"machine": machine, "cases": as_json([line("single", figures())])}
    del old["cases"]["single"]["median"]["start_seconds"]
    new = {"machine": machine, "cases": as_json([line("single", figures())])}

    assert comparison(old, new)[2].split()[:3] == ["single", "-", "1.00"]


def test_number_columns_are_right_aligned() -> None:
    """A table is read by column."""
    assert aligned([("case", "n"), ("a", "100"), ("b", "-")]) == [
        "case    n",
        "a     100",
        "b       -",
    ]


def test_query_2_is_measured_with_each_index(mysql_server: MySQLServer) -> None:
    """One table for all indexes, the same users found with each; the shipped one is first."""
    found = measure_indexes(mysql_server, customers=1_000)
    assert [one.columns for one in found] == list(INDEXES)
    assert {one.rows for one in found} == {found[0].rows}
    assert 0 < found[0].rows < 200


@pytest.mark.parametrize(
    ("steps", "whole"),
    [
        ([("c", "ref"), ("pv", "ref")], False),
        ([("c", "ALL"), ("pv", "range")], False),
        ([("<derived2>", "ALL"), ("c", "ref"), ("pv", "ALL")], True),
        ([("pv", "index"), ("c", "eq_ref")], True),
    ],
)
def test_a_plan_that_reads_all_views_is_detected(steps: list[tuple[str, str]], whole: bool) -> None:
    """Reading a whole index of the views is as bad as reading the table; other tables are fine."""
    plan = [{"table": table, "type": access} for table, access in steps]
    assert reads_all_views(plan) == whole
