"""The output of a run: CSV, results JSON, summary."""

from __future__ import annotations

import csv
import json
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.core.csv_lines import escape_formula
from integration.core.files import FileError
from integration.core.models import Counts, OutcomeGroup, Retries, Run
from integration.delivery.reports import (
    CSV_HEADER,
    CSV_NAME,
    RESULTS_NAME,
    CsvExport,
    results_head,
    summary_lines,
    write_csv,
    write_results,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_LINE = (
    "id,email,first_name,last_name,plan_type,candidate,page,device,browser,location,event_time"
)
RUN = Run(
    run_id="run-1",
    started_at="2026-01-13T14:30:45+00:00",
    authentication="API Key",
    csv_file="list.csv",
    results_file="results.json",
    dry_run=False,
    number=1,
    finished_at="2026-01-13T14:31:00+00:00",
    status="completed",
    stop_reason=None,
    mode="single",
    retries=Retries((("503", 2), ("timeout", 1)), 4.12345),
)
STOPPED = replace(RUN, status="stopped", stop_reason="Iterable refused the key")
COUNTS = Counts(successful=4, partial_failures=3, total_failures=2, not_attempted=1, unchanged=5)
DONE = '{"success":true,"response":{"code":"Success"},"status_code":200,"attempts":1,"error":null}'
FORMULA_STARTS = "=+-@\t\r\n"
ADA = (1, "ada@example.com")

cells = st.none() | st.text(st.characters(codec="utf-8"))
rows = st.lists(st.tuples(st.integers(), *[cells] * 10), min_size=1, max_size=5)
pages = st.lists(rows, max_size=3)
groups = st.builds(
    OutcomeGroup,
    rows=st.lists(st.tuples(st.integers(), st.none() | st.text()), min_size=1, max_size=3),
    at=st.none() | st.just("2026-01-13T14:30:45.000000+00:00"),
    users_update=st.just(DONE),
    events_track=st.just(DONE),
    success=st.booleans(),
)


def read_csv(path: Path) -> list[list[str]]:
    """The cells as a reader of the file sees them."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def as_read(value: object) -> str:
    """The documented content of a cell: the raw value, except for the apostrophe."""
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in [*FORMULA_STARTS] else text


def results_of(path: Path, given_groups: list[OutcomeGroup]) -> dict[str, Any]:
    """The results file of the stopped run with these users."""
    write_results(path, STOPPED, COUNTS, given_groups)
    results: dict[str, Any] = json.loads(path.read_bytes())
    return results


def test_the_files_have_the_documented_names() -> None:
    """The braces are replaced by a timestamp."""
    assert (CSV_NAME, RESULTS_NAME) == ("query_results_{}.csv", "integration_results_{}.json")


class TestCsv:
    """The list of users."""

    def test_the_header_is_the_documented_one(self, tmp_path: Path) -> None:
        """It is written even without users; lines end as in RFC 4180."""
        assert write_csv(tmp_path / "list.csv", []) == 0
        assert (tmp_path / "list.csv").read_bytes() == f"{HEADER_LINE}\r\n".encode()

    @given(pages)
    def test_a_reader_gets_the_raw_values_back(
        self, given_pages: list[list[tuple[object, ...]]]
    ) -> None:
        """Whatever the cells contain: quotes, commas, line breaks, emoji; NULL is empty."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "list.csv"
            count = write_csv(path, given_pages)
            header, *read = read_csv(path)
        given_rows = [row for page in given_pages for row in page]
        assert header == list(CSV_HEADER)
        assert read == [[as_read(value) for value in row] for row in given_rows]
        assert count == len(given_rows)

    @given(pages)
    def test_the_csv_of_a_load_is_the_one_that_is_written_again(
        self, given_pages: list[list[tuple[object, ...]]]
    ) -> None:
        """Byte for byte: the rows of Query 2 as they arrive, or those of the journal."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            export = CsvExport(folder / "load.csv")
            for page in given_pages:
                export.write(page)
            count = export.finish()
            assert count == write_csv(folder / "again.csv", given_pages)
            assert (folder / "load.csv").read_bytes() == (folder / "again.csv").read_bytes()

    def test_a_csv_has_its_name_when_it_is_finished(self, tmp_path: Path) -> None:
        """Until then it is a part; without an end, nothing is left."""
        path = tmp_path / "list.csv"
        for end, names in (("discard", []), ("finish", ["list.csv"])):
            export = CsvExport(path)
            export.write([[1] * 11])
            assert [entry.name for entry in tmp_path.iterdir()] == ["list.csv.part"]
            getattr(export, end)()
            assert [entry.name for entry in tmp_path.iterdir()] == names
        export.discard()
        assert path.exists()

    def test_users_of_version_1_have_the_lines_that_it_stored(self, tmp_path: Path) -> None:
        """They are not built again."""
        path = tmp_path / "list.csv"
        old = [{"csv_line": f"{number},a line of that time\r\n"} for number in (1, 2, 3)]
        assert write_csv(path, [old[:2], old[2:]]) == 3
        assert read_csv(path)[1:] == [[str(number), "a line of that time"] for number in (1, 2, 3)]

    @pytest.mark.parametrize("start", FORMULA_STARTS)
    def test_a_value_that_a_spreadsheet_would_execute_gets_an_apostrophe(self, start: str) -> None:
        """OWASP, "CSV Injection"."""
        assert escape_formula(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"

    @pytest.mark.parametrize("value", ["a=b", "'=1", "", " x", "ö", None, -1, 3.5])
    def test_any_other_value_is_unchanged(self, value: object) -> None:
        """A number is not a formula, nor is text with a sign in the middle."""
        assert escape_formula(value) is value

    def test_only_the_owner_can_read_it(self, tmp_path: Path) -> None:
        """The list contains personal data."""
        write_csv(tmp_path / "list.csv", [])
        assert stat.S_IMODE((tmp_path / "list.csv").stat().st_mode) == 0o600

    def test_interrupted_rows_leave_no_file(self, tmp_path: Path) -> None:
        """There is no partial export."""

        def broken() -> Iterator[list[list[int]]]:
            yield [[1] * 11]
            raise LookupError

        with pytest.raises(LookupError):
            write_csv(tmp_path / "list.csv", broken())
        assert list(tmp_path.iterdir()) == []


class TestResults:
    """The results file."""

    def test_it_has_the_documented_shape(self, tmp_path: Path) -> None:
        """Key by key, in the documented order."""
        results = results_of(
            tmp_path / "results.json",
            [OutcomeGroup([ADA], "2026-01-13T14:30:46+00:00", DONE, DONE, success=True)],
        )
        call = {
            "success": True,
            "response": {"code": "Success"},
            "status_code": 200,
            "attempts": 1,
            "error": None,
        }
        expected = {
            "run_id": "run-1",
            "started_at": "2026-01-13T14:30:45+00:00",
            "finished_at": "2026-01-13T14:31:00+00:00",
            "status": "stopped",
            "stop_reason": "Iterable refused the key",
            "mode": "single",
            "authentication": "API Key",
            "csv_file": "list.csv",
            "dry_run": False,
            "total_users": 15,
            "successful": 4,
            "partial_failures": 3,
            "total_failures": 2,
            "not_attempted": 1,
            "unchanged": 5,
            "retries": {"total": 3, "by_status": {"503": 2, "timeout": 1}, "seconds_waited": 4.123},
            "records": [
                {
                    "email": "ada@example.com",
                    "timestamp": "2026-01-13T14:30:46+00:00",
                    "users_update": call,
                    "events_track": call,
                    "overall_success": True,
                }
            ],
        }
        assert results == expected
        assert list(results) == list(expected)
        assert list(results["records"][0]) == list(expected["records"][0])  # type: ignore[index]

    @given(st.lists(groups, max_size=4))
    def test_any_users_give_valid_json(self, given_groups: list[OutcomeGroup]) -> None:
        """None, one or many in a group, and whatever their emails contain."""
        with tempfile.TemporaryDirectory() as folder:
            records = results_of(Path(folder) / "results.json", given_groups)["records"]
        assert [
            (record["email"], record["timestamp"], record["overall_success"]) for record in records
        ] == [(email, group.at, group.success) for group in given_groups for _, email in group.rows]

    def test_each_user_is_a_line(self, tmp_path: Path) -> None:
        """`grep` finds a user's whole record."""
        shared = OutcomeGroup([(1, "a@x.io"), (2, "b@x.io")], None, DONE, DONE, success=True)
        alone = OutcomeGroup([{"profile": {"email": "c@x.io"}}], None, DONE, DONE, success=True)
        results_of(tmp_path / "results.json", [shared, alone])
        lines = (tmp_path / "results.json").read_text().splitlines()
        assert [line[:20] for line in lines if "@" in line] == [
            f'    {{"email":"{name}@x.io' for name in "abc"
        ]

    def test_only_the_owner_can_read_it(self, tmp_path: Path) -> None:
        """It contains personal data."""
        results_of(tmp_path / "results.json", [])
        assert stat.S_IMODE((tmp_path / "results.json").stat().st_mode) == 0o600

    def test_a_file_that_cannot_be_written_is_one_line(self, tmp_path: Path) -> None:
        """The error names the file."""
        with pytest.raises(FileError, match=r"^Cannot write .*nowhere/results\.json: "):
            write_results(tmp_path / "nowhere" / "results.json", RUN, COUNTS, [])

    def test_the_counts_add_up_in_the_file(self) -> None:
        """No user is lost between the parts and the total."""
        head = results_head(RUN, COUNTS)
        parts = ("successful", "partial_failures", "total_failures", "not_attempted", "unchanged")
        assert sum(getattr(COUNTS, part) for part in parts) == head["total_users"]
        assert {part: head[part] for part in parts} == {
            part: getattr(COUNTS, part) for part in parts
        }


class TestSummary:
    """The end of a run's log."""

    def test_it_has_the_documented_lines(self) -> None:
        """Word for word; counts of zero are not mentioned."""
        rule = "=" * 70
        assert summary_lines(RUN, Counts(successful=2, partial_failures=1)) == [
            rule,
            "INTEGRATION SUMMARY",
            rule,
            "Total users processed: 3",
            "✓ Successful (both API calls): 2",
            "⚠ Partial failures (one call failed): 1",
            "✗ Total failures (both calls failed): 0",
            "✓ CSV Export: list.csv",
            "✓ Authentication: API Key",
            "Retries: 3",
            rule,
        ]

    def test_it_counts_skipped_users_by_reason(self) -> None:
        """The parts add up to the total in the summary, too."""
        lines = summary_lines(STOPPED, COUNTS)
        assert lines[7:9] == ["Not attempted: 1", "Unchanged: 5"]
        assert lines[-2] == "Stopped early: Iterable refused the key"
        numbers = [int(line.rpartition(" ")[2]) for line in lines[3:9]]
        assert numbers[0] == sum(numbers[1:])
