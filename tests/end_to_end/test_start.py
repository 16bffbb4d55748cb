"""What the start and the exit do not spend time on."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.runs import MAIN, RunResult, database_of, environment_for, run

if TYPE_CHECKING:
    from pathlib import Path

    from db_connection import DatabaseSettings
    from sandbox.process import SandboxProcess

# What few runs need, or what a library should not bring along; each takes several milliseconds.
UNUSED = {"asyncio", "concurrent.futures", "filelock", "jwt", "pydantic", "tqdm"}
MYSQL, SQLITE = "mysql.connector", "sqlglot"
IMPORTS = {"PYTHONPROFILEIMPORTTIME": "1"}
# Runs main.py as a script. Prints the state of the garbage collector after it, and at the exit the
# number of objects that Python is about to search.
COLLECTOR = f"""
import atexit, gc, runpy, sys
atexit.register(lambda: print(len(gc.get_objects())))
sys.argv = ["main.py", "--version"]
sys.path.insert(0, {str(MAIN.parent)!r})
try:
    runpy.run_path({str(MAIN)!r}, run_name="__main__")
except SystemExit:
    print(gc.isenabled(), gc.get_freeze_count() > 10_000)
"""


def test_the_garbage_collector_ignores_what_was_imported() -> None:
    """It is on again during the run, and has nothing to search at the exit."""
    ran = subprocess.run(
        [sys.executable, "-c", COLLECTOR], capture_output=True, text=True, check=True
    )

    version, state, objects_at_exit = ran.stdout.splitlines()
    assert version.startswith("main.py ")
    assert state == "True True"
    assert int(objects_at_exit) < 1_000


def loaded(ran: RunResult) -> set[str]:
    """The modules that a run with `IMPORTS` in its environment loaded."""
    return set(re.findall(r"^import time: .*\| +(\S+)$", ran.stderr, re.MULTILINE))


def test_the_version_is_printed_without_a_database(tmp_path: Path) -> None:
    """Nor with what else few runs need."""
    ran = run(tmp_path, IMPORTS, "--version")

    assert ran.exit_code == 0
    assert loaded(ran) & {*UNUSED, MYSQL, SQLITE} == set()


def test_a_run_with_mysql_loads_only_what_it_uses(
    tmp_path: Path, sandbox: SandboxProcess, seeded_database: DatabaseSettings
) -> None:
    """The translation to SQLite takes longer to load than the rest of the program."""
    ran = run(tmp_path, environment_for(tmp_path, sandbox, seeded_database) | IMPORTS)

    assert ran.exit_code == 0
    assert MYSQL in loaded(ran)
    assert loaded(ran) & {*UNUSED, SQLITE} == set()


@pytest.mark.parametrize("users", [1, 101])
def test_a_run_with_sqlite_loads_only_what_it_uses(
    tmp_path: Path, sandbox: SandboxProcess, users: int
) -> None:
    """No driver of MySQL, and without a terminal no progress bar."""
    emails = [f"user{number}@example.com" for number in range(users)]
    database = database_of(tmp_path / "customers.sqlite", emails)
    ran = run(tmp_path, environment_for(tmp_path, sandbox, database) | IMPORTS)

    assert ran.exit_code == 0
    assert SQLITE in loaded(ran)
    assert loaded(ran) & {*UNUSED, MYSQL} == set()
