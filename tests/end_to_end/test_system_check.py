"""A missing requirement of the program is one line, printed before anything else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

import pytest

from integration.core.system_check import (
    NOTIFY_PACKAGES,
    PACKAGES,
    SERVICE_PACKAGES,
    problem,
)
from tests.support.cli_runs import CLI
from tests.support.runs import MAIN, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = pytest.mark.parametrize("program", [MAIN, CLI], ids=["main", "cli"])
# Runs a program in a process where modules are missing, or where Python is another version.
HARNESS = """
import runpy, sys

missing = set(sys.argv[1].split(","))

class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in missing:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Missing)
if sys.argv[2] != "this":
    sys.version_info = tuple(map(int, sys.argv[2].split("."))) + ("final", 0)
main = sys.argv[3]
sys.argv[:] = [main, "--version"]
sys.path.insert(0, main.rpartition("/")[0])
runpy.run_path(main, run_name="__main__")
"""


def start_without(
    *modules: str, version: str = "this", program: Path = MAIN
) -> tuple[int, str, str]:
    """Exit code, output and errors of a program without these modules."""
    done = subprocess.run(
        [sys.executable, "-c", HARNESS, ",".join(modules), version, str(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@PROGRAMS
def test_with_all_requirements_it_starts(program: Path) -> None:
    """The harness itself causes no failure."""
    code, stdout, stderr = start_without("nothing", program=program)
    assert (code, stderr) == (0, "")
    assert stdout.startswith(f"{program.name} ")


@pytest.mark.parametrize("module", PACKAGES)
def test_a_missing_package_is_one_line(module: str) -> None:
    """It names the package, and the command to run."""
    code, stdout, stderr = start_without(module)
    assert (code, stdout) == (78, "")
    (line,) = stderr.splitlines()
    assert line.startswith(f"Not installed for {sys.executable}: {PACKAGES[module]}; run ")
    assert ".venv/bin/python -m pip install -r " in line


def test_all_missing_packages_are_named_together() -> None:
    """As with `python3 main.py` outside the virtual environment."""
    done = subprocess.run(
        [sys.executable, "-E", "-s", "-S", str(MAIN)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert all(name in line for name in PACKAGES.values())


@pytest.mark.parametrize("module", ["resource", "fcntl"])
def test_another_system_is_one_line(module: str) -> None:
    """Windows has neither module."""
    code, stdout, stderr = start_without(module)
    assert (code, stdout) == (78, "")
    (line,) = stderr.splitlines()
    assert "Linux and macOS" in line


@PROGRAMS
@pytest.mark.parametrize("version", ["3.10.14", "3.6.15"])
def test_an_older_python_is_one_line(program: Path, version: str) -> None:
    """It names the required version and the actual one."""
    code, stdout, stderr = start_without("nothing", version=version, program=program)
    assert (code, stdout) == (78, "")
    (line,) = stderr.splitlines()
    assert "Python 3.11 or later" in line
    assert version in line


@pytest.mark.parametrize(
    "name",
    [
        "main.py",
        "cli.py",
        "integration/__init__.py",
        "integration/core/__init__.py",
        "integration/core/system_check.py",
    ],
)
def test_what_runs_before_the_check_is_understood_by_older_pythons(name: str) -> None:
    """Newer grammar would be a SyntaxError before the check could say a word."""
    source = (ROOT / name).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))
    assert "from __future__ import annotations" not in source  # Python 3.6 does not have it


def test_every_direct_requirement_is_checked() -> None:
    """The check and requirements.in name the same packages."""
    requirements = (ROOT / "requirements.in").read_text(encoding="utf-8")
    wanted = set(re.findall(r"^([A-Za-z0-9-]+)==", requirements, flags=re.MULTILINE))
    packages = {**PACKAGES, **SERVICE_PACKAGES, **NOTIFY_PACKAGES}
    assert set(packages.values()) == wanted
    installed = packages_distributions()
    for module, package in packages.items():
        assert package.lower() in [name.lower() for name in installed[module.split(".")[0]]]


@pytest.mark.parametrize("existing", [True, False])
def test_the_advice_fits_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, existing: bool
) -> None:
    """Use the virtual environment if it exists; else create one."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    if existing:
        python.touch()
    monkeypatch.setitem(PACKAGES, "no_such_module", "no-such-package")
    line = problem(tmp_path)
    assert line is not None
    assert ("run python3 -m venv" in line) is not existing
    assert f"the program with {python}" in line
