"""The documents say what is true of the program."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from command_line import __version__
from exit_codes import ExitCode
from run_opening import QUERY_FILE
from settings import VARIABLES, Settings
from tests.runs import run

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8")


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading of the README."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_help_in_the_readme_is_the_programs(tmp_path: Path) -> None:
    """Word for word; where the usage is wrapped differs from one Python to the next."""
    shown = README.split("$ python main.py --help\n", 1)[1].split("```", 1)[0]

    helped = run(tmp_path, {"COLUMNS": "80"}, "--help")

    assert shown.split() == helped.stdout.split()


def test_the_settings_table_is_the_settings() -> None:
    """All variables with their defaults, and no other."""
    table = {row[0].strip("`"): row[1] for row in rows_of("Settings")}

    assert sorted(table) == sorted(VARIABLES)
    for name, field in Settings.model_fields.items():
        shown = table[name.upper()]
        if not shown.startswith("required") and shown != "–":
            assert shown == str(field.default).replace("False", "false")


def test_the_exit_codes_of_the_readme_are_the_programs() -> None:
    """Each code has its line."""
    codes = {int(code) for row in rows_of("Exit codes") for code in row[0].split(",")}

    assert codes == {int(code) for code in ExitCode}


def test_every_requirement_is_named_in_the_readme() -> None:
    """With its reason, and each is pinned."""
    names = re.findall(r"^([A-Za-z0-9-]+)==", REQUIREMENTS, flags=re.MULTILINE)
    table = " ".join(row[0] for row in rows_of("What it stands on"))

    assert len(names) == len([line for line in REQUIREMENTS.splitlines() if line[:1].isalnum()])
    for name in names:
        assert re.search(rf"\b{name}\b", table), name


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_every_link_leads_to_a_file(path: Path) -> None:
    """Links inside the project exist."""
    links = re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text(encoding="utf-8"))

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_sample_is_a_results_file_of_a_demo() -> None:
    """It has the keys of today's results and the demo's three users, all delivered."""
    sample = json.loads((ROOT / "docs" / "sample_results.json").read_text(encoding="utf-8"))

    assert (sample["status"], sample["successful"], sample["total_users"]) == ("completed", 3, 3)
    assert [set(record) for record in sample["records"]] == [
        {"email", "timestamp", "users_update", "events_track", "overall_success"}
    ] * 3


def test_the_version_stands_in_one_place_for_people_and_tools() -> None:
    """`--version` and the project's metadata agree."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert f'\nversion = "{__version__}"\n' in project


def test_the_program_reads_query_2_of_the_projects_own_file() -> None:
    """The SQL stands once."""
    assert QUERY_FILE == ROOT / "phase2_queries.sql"
