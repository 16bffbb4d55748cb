"""Reading a journal changes none of its files, whatever state they are in."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from integration.journal.migrations import SCHEMA_VERSION
from integration.journal.queries import count_outcomes, recent_runs
from integration.journal.read_only import ReadOnlyJournal
from integration.journal.reading import JournalError
from integration.journal.schema import SQLITE_HEADER
from integration.journal.store import Journal
from tests.support.journal_writer import JournalWriter
from tests.support.journals import completed_run
from tests.support.old_journals import old_journal, old_user
from tests.support.privileges import lower_privileges, needs_permissions
from tests.support.runs import ROOT
from tests.support.users import page_view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Another process, because closing a file drops the locks that this one has on it.
_READER = """
import sys
from pathlib import Path
from integration.core.errors import AppError
from integration.journal.queries import count_outcomes, recent_runs
from integration.journal.lock import is_locked
from integration.journal.read_only import ReadOnlyJournal
path = Path(sys.argv[1])
try:
    journal = ReadOnlyJournal.open(path)
    if journal is None:
        print("none")
    else:
        with journal:
            for run in recent_runs(journal, 10):
                print(run.run_id, run.status, count_outcomes(journal, run.number).total_users)
            print("locked" if is_locked(path) else "free")
except AppError as error:
    print(int(error.exit_code), error)
"""


def read(path: Path) -> list[str]:
    """The runs and the lock of a journal, as another process without root's rights sees them."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _READER, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lower_privileges,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """The files in a folder, with a digest and the time of their last change."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
    }


def read_unchanged(path: Path) -> list[str]:
    """What `read` returns, after a check that no file was changed, created or removed."""
    before = contents(path.parent)
    lines = read(path)
    assert contents(path.parent) == before
    return lines


def completed_journal(path: Path, users: int = 3) -> Path:
    """A journal with one completed run."""
    with Journal(path) as journal:
        completed_run(journal, [page_view(number) for number in range(1, users + 1)])
    return path


def killed_journal(path: Path) -> Path:
    """A journal as a killed run leaves it: a part of it is in `-wal`."""
    with JournalWriter(completed_journal(path)) as writer:
        writer.do("begin(5)")
        writer.kill()
    return path


def test_a_complete_journal_is_read(tmp_path: Path) -> None:
    """Neither `-wal` nor `-shm` is created, which SQLite does even in mode=ro."""
    path = completed_journal(tmp_path / "journal.db")

    assert read_unchanged(path) == ["run-1 completed 3", "free"]
    assert list(contents(tmp_path)) == ["journal.db"]


def test_a_journal_in_use_is_read_as_far_as_it_is_committed(tmp_path: Path) -> None:
    """Also after a checkpoint, and after the first commit that follows one."""
    path = completed_journal(tmp_path / "journal.db")
    with JournalWriter(path) as writer:
        assert read_unchanged(path) == ["run-1 completed 3", "locked"]
        writer.do("run(5)")
        runs = ["run-2 completed 5", "run-1 completed 3"]
        assert read_unchanged(path) == [*runs, "locked"]
        writer.do("checkpoint()")
        assert read_unchanged(path) == [*runs, "locked"]
        writer.do("begin(2)")
        assert read_unchanged(path) == ["run-3 running 2", *runs, "locked"]
    assert read_unchanged(path) == ["run-3 running 2", *runs, "free"]


@pytest.mark.parametrize("removed", [(), ("-shm",)], ids=["kill", "power cut"])
@pytest.mark.parametrize("empty", [False, True])
def test_what_a_killed_run_has_committed_is_read(
    tmp_path: Path, removed: tuple[str, ...], *, empty: bool
) -> None:
    """`-shm` may be missing or empty after a power cut: it is never synced."""
    path = killed_journal(tmp_path / "journal.db")
    if empty:
        (tmp_path / "journal.db-shm").write_bytes(b"")
    for suffix in removed:
        (tmp_path / f"journal.db{suffix}").unlink()

    assert read_unchanged(path) == ["run-2 running 5", "run-1 completed 3", "free"]


@needs_permissions
@pytest.mark.parametrize("make", [completed_journal, killed_journal])
def test_a_journal_that_cannot_be_written_is_read(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    """Neither the files nor their folder are writable."""
    path = make(tmp_path / "journal.db")
    for file in tmp_path.iterdir():
        file.chmod(0o400)
    tmp_path.chmod(0o500)

    try:
        assert read_unchanged(path)[-2:] == ["run-1 completed 3", "free"]
    finally:
        tmp_path.chmod(0o700)


@needs_permissions
@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal", "journal.db.lock"])
def test_a_file_without_read_permission_is_one_line(tmp_path: Path, name: str) -> None:
    """It names the setting."""
    path = killed_journal(tmp_path / "journal.db")
    (tmp_path / name).chmod(0)

    line = read_unchanged(path)[-1]

    assert line.startswith("78 Cannot ")
    assert "check JOURNAL_FILE and its folder" in line


def test_a_journal_that_another_program_locks_is_one_line(tmp_path: Path) -> None:
    """Soon: the pages of a window wait for it."""
    path = completed_journal(tmp_path / "j.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("SELECT * FROM runs").fetchall()
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE runs SET status = status")
        other.execute("COMMIT")
        began = time.monotonic()
        (line,) = read(path)

    assert line.startswith("78 ")
    assert "locked" in line
    assert time.monotonic() - began < 20


def test_no_journal_yet_is_none(tmp_path: Path) -> None:
    """Missing, empty, and at the moment when the first run creates its tables."""
    path = tmp_path / "journal.db"
    assert read_unchanged(path) == ["none"]
    path.touch()
    assert read_unchanged(path) == ["none"]
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        assert read(path) == ["none"]


@pytest.mark.parametrize(
    ("version", "words"),
    [(SCHEMA_VERSION + 1, "later version"), (SCHEMA_VERSION - 1, "earlier version")],
)
def test_a_journal_of_another_version_is_one_line(tmp_path: Path, version: int, words: str) -> None:
    """It is neither migrated nor read."""
    path = tmp_path / "journal.db"
    old_journal(path, 5, [old_user(1, page_view(1))])
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA user_version = {version}")

    (line,) = read_unchanged(path)

    assert line.startswith(f"78 The journal {path} was written by a{'n' * (words[0] == 'e')} ")
    assert words in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (SQLITE_HEADER, "is damaged"),
        (SQLITE_HEADER + b"\xff" * 5000, "is damaged"),
        (b"id,email\r\n", "is not a journal and stays as it is"),
    ],
)
def test_a_file_that_is_no_journal_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    """A damaged one is not set aside: only a run does that."""
    path = tmp_path / "journal.db"
    path.write_bytes(content)

    (line,) = read_unchanged(path)

    assert line.startswith("78 ")
    assert words in line


def test_a_journal_damaged_in_the_middle_is_one_line(tmp_path: Path) -> None:
    """The first page is intact."""
    path = completed_journal(tmp_path / "journal.db")
    path.write_bytes(path.read_bytes()[:4096] + b"\xa5" * (path.stat().st_size - 4096))

    (line,) = read_unchanged(path)

    assert line.startswith(f"78 The journal {path} is damaged")


def test_nothing_can_be_written(tmp_path: Path) -> None:
    """Not even by SQL."""
    path = completed_journal(tmp_path / "journal.db")
    with ReadOnlyJournal(path) as journal, pytest.raises(JournalError, match="readonly database"):
        journal.all("DELETE FROM runs")


def test_a_run_that_starts_while_the_journal_is_open_is_seen(tmp_path: Path) -> None:
    """What was read without locks is checked, and read again if a run has changed the file."""
    path = completed_journal(tmp_path / "journal.db")
    with ReadOnlyJournal(path) as journal:
        assert len(recent_runs(journal, 10)) == 1
        with JournalWriter(path) as writer:
            writer.do("run(3000, reached=3000)")
            writer.do("checkpoint()")
            newest, _ = recent_runs(journal, 10)
            assert count_outcomes(journal, newest.number).successful == 3000
        assert len(recent_runs(journal, 10)) == 2


def test_a_journal_that_is_replaced_while_it_is_open_is_read_anew(tmp_path: Path) -> None:
    """As after a restore from a backup."""
    path = completed_journal(tmp_path / "journal.db", users=1)
    other = completed_journal(tmp_path / "other.db", users=2)
    with ReadOnlyJournal(path) as journal:
        other.rename(path)
        assert [run.total_users for run in recent_runs(journal, 10)] == [2]


# Opens, writes and closes a journal over and over: all that may change while it is read.
_BUSY = """
import sys
from pathlib import Path
from integration.journal.store import Journal
from tests.support.journals import completed_run
from tests.support.users import page_view
views = [page_view(number) for number in range(1, 301)]
print("ready", flush=True)
while True:
    with Journal(Path(sys.argv[1])) as journal:
        for _ in range(3):
            completed_run(journal, views)
"""


def test_reading_never_fails_while_runs_begin_and_end(tmp_path: Path) -> None:
    """Each answer is that of one moment: a run has all its users or none."""
    path = completed_journal(tmp_path / "journal.db", users=300)
    process = subprocess.Popen(
        [sys.executable, "-c", _BUSY, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        seen = set()
        for _ in range(300):
            with ReadOnlyJournal(path) as journal:
                rows = journal.all(
                    "SELECT r.run, r.total_users, COUNT(*) FROM runs r"
                    " JOIN users u ON u.run = r.run"
                    " WHERE r.run > (SELECT MAX(run) FROM runs) - 5 GROUP BY r.run"
                )
            assert {row[1:] for row in rows if row[1]} == {(300, 300)}
            seen.add(max(row[0] for row in rows))
        assert len(seen) > 3
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
