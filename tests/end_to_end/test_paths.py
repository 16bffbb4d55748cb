"""Unusable paths: one line that says so and the right exit code, never a traceback."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.privileges import needs_permissions, run_unprivileged
from tests.support.runs import (
    RunResult,
    database_of,
    environment_for,
    finish,
    is_script_over,
    run,
    start,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.process import SandboxProcess

pytestmark = needs_permissions

CONFIGURATION, UNAVAILABLE, DELIVERED = 78, 69, 0
BAD_BYTES = os.fsdecode(b"caf\xe9")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working directory that the tests may make unusable."""
    path = tmp_path / "work"
    path.mkdir()
    yield path
    if path.exists():
        path.chmod(0o700)


@pytest.fixture
def unreadable(tmp_path: Path) -> Iterator[Path]:
    """A folder without any permissions."""
    path = tmp_path / "unreadable"
    path.mkdir(mode=0o000)
    yield path
    path.chmod(0o700)


@pytest.fixture
def environment(tmp_path: Path, sandbox: SandboxProcess) -> dict[str, str]:
    """A complete configuration with one user, and absolute paths outside the working directory."""
    database = database_of(tmp_path / "customers.sqlite", ["ada@example.com"])
    return environment_for(tmp_path, sandbox, database)


def unusable_paths(folder: Path, unreadable: Path) -> dict[str, str]:
    """One path of each kind."""
    (folder / "a-folder").mkdir()
    (folder / "a-file").write_text("")
    (folder / "unreadable-file").touch(mode=0o000)
    (folder / "dangling").symlink_to(folder / "nothing")
    (folder / "loop").symlink_to(folder / "loop")
    return {
        "unreadable folder": str(unreadable / "name"),
        "unreadable file": str(folder / "unreadable-file"),
        "missing folder": str(folder / "missing" / "name"),
        "folder": str(folder / "a-folder"),
        "file in the middle": str(folder / "a-file" / "name"),
        "dangling link": str(folder / "dangling"),
        "loop of links": str(folder / "loop"),
        "too long": "n" * 300,
        "deeper than SQLite goes": str(folder.joinpath(*["n" * 200] * 3)),
        "NUL": "na\0me",
    }


# Only what is not created automatically can be missing.
REFUSED_ALWAYS = dict.fromkeys(
    (
        "unreadable folder",
        "unreadable file",
        "missing folder",
        "folder",
        "file in the middle",
        "dangling link",
        "loop of links",
        "too long",
        "deeper than SQLite goes",
        "NUL",
    ),
    CONFIGURATION,
)
MADE_WHEN_MISSING = REFUSED_ALWAYS | {"missing folder": DELIVERED, "dangling link": DELIVERED}
DEEP = {"deeper than SQLite goes": DELIVERED}
EXPECTED = {
    "LOG_FILE": MADE_WHEN_MISSING | DEEP,
    "JOURNAL_FILE": MADE_WHEN_MISSING,
    "OUTPUT_DIR": REFUSED_ALWAYS | {"missing folder": DELIVERED, "folder": DELIVERED} | DEEP,
    "DB_SSL_CA": REFUSED_ALWAYS,
    "DB_NAME": dict.fromkeys(REFUSED_ALWAYS, UNAVAILABLE) | {"NUL": CONFIGURATION},
    "--env-file": REFUSED_ALWAYS,
}
CASES = [
    pytest.param((setting, kind, code), id=f"{setting}-{kind}")
    for setting, codes in EXPECTED.items()
    for kind, code in codes.items()
    # A command-line argument cannot contain a NUL.
    if (setting, kind) != ("--env-file", "NUL")
]


@pytest.mark.parametrize("case", CASES)
def test_a_path_that_cannot_be_used_is_one_line(
    folder: Path, unreadable: Path, environment: dict[str, str], case: tuple[str, str, int]
) -> None:
    """It names the setting or the path; a path that is created when missing is no error."""
    setting, kind, code = case
    path = unusable_paths(folder, unreadable)[kind]
    if setting == "--env-file":
        ran = run_unprivileged(folder, environment, setting, path)
    else:
        # In the file, since an environment variable cannot contain a NUL.
        environment.pop(setting, None)
        (folder / ".env").write_text(f'{setting}="{path}"\n', encoding="utf-8")
        ran = run_unprivileged(folder, environment)

    assert_one_line(ran, code)
    if code:
        assert setting in ran.stderr or path in ran.stderr
    else:
        assert len(list(folder.rglob("integration_results_*.json"))) == 1


@pytest.mark.parametrize("command", ["--status", "--dry-run", "--resume", "--verify"])
@pytest.mark.parametrize("kind", ["unreadable folder", "file in the middle", "loop of links"])
def test_every_command_names_a_journal_that_it_cannot_reach(
    folder: Path, unreadable: Path, environment: dict[str, str], command: str, kind: str
) -> None:
    """An inaccessible journal is not the same as a missing journal."""
    environment["JOURNAL_FILE"] = unusable_paths(folder, unreadable)[kind]

    ran = run_unprivileged(folder, environment, command)

    assert_one_line(ran, CONFIGURATION)
    assert "JOURNAL_FILE" in ran.stderr


def test_a_working_directory_that_may_not_be_searched_is_one_line(
    folder: Path, environment: dict[str, str]
) -> None:
    """Whether it has a `.env` is unknown, and a different one might name another project."""
    ran = run_unprivileged(folder, environment, first=lambda: folder.chmod(0o000))

    assert_one_line(ran, CONFIGURATION)
    assert "--env-file" in ran.stderr


def test_a_working_directory_that_is_not_used_may_be_unsearchable(
    tmp_path: Path, folder: Path, environment: dict[str, str]
) -> None:
    """With `--env-file` and absolute paths nothing is looked up there."""
    env_file, output = tmp_path / "named.env", tmp_path / "output"
    env_file.write_text(
        f"LOG_FILE={output}/run.log\nJOURNAL_FILE={output}/j.db\nOUTPUT_DIR={output}\n"
    )
    del environment["LOG_FILE"]

    ran = run_unprivileged(
        folder, environment, "--env-file", str(env_file), first=lambda: folder.chmod(0o000)
    )

    assert_one_line(ran, DELIVERED)
    assert RunResult(output, ran.exit_code, ran.stdout, ran.stderr).results["successful"] == 1


def test_a_working_directory_may_have_a_name_that_is_not_utf_8(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """The run writes all its files there, and another run finds them from elsewhere."""
    folder = tmp_path / BAD_BYTES
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")

    ran = run(folder, environment)
    status = run(folder, environment, "--status")

    assert_one_line(ran, DELIVERED)
    assert ran.results["successful"] == 1
    assert len(ran.csv_rows) == 1
    assert (status.exit_code, status.stderr) == (0, "")


def test_a_database_in_a_folder_whose_name_is_not_utf_8_is_read(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """The settings contain only a name relative to the working directory."""
    folder = tmp_path / BAD_BYTES
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    database_of(folder / "customers.sqlite", ["ada@example.com"])

    ran = run(folder, environment | {"DB_NAME": "customers.sqlite"})

    assert_one_line(ran, DELIVERED)


@pytest.mark.parametrize("output_dir", [".", "out", "elsewhere"])
def test_a_working_directory_that_is_removed_during_the_run_costs_no_results(
    tmp_path: Path,
    folder: Path,
    environment: dict[str, str],
    sandbox: SandboxProcess,
    output_dir: str,
) -> None:
    """Paths are resolved at the start; the output folder is recreated if necessary."""
    output = tmp_path / "elsewhere" if output_dir == "elsewhere" else folder / output_dir
    environment["OUTPUT_DIR"] = str(output) if output_dir == "elsewhere" else output_dir
    environment["JOURNAL_FILE"] = str(tmp_path / "journal.db")  # a run stops without its journal
    sandbox.faults(
        [
            {
                "endpoint": "events/track",
                "kind": "status",
                "status": 429,
                "headers": {"Retry-After": "2"},
            }
        ]
    )
    process = start(folder, environment)
    wait_until(process, lambda: is_script_over(sandbox))
    shutil.rmtree(folder)

    ran = finish(output, process)

    assert_one_line(ran, DELIVERED)
    assert ran.results["successful"] == 1


def assert_one_line(ran: RunResult, code: int) -> None:
    """The program ended as it should: no traceback, and one line if it failed."""
    printed = ran.stdout + ran.stderr
    assert "Traceback" not in printed
    assert "bug" not in printed.lower().replace("debug", "")
    assert "Unexpected error" not in printed
    problems = [line for line in ran.stderr.splitlines() if " - ERROR - " in line]
    assert (ran.exit_code, len(problems)) == (code, int(code != DELIVERED)), ran.stderr
