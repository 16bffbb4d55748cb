"""The documents are true of the program."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from integration.config.converting import ConfigurationError
from integration.config.ingest_settings import INGEST_FIELDS, INGEST_VARIABLES
from integration.config.notify_settings import NOTIFY_VARIABLES
from integration.config.service_settings import SERVICE_FIELDS
from integration.config.settings import FIELDS, VARIABLES, load_settings
from integration.core.exit_codes import ExitCode
from integration.delivery.chosen_query import QUERY_FILE
from integration.ingest.models import Code
from integration.ingest.source_rules import keys_of
from integration.ingest.sources import KINDS
from integration.ingest.tables import MIGRATIONS
from tests.support.runs import RunResult, run

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
COMMAND_LINE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
DEPENDENCIES = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
REQUIREMENTS = (ROOT / "requirements.in").read_text(encoding="utf-8")


def section_of(page: str, heading: str) -> str:
    """The text below a heading, up to the next heading of the same level."""
    return page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def table_rows(section: str) -> list[list[str]]:
    """The cells of a section's only table, without its header."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_documented_help_is_the_programs(tmp_path: Path) -> None:
    """Word for word; where the usage is wrapped differs between versions of Python."""
    shown = COMMAND_LINE.split("$ python main.py --help\n", 1)[1].split("```", 1)[0]

    helped = run(tmp_path, {"COLUMNS": "80"}, "--help")

    assert shown.split() == helped.stdout.split()


def test_the_settings_table_is_the_settings() -> None:
    """All variables with their defaults, and no others."""
    table = {row[0].strip("`"): row[1] for row in table_rows(section_of(CONFIGURATION, "Settings"))}

    assert table == {name: what_happens_without(name) for name in VARIABLES}


def test_the_settings_of_the_ingest_are_documented() -> None:
    """All variables with their defaults, and no others."""
    rows = table_rows(section_of(CONFIGURATION, "Ingest"))

    assert {name.strip("`"): default for name, default, _ in rows} == {
        name: str(INGEST_FIELDS[name].default or "–").replace("None", "–")
        for name in INGEST_VARIABLES
    }


def test_the_settings_of_the_window_are_documented() -> None:
    """All variables with their defaults, and no others."""
    rows = table_rows(section_of(CONFIGURATION, "Window"))

    assert {name.strip("`"): default for name, default, _ in rows} == {
        name: str(field.default).replace("None", "–").replace("False", "false")
        for name, field in SERVICE_FIELDS.items()
    }


def test_the_settings_of_notifications_are_documented() -> None:
    """All variables, and no others; each is off until it is set."""
    rows = table_rows(section_of(CONFIGURATION, "Notifications"))

    assert {name.strip("`"): default for name, default, _ in rows} == dict.fromkeys(
        NOTIFY_VARIABLES, "–"
    )


def test_the_keys_of_a_source_are_documented() -> None:
    """All of each kind, with their defaults."""
    rows = table_rows(section_of(CONFIGURATION, "Sources"))

    documented = {
        (kind, key.strip("`"), default)
        for key, kinds, default, _ in rows
        for kind in (KINDS if kinds == "all" else kinds.split(", "))
    }
    assert documented == {
        (kind, field.alias or name, source_default(field))
        for kind, model in KINDS.items()
        for name, field in model.model_fields.items()
        if name in keys_of(model) or field.alias
    }


def source_default(field: FieldInfo) -> str:
    """The cell for a key's default."""
    if field.is_required():
        return "required"
    default = getattr(field.default, "kind", field.default)
    return str(default).replace("False", "false") if default or default is False else "–"


def test_the_codes_of_rejections_are_documented() -> None:
    """All of them."""
    rows = table_rows(section_of(CONFIGURATION, "Validation"))

    assert [code.strip("`") for code, _ in rows] == list(get_args(Code))


def test_the_tables_of_the_ingest_are_documented() -> None:
    """All tables and views, and no others."""
    page = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
    rows = table_rows(section_of(page, "The tables of the ingest"))

    names = {name for step in MIGRATIONS for name, _ in step}
    created = {name for name in names if not name.startswith("idx_") and "." not in name}
    documented = {name for cell, _ in rows for name in re.findall(r"`(\w+)`", cell)}
    assert documented == created | {"etl_schema"}


def what_happens_without(variable: str) -> str:
    """The cell for a setting's default: its value, a dash for none, or that it is required."""
    if variable in missing_from({}):
        return "required"
    if variable in missing_from({"USE_JWT_AUTH": "true"}):
        return "required with JWT"
    default = FIELDS[variable].default
    return "–" if default in {None, ()} else str(default).replace("False", "false")


def missing_from(variables: dict[str, str]) -> list[str]:
    """The variables that the program reports as missing or wrong with these set."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(variables)
    return str(caught.value).partition(": ")[2].split(", ")


def test_the_exit_codes_of_the_readme_are_the_programs() -> None:
    """Each code has its line."""
    codes = {
        int(code)
        for row in table_rows(section_of(README, "Exit codes"))
        for code in row[0].split(",")
    }

    assert codes == {int(code) for code in ExitCode}


def test_every_requirement_is_documented() -> None:
    """Each is pinned and has its reason."""
    names = re.findall(r"^([A-Za-z0-9-]+)==", REQUIREMENTS, flags=re.MULTILINE)
    table = " ".join(row[0] for row in table_rows(DEPENDENCIES))

    assert len(names) == len([line for line in REQUIREMENTS.splitlines() if line[:1].isalnum()])
    for name in names:
        assert re.search(rf"\b{name}\b", table), name


@pytest.mark.parametrize(
    "path",
    [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda path: path.name,
)
def test_every_link_leads_to_a_file(path: Path) -> None:
    """Links inside the project exist."""
    links = re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text(encoding="utf-8"))

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_architecture_names_every_module() -> None:
    """Its table lists each file of the top level and of the packages, and no others."""
    files = [*ROOT.glob("*.py"), *(ROOT / "integration").rglob("*.py")]
    modules = {path.relative_to(ROOT).with_suffix("").as_posix() for path in files}

    assert documented_modules() == {name for name in modules if not name.endswith("__init__")}


def documented_modules() -> set[str]:
    """The modules of the architecture's table; a bold row names the folder of those below it."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folder = ""
    modules: set[str] = set()
    for cell, _ in table_rows(section_of(text, "Layout")):
        names = re.findall(r"`([a-z_/]+)`", cell)
        if cell.startswith("**"):
            folder = f"{names[0]}/"
        else:
            modules.update(f"{folder}{name}" for name in names)
    return modules


def test_the_sample_is_a_results_file_of_a_demo(tmp_path: Path) -> None:
    """It has what a demo writes today, key by key; only times and names differ."""
    sample = json.loads((ROOT / "docs" / "sample_results.json").read_text(encoding="utf-8"))

    demo = run(tmp_path, {}, "--demo")

    results = RunResult(tmp_path / "demo_output", demo.exit_code, demo.stdout, demo.stderr).results
    assert timeless(sample) == timeless(results)


MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00|\d{8}_\d{6}(_\d+)?")


def timeless(results: dict[str, Any]) -> dict[str, Any]:
    """A results file without what differs from one run to the next."""
    of_its_own = {"run_id": "of its own", "csv_file": Path(results["csv_file"]).name}
    text = json.dumps(results | of_its_own)
    return dict(json.loads(MOMENT.sub("some time", text)))


def test_the_program_reads_query_2_of_the_projects_own_file() -> None:
    """The SQL exists once."""
    assert QUERY_FILE == ROOT / "phase2_queries.sql"


def test_the_index_leads_to_every_page() -> None:
    """And `make pdf` contains them: its chapters are those of the index."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\* \[[^]]+\]\(([^)]+\.md)\): ", index, re.MULTILINE)
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert set(listed) == pages | {"../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md"}
    assert len(listed) == len(set(listed))
