"""The benchmark of the ingest: files, ratios, targets, the table; the environment of dlt."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from benchmarks import ingest, peer_environment
from benchmarks.dlt_runs import FOLDER, REQUIREMENTS, SETUPS, install_dlt
from benchmarks.ingest_api import share_of_latency
from benchmarks.ingest_customers import KINDS, lines_of, write_files
from benchmarks.ingest_figures import Cost, Line, all_met, as_json, table
from benchmarks.ingest_files import write_views
from benchmarks.ingest_views import lines_of_views

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def cost(seconds: float, rows: int = 500_000, peak_mb: int = 60, **values: object) -> Cost:
    """A run that took so long."""
    return Cost(rows, seconds, 1.0, peak_mb * 1_000_000, **values)  # type: ignore[arg-type]


def line(name: str, seconds: Mapping[str, float], *, judged: bool = True) -> Line:
    """A line of customers after one round with these seconds."""
    found = {other: [cost(taken)] for other, taken in seconds.items()}
    lines = lines_of(found, judged=judged)
    return next(line for line in lines if line.name.removeprefix("customers-") == name)


def rows_of(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_files_of_customers_are_the_same_each_time(tmp_path: Path) -> None:
    """Two runs of the benchmark load the same rows."""
    (tmp_path / "again").mkdir()
    files, again = write_files(tmp_path, 100), write_files(tmp_path / "again", 100)
    for one, other in zip(files, again, strict=True):
        assert one.file.read_bytes() == other.file.read_bytes()
        assert one.checksum == other.checksum


def test_unchanged_customers_are_in_another_file_and_changed_ones_differ_in_each_row(
    tmp_path: Path,
) -> None:
    """A file that is byte for byte the same would not be read at all."""
    files = write_files(tmp_path, 50)
    first, unchanged, changed = (rows_of(one.file) for one in files)
    assert files.first.file.read_bytes() != files.unchanged.file.read_bytes()
    assert first == unchanged
    assert files.first.checksum == files.unchanged.checksum != files.changed.checksum
    assert [one["id"] for one in first] == [one["id"] for one in changed]
    assert all(one != other for one, other in zip(first, changed, strict=True))


def test_page_views_are_unique_and_belong_to_customers_far_apart(tmp_path: Path) -> None:
    """Rows next to each other in the file are not next to each other in the index."""
    written = write_views(tmp_path / "views.csv", 1_000, customers=100)
    rows = rows_of(written.file)
    assert len({(row["email"], row["page"], row["event_time"]) for row in rows}) == 1_000
    emails = [row["email"] for row in rows]
    assert set(emails) == {f"customer.{number:07}@example.com" for number in range(1, 101)}
    assert emails[:3] == [f"customer.{number:07}@example.com" for number in (1, 20, 39)]


@pytest.mark.parametrize(
    ("name", "ruler", "taken", "met"),
    [
        ("first", 3.0, 12.0, True),
        ("first", 2.9, 12.0, False),
        ("first", 12.0, 13.0, False),
        ("unchanged", 2.76, 5.0, True),
        ("unchanged", 2.7, 5.0, False),
        ("unchanged", 5.0, 5.1, False),
        ("changed", 3.0, 10.0, True),
        ("changed", 2.9, 10.0, False),
        ("changed", 10.0, 15.0, False),
    ],
)
def test_customers_need_the_rate_and_the_ratio_to_load_data(
    name: str, ruler: float, taken: float, met: bool
) -> None:
    """500,000 rows; each of the two can be missed."""
    measured = line(name, {"ruler": ruler, name: taken})
    assert measured.met is met
    assert measured.ratio == pytest.approx(ruler / taken)


@pytest.mark.parametrize(("dlt", "met"), [(25.0, True), (24.9, False)])
def test_dlt_is_compared_with_the_load_of_the_same_round(dlt: float, met: bool) -> None:
    """The ratio is how many times as fast the program is."""
    measured = line("dlt-key", {"ruler": 3.0, "first": 10.0, "unchanged": 5.0, "dlt-key": dlt})
    assert measured.met is met
    assert measured.ratio == pytest.approx(dlt / 10)


def test_a_second_load_of_dlt_is_compared_with_unchanged_customers() -> None:
    """That is what it does; a load that was stopped is a lower limit of the ratio."""
    found = {
        "ruler": [cost(3)],
        "first": [cost(10)],
        "unchanged": [cost(5)],
        "dlt-default-again": [cost(120, is_stopped=True)],
    }
    shown = lines_of(found, judged=True)[-1].cells()
    assert shown[:5] == ("dlt-default-again", "500,000", "120.00 stopped", "< 4,167", "> 24.00")


def test_a_ratio_is_the_median_of_its_rounds() -> None:
    """Rounds are compared one by one, since the machine may be slower in one of them."""
    found = {
        "ruler": [cost(3), cost(6), cost(3)],
        "first": [cost(10), cost(20), cost(6)],
    }
    (_, first) = lines_of(found, judged=True)
    assert first.ratios == pytest.approx([0.3, 0.3, 0.5])
    assert first.cells()[4:6] == ("0.300", "0.300-0.500")


@pytest.mark.parametrize(
    ("few_mb", "many_mb", "met"), [(60, 78, True), (60, 79, False), (100, 120, False)]
)
def test_memory_is_judged_by_the_ratio_and_by_the_bytes(
    few_mb: int, many_mb: int, met: bool
) -> None:
    """At most 1.3 times that of the short file, and under 120 MB."""
    lines = lines_of_views(
        [cost(1, 10_000, few_mb)], [cost(100, 5_000_000, many_mb)], [cost(1, 0)], judged=True
    )
    assert {line.name: line.met for line in lines} == {
        "views-small": None,
        "views-first": True,
        "views-again": True,
        "views-memory": met,
    }


@pytest.mark.parametrize(("first", "again", "met"), [(166, 1.9, True), (167, 2.0, False)])
def test_page_views_have_a_rate_and_a_time_of_the_second_run(
    first: float, again: float, met: bool
) -> None:
    """30,000 rows/s; under 2 s for a file that was read before, which has no rate."""
    lines = lines_of_views([cost(1)], [cost(first, 5_000_000)], [cost(again, rows=0)], judged=True)
    assert [line.met for line in lines[1:3]] == [met, met]
    assert lines[2].cells()[3] == "-"


def test_the_share_of_the_latency_is_of_the_time_between_requests() -> None:
    """Five requests, four times 62.5 ms: an answer after 50 ms is 80 %."""
    starts = [1_000 + number * 0.0625 for number in range(5)]
    requests = [{"unix_time": time, "answered_unix_time": time + 0.05} for time in starts]
    assert share_of_latency(requests) == pytest.approx(0.8)
    assert share_of_latency(requests[:1]) == 0


def test_another_size_is_not_judged() -> None:
    """The targets are for 500,000 customers."""
    assert line("first", {"ruler": 3.0, "first": 100.0}, judged=False).met is None


def test_wrong_rows_are_reported_and_miss_the_target() -> None:
    """However fast a run was."""
    found = {"ruler": [cost(3)], "first": [cost(5, problems=("one row is missing",))]}
    lines = lines_of(found, judged=True)
    assert [one.met for one in lines] == [None, False]
    assert not all_met(lines)
    assert not all_met(lines_of(found, judged=False))
    assert "WRONG: customers-first: one row is missing" in table(lines)
    assert as_json(lines)[1]["met"] is False


def test_other_load_is_reported() -> None:
    """Figures of a busy machine are not to be trusted, but their ratios may be."""
    shown = table(lines_of({"ruler": [cost(3, busy_elsewhere=0.25)]}, judged=True))
    assert shown[-1] == (
        "Noise: others used this much of the machine in a run: customers-ruler 25%"
    )


def test_sizes_can_be_smaller() -> None:
    """`--users` and `--views`; the short file of page views is never the longer one."""
    assert ingest.sizes_for(None, None) == ingest.FULL
    assert ingest.sizes_for(300, 400) == ingest.Sizes(300, 400, 400, 300)


def test_each_setup_of_dlt_has_two_lines_and_only_one_has_a_target() -> None:
    """The target compares with rows as dictionaries and a primary key."""
    names = [name for name, kind in KINDS.items() if kind.is_dlt]
    assert names == [f"dlt-{one.name}{again}" for one in SETUPS for again in ("", "-again")]
    assert [name for name in names if KINDS[name].target] == ["dlt-key"]


def test_dlt_is_installed_into_an_environment_beside_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never into the program's own."""
    commands: list[tuple[str, ...]] = []

    def note(*command: str) -> None:
        commands.append(command)
        (tmp_path / FOLDER).mkdir(exist_ok=True)

    monkeypatch.setattr(peer_environment, "_run", note)
    assert install_dlt(tmp_path) == install_dlt(tmp_path) == tmp_path / FOLDER / "bin"
    assert [(tool, command[2]) for tool, *command in commands] == [("dlt", "venv"), ("dlt", "pip")]


def test_packages_of_dlt_are_pinned_and_its_folder_names_the_version() -> None:
    """A new version needs a new environment."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in packages)
    assert f"peer-{packages[0].replace('==', '-')}" == FOLDER
