"""Full or read-only disks, damaged or outdated journals: one clear line each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING

import pytest

from integration.journal.migrations import SCHEMA_VERSION
from integration.journal.schema import SQLITE_HEADER
from tests.support.fault_matrix import (
    calls_seen,
    evidence,
    unfinished_business,
    violations,
    wanted_of,
)
from tests.support.journal_writer import JournalWriter
from tests.support.old_journals import OldUser, old_journal, old_user
from tests.support.runs import (
    ROOT,
    RunResult,
    database_of,
    environment_for,
    finish,
    is_script_over,
    run,
    start,
    wait_until,
)
from tests.support.users import page_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.process import SandboxProcess

USERS = 60
CHANGE_SECONDS = 4
JOURNAL = "iterable_journal.db"
OUTCOME = '{"success":true,"response":null,"status_code":200,"attempts":1,"error":null}'


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A small disk mounted at `folder`; without permission to mount, the test is skipped."""
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "small-disk", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(name="disk")
def disk_fixture(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    with mounted(tmp_path / "disk", "1m") as disk:
        yield disk


def environment(
    folder: Path, sandbox: SandboxProcess, users: int = USERS, **more: str
) -> dict[str, str]:
    """A configuration for some users; files go to `folder` unless `more` says otherwise."""
    emails = [f"user{number}@example.com" for number in range(users)]
    database = database_of(folder / "customers.sqlite", emails)
    return environment_for(folder, sandbox, database) | {"MAX_WORKERS": "2"} | more


def fill(disk: Path) -> Path:
    """Fill the disk to the last byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    assert os.statvfs(disk).f_bavail == 0
    return filler


def the_error(ran: RunResult, exit_code: int = 78) -> str:
    """The only problem that a run reported; there is no traceback."""
    assert (ran.exit_code, "Traceback" in ran.stderr) == (exit_code, False), ran.stderr
    (line,) = [line for line in ran.stderr.splitlines() if " - ERROR - " in line]
    return line


def run_with_a_change(
    folder: Path,
    variables: dict[str, str],
    sandbox: SandboxProcess,
    change: Callable[[], object],
    slow_users: tuple[int, ...] = (10, 11),
) -> RunResult:
    """Start the program and call `change` when some users are delivered.

    Both workers are waiting for an answer then, which leaves time for it.
    """
    slow = {"endpoint": "events/track", "kind": "slow", "delay_seconds": CHANGE_SECONDS}
    sandbox.faults([{**slow, "email": f"user{number}@example.com"} for number in slow_users])
    process = start(folder, variables)
    wait_until(process, lambda: is_script_over(sandbox))
    change()
    return finish(folder, process)


def assert_all_delivered_once(folder: Path, sandbox: SandboxProcess, results_in: Path) -> None:
    """Every user is delivered once, and recorded in one results file."""
    found, wanted = evidence(results_in, sandbox), wanted_of(folder / "customers.sqlite")
    assert violations(wanted, found) + unfinished_business(wanted, found) == []


def test_a_disk_that_is_full_from_the_start_is_detected_before_the_first_call(
    tmp_path: Path, sandbox: SandboxProcess, disk: Path
) -> None:
    """The output folder has no space: exit code 78, the folder is named, nothing is sent."""
    fill(disk)

    ran = run(tmp_path, environment(tmp_path, sandbox, OUTPUT_DIR=str(disk)))

    assert f"Cannot write in the folder {disk}: No space left on device" in the_error(ran)
    assert sandbox.calls() == []


def test_a_journal_that_does_not_fit_is_a_full_disk_and_nothing_is_sent(
    tmp_path: Path, sandbox: SandboxProcess, disk: Path
) -> None:
    """More users than the disk holds: exit code 78 before the first call; run again with space."""
    variables = environment(tmp_path, sandbox, users=20_000, RATE_LIMIT_SHARE="10000")
    ran = run(tmp_path, variables | {"JOURNAL_FILE": str(disk / JOURNAL)})

    assert f"The disk is full: the journal {disk / JOURNAL} cannot be written" in the_error(ran)
    assert sandbox.calls() == []
    assert list(tmp_path.glob("*_results_*")) == []


@pytest.mark.parametrize("users", [USERS, 5_000], ids=["at its end", "while rows arrive"])
def test_a_csv_that_does_not_fit_leaves_no_partial_file_and_the_run_can_be_resumed(
    tmp_path: Path, sandbox: SandboxProcess, users: int
) -> None:
    """Detected before the first call; once there is space, --resume delivers every user."""
    with mounted(tmp_path / "disk", "4m") as disk:
        variables = environment(
            tmp_path, sandbox, users, OUTPUT_DIR=str(disk), RATE_LIMIT_SHARE="10000"
        )
        filler = fill(disk)
        os.truncate(filler, filler.stat().st_size - 4096)

        ran = run(tmp_path, variables)

        assert "No space left on device" in the_error(ran)
        assert sandbox.calls() == []
        assert [path.name for path in disk.iterdir()] == ["filler"]
        filler.unlink()
        assert run(tmp_path, variables, "--resume").exit_code == 0
        assert len(sandbox.state()["events"]) == users
        (csv_file,) = disk.glob("query_results_*.csv")
        assert len(csv_file.read_text(encoding="utf-8").splitlines()) == 1 + users
        assert len(list(disk.glob("*_results_*"))) == 2


def test_a_disk_that_fills_up_during_delivery_stops_the_run_until_it_is_resumed(
    tmp_path: Path, sandbox: SandboxProcess, disk: Path
) -> None:
    """What cannot be recorded is no longer sent: exit code 78, and --resume is suggested."""
    variables = environment(tmp_path, sandbox, JOURNAL_FILE=str(disk / JOURNAL))

    ran = run_with_a_change(tmp_path, variables, sandbox, lambda: fill(disk))

    line = the_error(ran)
    assert "The disk is full" in line
    assert "--resume" in line
    assert calls_seen(sandbox) < 2 * USERS
    assert list(tmp_path.glob("integration_results_*")) == []
    (disk / "filler").unlink()
    assert run(tmp_path, variables, "--resume").exit_code == 0
    assert len(sandbox.state()["events"]) == USERS


def test_results_that_do_not_fit_are_written_by_resume_when_there_is_space(
    tmp_path: Path, sandbox: SandboxProcess, disk: Path
) -> None:
    """All is sent but the results file does not fit: exit code 78, and --resume writes it."""
    variables = environment(tmp_path, sandbox, OUTPUT_DIR=str(disk))

    ran = run_with_a_change(tmp_path, variables, sandbox, lambda: fill(disk))

    assert "integration_results_" in the_error(ran)
    assert list(disk.glob("integration_results_*")) == []
    sent = calls_seen(sandbox)
    (disk / "filler").unlink()
    assert run(tmp_path, variables, "--resume").exit_code == 0
    assert calls_seen(sandbox) == sent == 2 * USERS
    (results,) = disk.glob("integration_results_*")
    shutil.copy(results, tmp_path)
    assert_all_delivered_once(tmp_path, sandbox, tmp_path)


@pytest.mark.parametrize(
    ("variable", "name", "complaint"),
    [
        ("OUTPUT_DIR", ".", "Cannot write in the folder "),
        ("JOURNAL_FILE", JOURNAL, "Cannot write "),
        ("LOG_FILE", "run.log", "Cannot write the log "),
    ],
)
def test_a_read_only_folder_is_one_line_that_names_the_setting(
    sandbox: SandboxProcess, disk: Path, variable: str, name: str, complaint: str
) -> None:
    """Whichever of the three files cannot be written: exit code 78, nothing sent."""
    variables = environment(disk.parent, sandbox) | {variable: str(disk / name)}
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    line = the_error(run(disk.parent, variables))

    assert f"{complaint}{disk / name}" in line
    assert "Read-only file system" in line
    assert f"check {variable}" in line
    assert sandbox.calls() == []


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_journal_on_a_read_only_disk_can_be_read(
    tmp_path: Path, sandbox: SandboxProcess, *, is_killed: bool
) -> None:
    """By --status and --explain; with and without what a killed run has left."""
    with mounted(tmp_path / "disk", "8m") as disk:
        variables = environment(tmp_path, sandbox) | {"JOURNAL_FILE": str(disk / JOURNAL)}
        assert run(tmp_path, variables).exit_code == 0
        if is_killed:
            with JournalWriter(disk / JOURNAL) as writer:
                writer.do("begin(2)")
                writer.kill()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

        status = run(tmp_path, variables, "--status")
        story = run(tmp_path, variables, "--explain", "user1@example.com")

        assert (status.exit_code, status.stderr) == (0, "")
        assert (" crashed " in status.stdout) == is_killed
        assert " completed " in status.stdout
        assert (story.exit_code, story.stderr) == (0, "")
        assert "delivered" in story.stdout


def test_a_folder_that_becomes_read_only_stops_the_run_until_it_is_resumed(
    tmp_path: Path, sandbox: SandboxProcess, disk: Path
) -> None:
    """The system remounts a disk after an error: one line, and nothing is forgotten."""
    variables = environment(tmp_path, sandbox, OUTPUT_DIR=str(disk))

    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)

    ran = run_with_a_change(tmp_path, variables, sandbox, lambda: remount("ro"))

    assert "Read-only file system" in the_error(ran)
    remount("rw")
    assert run(tmp_path, variables, "--resume").exit_code == 0
    assert len(list(disk.glob("integration_results_*.json"))) == 1


def remove(journal: Path) -> None:
    """Delete the journal by mistake."""
    for file in journal.parent.glob(f"{journal.name}*"):
        file.unlink()


def replace_by_a_copy(journal: Path) -> None:
    """Restore a backup, for example."""
    copy = journal.with_name("backup.db")
    shutil.copy(journal, copy)
    copy.replace(journal)


@pytest.mark.parametrize("change", [remove, replace_by_a_copy])
def test_a_journal_that_disappears_stops_the_run_and_calls_in_flight_are_in_the_results(
    tmp_path: Path, sandbox: SandboxProcess, change: Callable[[Path], None]
) -> None:
    """No later run would know of this one: exit code 78 and one line without --resume."""
    variables = environment(tmp_path, sandbox)

    ran = run_with_a_change(tmp_path, variables, sandbox, lambda: change(tmp_path / JOURNAL))

    line = the_error(ran)
    assert f"{JOURNAL} was removed or replaced during the run" in line
    assert "--resume" not in line
    sent = calls_seen(sandbox)
    assert sent < 2 * USERS
    results = ran.results
    assert results["status"] == "stopped"
    assert results["successful"] * 2 == sent
    assert all(ran.records[f"user{number}@example.com"]["overall_success"] for number in (10, 11))


def test_a_journal_that_disappears_during_the_last_call_is_reported(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Every user is delivered, but the next run cannot know."""
    variables = environment(tmp_path, sandbox, users=11)

    ran = run_with_a_change(
        tmp_path, variables, sandbox, lambda: remove(tmp_path / JOURNAL), slow_users=(10,)
    )

    assert "was removed or replaced during the run" in the_error(ran)
    assert ran.results["successful"] == 11


@pytest.mark.parametrize(
    "rest", [b"", os.urandom(50_000), b"\0" * 8192], ids=["nothing", "noise", "zeros"]
)
def test_a_journal_damaged_after_its_header_is_set_aside_and_never_overwritten(
    tmp_path: Path, sandbox: SandboxProcess, rest: bytes
) -> None:
    """Exit code 78 and one line that says where the file is now; the next run starts fresh."""
    variables = environment(tmp_path, sandbox)
    garbage = SQLITE_HEADER + rest
    (tmp_path / JOURNAL).write_bytes(garbage)

    line = the_error(run(tmp_path, variables))

    aside = tmp_path / f"{JOURNAL}.damaged-1"
    assert f"The journal {tmp_path / JOURNAL} is damaged" in line
    assert aside.name in line
    assert aside.read_bytes() == garbage
    assert sandbox.calls() == []
    assert run(tmp_path, variables).exit_code == 0
    assert aside.read_bytes() == garbage


def test_a_second_damaged_journal_does_not_replace_the_first(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Each is kept under its own number."""
    variables = environment(tmp_path, sandbox)
    damaged = [SQLITE_HEADER + rest for rest in (b"first", b"second")]
    for garbage in damaged:
        (tmp_path / JOURNAL).write_bytes(garbage)
        the_error(run(tmp_path, variables))

    kept = sorted(path.read_bytes() for path in tmp_path.glob(f"{JOURNAL}.damaged-*"))
    assert kept == damaged


def test_a_journal_damaged_in_the_middle_is_one_line_and_stays_unchanged(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Its first page is intact and the others are not: exit code 78, the file is unchanged."""
    variables = environment(tmp_path, sandbox)
    run(tmp_path, variables)
    journal = tmp_path / JOURNAL
    damaged = journal.read_bytes()[:4096] + b"\xa5" * (journal.stat().st_size - 4096)
    journal.write_bytes(damaged)
    sent = len(sandbox.calls())

    line = the_error(run(tmp_path, variables))

    assert "damaged" in line
    kept = [path.read_bytes() for path in tmp_path.glob(f"{JOURNAL}*") if path.stat().st_size]
    assert damaged in kept
    assert len(sandbox.calls()) == sent


def test_damaged_rows_end_a_resumed_run_with_one_line(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Exit code 78 and nothing sent from them; a new run does not need them."""
    variables = environment(tmp_path, sandbox, ITERABLE_API_KEY="wrong-key")
    assert run(tmp_path, variables).exit_code == 77
    with closing(sqlite3.connect(tmp_path / JOURNAL)) as connection, connection:
        connection.execute("UPDATE packed_rows SET content = zeroblob(length(content))")
    sent = calls_seen(sandbox)
    variables["ITERABLE_API_KEY"] = sandbox.options.api_key

    line = the_error(run(tmp_path, variables, "--resume"))

    assert f"The journal {tmp_path / JOURNAL} is damaged" in line
    assert line.endswith("move it away and run again")
    assert calls_seen(sandbox) == sent
    assert run(tmp_path, variables).exit_code == 0


def test_a_journal_of_a_later_version_is_left_unchanged(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """After a downgrade of the program: exit code 78, and the file is unchanged."""
    variables = environment(tmp_path, sandbox)
    with closing(sqlite3.connect(tmp_path / JOURNAL)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = (tmp_path / JOURNAL).read_bytes()

    line = the_error(run(tmp_path, variables))

    assert "was written by a later version of this program" in line
    assert (tmp_path / JOURNAL).read_bytes() == before
    assert sandbox.calls() == []


def crashed_journal(path: Path, version: int, *positions: int) -> list[OldUser]:
    """An old journal with a crashed run: the first user delivered, the second half, the others not.

    The bodies have a field that is not made any more, and from version 4 on the CSV has a line of
    its own.
    """
    outcomes = [(1, OUTCOME, 1, OUTCOME), (1, OUTCOME, None, None)]
    users = [
        replace(
            old_user(position, page_view(number), outcome, nickname=f"é{number}"),
            csv_line=f"{number},a line of that time\r\n",
        )
        for number, (position, outcome) in enumerate(
            zip_longest(positions, outcomes, fillvalue=None), start=1
        )
        if position
    ]
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    old_journal(
        path,
        version,
        users,
        run_id="old-run",
        started_at=an_hour_ago.isoformat(),
        status="running",
        mode="single",
        csv_file="query_results_20260113_143045.csv",
        results_file="integration_results_20260113_143045.json",
    )
    return users


@pytest.mark.parametrize("positions", [(1, 2, 3), (4, 1000, 1001)], ids=["dense", "gaps"])
@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_an_unfinished_run_in_a_journal_of_an_old_version_is_resumed(
    tmp_path: Path, sandbox: SandboxProcess, version: int, positions: tuple[int, ...]
) -> None:
    """Only pending calls are sent, with the bodies that were stored, under the same run id."""
    users = crashed_journal(tmp_path / JOURNAL, version, *positions)
    variables = environment(tmp_path, sandbox)

    ran = run(tmp_path, variables, "--resume")

    sent = [(call["endpoint"], call["email"]) for call in sandbox.calls()]
    # The half delivered user's event is rejected: this mock server has no profile of theirs.
    assert sent == [
        ("events/track", "user2@example.com"),
        ("users/update", "user3@example.com"),
        ("events/track", "user3@example.com"),
    ]
    assert sandbox.state()["users"]["user3@example.com"]["dataFields"]["nickname"] == "é3"
    assert json.loads(users[2].event)["id"] in sandbox.state()["events"]
    assert ran.exit_code == 1
    results = ran.results
    assert (results["run_id"], results["total_users"]) == ("old-run", 3)
    assert (results["successful"], results["partial_failures"]) == (2, 1)
    assert [row["id"] for row in ran.csv_rows] == ["1", "2", "3"]
    if version >= 4:
        assert {row["email"] for row in ran.csv_rows} == {"a line of that time"}
    with closing(sqlite3.connect(tmp_path / JOURNAL)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


# Kills itself like kill -9 when the whole migration is done except its commit.
KILLED_IN_MID_MIGRATION = """
import os, pathlib, signal, sys
from integration.journal import file, migrations
kill = lambda database: os.kill(os.getpid(), signal.SIGKILL)
*older, newest = migrations.MIGRATIONS
migrations.MIGRATIONS = (*older, (*newest, kill))
file.JournalFile(pathlib.Path(sys.argv[1]))
"""


@pytest.mark.parametrize("version", [1, SCHEMA_VERSION - 1])
def test_a_kill_during_the_migration_of_an_old_journal_loses_nothing(
    tmp_path: Path, sandbox: SandboxProcess, version: int
) -> None:
    """A migration is one transaction: the next run finds the journal as it was."""
    crashed_journal(tmp_path / JOURNAL, version, 1, 2, 3)
    program = [sys.executable, "-c", KILLED_IN_MID_MIGRATION, str(tmp_path / JOURNAL)]
    killed = subprocess.run(program, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL

    ran = run(tmp_path, environment(tmp_path, sandbox), "--resume")

    assert ran.results["run_id"] == "old-run"
    assert ran.results["total_users"] == 3
