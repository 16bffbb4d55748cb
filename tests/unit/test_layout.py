"""The import rules: what the contracts catch, and what the modules of the root may import."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
PACKAGES = [
    *("core", "config", "database", "iterable", "journal"),
    *("delivery", "ingest", "service", "notify"),
]
# What each module of the root may import of the project, by name or by package.
ROOT_MODULES = {
    "main": {"db_connection", "iterable_client", "logger_config", "sandbox.demo", *PACKAGES},
    "cli": {
        *("logger_config", "sandbox.demo_steps", "sandbox.ingest_demo"),
        *("core", "config", "database", "iterable", "ingest", "journal", "service", "notify"),
    },
    "db_connection": {"core", "config", "database"},
    "iterable_client": {"core", "config", "iterable"},
    "logger_config": {"core", "config"},
}
DOWNWARDS = "Packages import downwards only"
NO_ROOT = "Packages import no module of the root"
NO_DRIVER = "Only the database package knows the drivers and sqlglot"
NO_HTTP = "Only the iterable package, the HTTP source and the pings know requests and urllib3"
NO_SANDBOX = "Packages import neither the sandbox nor benchmarks nor tests"


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """The project's packages, empty, with its contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    packages = ["integration", "sandbox", "benchmarks"]
    for package in [*packages, *(f"integration/{name}" for name in PACKAGES)]:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    return tmp_path


def plant(folder: Path, imports: list[tuple[str, str]]) -> None:
    """Add a module with an import to each of these packages."""
    for number, (package, target) in enumerate(imports):
        module = folder / "integration" / package / f"module_{number}.py"
        module.write_text(f"def use() -> None:\n    import {target}\n", encoding="utf-8")


def lint(folder: Path) -> tuple[list[str], str]:
    """The names of the contracts that the packages in `folder` break, and the whole report."""
    done = subprocess.run(
        [LINT_IMPORTS, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(folder), "COLUMNS": "200"},
        check=False,
    )
    lines = done.stdout.splitlines()
    broken = [line.removesuffix(" BROKEN") for line in lines if line.endswith(" BROKEN")]
    assert done.returncode == int(bool(broken)), done.stdout + done.stderr
    return broken, done.stdout


def test_allowed_imports_break_no_contract(skeleton: Path) -> None:
    """Downwards, and each library in its package."""
    plant(
        skeleton,
        [
            ("core", "json"),
            ("delivery", "integration.journal"),
            ("ingest", "integration.database"),
            ("journal", "integration.core"),
            ("database", "sqlglot"),
            ("database", "mysql.connector"),
            ("iterable", "requests"),
        ],
    )
    assert lint(skeleton)[0] == []


@pytest.mark.parametrize(
    ("contract", "imports"),
    [
        (
            DOWNWARDS,
            [
                ("core", "integration.config"),
                ("config", "integration.database"),
                ("journal", "integration.iterable"),
                ("iterable", "integration.delivery"),
                ("ingest", "integration.delivery"),
                ("database", "integration.ingest"),
                ("service", "integration.ingest"),
                ("service", "integration.delivery"),
                ("delivery", "integration.notify"),
                ("notify", "integration.ingest"),
            ],
        ),
        (NO_ROOT, [("delivery", "db_connection"), ("core", "main"), ("journal", "logger_config")]),
        (NO_DRIVER, [("journal", "sqlglot"), ("ingest", "mysql.connector"), ("core", "psycopg")]),
        (NO_HTTP, [("ingest", "requests"), ("database", "urllib3.util")]),
        (NO_SANDBOX, [("config", "sandbox"), ("journal", "tests.support")]),
    ],
)
def test_a_forbidden_import_breaks_its_contract(
    skeleton: Path, contract: str, imports: list[tuple[str, str]]
) -> None:
    """Each one is reported, and no other contract is broken."""
    plant(skeleton, imports)

    broken, report = lint(skeleton)

    assert broken == [contract]
    for number, (package, target) in enumerate(imports):
        imported = target if target.startswith("integration.") else target.partition(".")[0]
        assert f"integration.{package}.module_{number} -> {imported}" in report


def test_a_package_that_no_rule_names_breaks_the_layers(skeleton: Path) -> None:
    """A new one has to be given its place."""
    (skeleton / "integration" / "helpers").mkdir()
    (skeleton / "integration" / "helpers" / "__init__.py").touch()

    assert lint(skeleton)[0] == [DOWNWARDS]


def test_the_root_has_these_modules_only() -> None:
    """Everything else has a package."""
    assert {path.stem for path in ROOT.glob("*.py")} == ROOT_MODULES.keys()


@pytest.mark.parametrize("module", ROOT_MODULES)
def test_a_module_of_the_root_imports_only_what_it_may(module: str) -> None:
    """`main` wires everything together; the others know their own package and those below."""
    source = (ROOT / f"{module}.py").read_text(encoding="utf-8")

    assert imported_parts(source) <= ROOT_MODULES[module]


def test_an_import_is_found_wherever_it_is() -> None:
    """In a function, below `if TYPE_CHECKING`, in either form; other projects' do not count."""
    source = (
        "import json, iterable_client\n"
        "def use():\n    from integration.journal.store import Journal\n"
        "if TYPE_CHECKING:\n    import integration.delivery.reports as reports\n"
        "from integration import database\n"
        "from sandbox.demo import demo_files\n"
    )

    found = {"iterable_client", "journal", "delivery", "database", "sandbox.demo"}
    assert imported_parts(source) == found


def imported_parts(source: str) -> set[str]:
    """The project's modules that a source imports; of `integration`, only the package's name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "integration":
            names.update(f"integration.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    own = {"integration", "sandbox", "benchmarks", "tests", *ROOT_MODULES}
    return {
        name.split(".")[1] if name.startswith("integration.") else name
        for name in names
        if name.split(".", 1)[0] in own
    }
