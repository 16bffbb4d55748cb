"""What replaces a person in the files of runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from integration.core.models import Counts, OutcomeGroup, Run
from integration.core.overwriting import overwrite
from integration.core.personal_data import Person, PersonalData
from integration.delivery.reports import CSV_NAME, RESULTS_NAME, write_csv, write_results
from integration.ingest.forget_files import find_files
from tests.support.users import page_view

if TYPE_CHECKING:
    from pathlib import Path

PERSON = Person(frozenset({"user2@example.com"}), frozenset({("Grace", "Hopper")}), frozenset({2}))
ROWS = [
    list(page_view(1)),
    list(page_view(2)._replace(first_name='Gr"a\r\nce', location="a,b")),
    list(page_view(2, "=earlier@example.com")),
    list(page_view(22)),
]


def erase(path: Path) -> int:
    """Erase the person in a file as the command does."""
    files = find_files(path.parent / "run.log", path.parent / "journal.db", [path.parent])
    steps = dict(files.steps(PERSON, PersonalData(PERSON)))
    return overwrite(path, steps[path])


def test_a_csv_keeps_its_size_and_the_other_rows(tmp_path: Path) -> None:
    """Rows are found by address and by id, also where a cell has several lines."""
    path = tmp_path / CSV_NAME.format("20260101_000000")
    write_csv(path, [ROWS])
    before = path.read_bytes()

    assert erase(path) == 2

    after = path.read_bytes()
    assert len(after) == len(before)
    lines = after.decode().split("\r\n")
    assert lines[:2] == before.decode().split("\r\n")[:2]
    assert [line.strip("[].erasd,*") for line in lines[2:4]] == ["", ""]
    assert [line.count(",") for line in lines[:5]] == [10] * 5
    assert lines[4].startswith("22,user22@example.com")
    assert erase(path) == 0


def test_a_csv_without_its_header_loses_addresses_and_names(tmp_path: Path) -> None:
    """As a line of a log does."""
    path = tmp_path / "query_results_part.csv"
    path.write_text("2,user2@example.com,Grace,Hopper\n3,user3@example.com,Grace,Murray\n")

    assert erase(path) == 1

    assert path.read_text().endswith("3,user3@example.com,Grace,Murray\n")
    assert "Hopper" not in path.read_text()


def test_a_results_file_stays_valid_and_its_counts_right(tmp_path: Path) -> None:
    """The record stays, without the address and the responses."""
    path = tmp_path / RESULTS_NAME.format("20260101_000000")
    text = json.dumps(
        {"success": True, "response": {"msg": "user2@example.com"}, "status_code": 200}
    )
    run = Run("id", "t", "API Key", "a.csv", "b.json", False, number=1, status="completed")
    group = OutcomeGroup(ROWS, "t", text, text, success=True)
    write_results(path, run, Counts(successful=4), [group])
    size = path.stat().st_size

    assert erase(path) == 4  # the response of the others mentions the person

    assert path.stat().st_size == size
    results = json.loads(path.read_text())
    assert results["total_users"] == len(results["records"]) == 4
    assert [one["email"] for one in results["records"]] == [
        "user1@example.com",
        None,
        "=earlier@example.com",
        "user22@example.com",
    ]
    assert results["records"][1]["users_update"] == {
        "success": True,
        "response": None,
        "status_code": 200,
    }
    assert "user2@" not in path.read_text()


def test_logs_lists_and_results_are_found_with_their_backups(tmp_path: Path) -> None:
    """But neither databases nor files of other names."""
    found = ["run.log", "run.log.1", "run.log.2.gz", "run.log-20260101"]
    found += ["query_results_1.csv", "query_results_1.csv.part", "integration_results_1.json.gz"]
    opaque = ["run.log.3.xz", "journal.db.damaged-1", "journal.db.damaged-1-wal"]
    others = ["run.logs", "journal.db", "journal.db-wal", "xrun.log", "results.json"]
    for name in [*found, *opaque, *others]:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "run.log.db").write_bytes(b"SQLite format 3\0")
    (tmp_path / "query_results_folder").mkdir()

    files = find_files(tmp_path / "run.log", tmp_path / "journal.db", [tmp_path, tmp_path / "no"])

    names = sorted(path.name for paths in files[:3] for path in paths)
    assert names == sorted(found)
    assert [path.name for path in files.opaque] == sorted(opaque)
