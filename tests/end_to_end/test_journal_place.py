"""What JOURNAL_FILE may name, as real processes: a separate file, and nothing else."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.journal.file import JournalError, JournalFile
from integration.journal.migrations import SCHEMA_VERSION
from tests.support.runs import database_of, environment_for, run

if TYPE_CHECKING:
    from sandbox.process import SandboxProcess

USERS = ["ada@example.com", "bob@example.com"]


@pytest.fixture
def variables(tmp_path: Path, sandbox: SandboxProcess) -> dict[str, str]:
    """A configuration for two users."""
    database = database_of(tmp_path / "customers.sqlite", USERS)
    return environment_for(tmp_path, sandbox, database)


def refusal(folder: Path, variables: dict[str, str], *arguments: str) -> str:
    """The only line of a run that exits with 78."""
    ran = run(folder, variables, *arguments)
    assert ran.exit_code == 78, ran.stderr
    (line,) = ran.stderr.splitlines()
    return line


@pytest.mark.parametrize("name", [":memory:", "./:memory:"])
def test_a_journal_in_memory_is_refused(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str], name: str
) -> None:
    """It would be lost with the process: nothing could be resumed."""
    line = refusal(tmp_path, variables | {"JOURNAL_FILE": name})

    assert "JOURNAL_FILE is " in line
    assert sandbox.calls() == []
    assert not (tmp_path / ":memory:").exists()


@pytest.mark.parametrize(
    "name", ["file:journal.db", "file:journal.db?mode=memory", "file::memory:", "-journal", "j?x#y"]
)
def test_any_other_name_is_the_name_of_a_file(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str], name: str
) -> None:
    """What SQLite would read as a URI is an ordinary name, and the next run finds the file."""
    variables |= {"JOURNAL_FILE": name}
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 401}])
    assert run(tmp_path, variables).exit_code == 77

    resumed = run(tmp_path, variables, "--resume")

    assert (tmp_path / name).is_file()
    assert (resumed.exit_code, resumed.results["successful"]) == (0, 2)


CONTENTS = [
    b"ITERABLE_API_KEY=a-key\n",
    b"x",
    b"2026-01-13 14:30:45 - main - INFO - Starting\n" * 500,
    b"\0" * 8192,
    b"SQLite format 3",
]


@pytest.mark.parametrize("arguments", [(), ("--status",), ("--dry-run",), ("--resume",)])
@pytest.mark.parametrize("content", CONTENTS, ids=["env", "byte", "log", "zeros", "almost"])
def test_a_file_that_is_not_an_sqlite_database_is_refused_and_stays_unchanged(
    tmp_path: Path, variables: dict[str, str], content: bytes, arguments: tuple[str, ...]
) -> None:
    """A wrong JOURNAL_FILE must not overwrite a file such as `.env`."""
    precious = tmp_path / "precious"
    precious.write_bytes(content)

    line = refusal(tmp_path, variables | {"JOURNAL_FILE": "precious"}, *arguments)

    assert "precious is not a journal" in line
    assert "JOURNAL_FILE" in line
    assert precious.read_bytes() == content
    assert list(tmp_path.glob("precious*")) in ([precious], [precious, Path(f"{precious}.lock")])


def test_a_path_that_is_not_a_regular_file_is_refused(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """A pipe would block forever, and a device stores nothing."""
    os.mkfifo(tmp_path / "pipe")
    for name in (str(tmp_path / "pipe"), "/dev/null"):
        line = refusal(tmp_path, variables | {"JOURNAL_FILE": name}, "--status")
        assert f"{name} is not a journal" in line


def test_an_empty_file_becomes_a_journal(tmp_path: Path, variables: dict[str, str]) -> None:
    """A file created by `touch` or `mktemp`."""
    (tmp_path / "new").touch()
    assert run(tmp_path, variables | {"JOURNAL_FILE": "new"}).exit_code == 0


def spelled(folder: Path, spelling: str) -> str:
    """Another name of `folder`'s `run.log`, which must exist for a hard link."""
    log = folder / "run.log"
    link = folder / "link"
    if spelling == "hard link":
        log.write_text("a line\n")
        link.hardlink_to(log)
    elif spelling == "link":
        link.symlink_to(log)
    elif spelling == "linked folder":
        link.symlink_to(folder)
        return str(link / "run.log")
    return {"same": "run.log", "dots": "./x/../run.log", "absolute": str(log)}.get(
        spelling, str(link)
    )


@pytest.mark.parametrize(
    "spelling", ["same", "dots", "absolute", "link", "hard link", "linked folder"]
)
def test_the_log_and_the_journal_are_two_files(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str], spelling: str
) -> None:
    """By any spelling or link: the log's lines would destroy the journal."""
    (tmp_path / "x").mkdir()
    name = spelled(tmp_path, spelling)
    log = tmp_path / "run.log"
    before = log.read_bytes() if log.exists() else None

    line = refusal(tmp_path, variables | {"JOURNAL_FILE": name})

    assert "JOURNAL_FILE and LOG_FILE" in line
    assert (log.read_bytes() if log.exists() else None) == before
    assert sandbox.calls() == []


@pytest.mark.parametrize(
    ("journal", "log"),
    [("run.log.1", "run.log"), ("journal.db", "journal.db-wal"), ("journal.db", "journal.db.lock")],
)
def test_the_log_and_the_journal_do_not_share_their_auxiliary_files(
    tmp_path: Path, variables: dict[str, str], journal: str, log: str
) -> None:
    """Rotation would replace the journal; SQLite would write into the log."""
    line = refusal(tmp_path, variables | {"JOURNAL_FILE": journal, "LOG_FILE": log})

    assert "JOURNAL_FILE and LOG_FILE" in line


@pytest.mark.parametrize("folder", ["nope_full", "malformed_dir", "not a database"])
def test_a_missing_folder_is_named_as_such(tmp_path: Path, folder: str) -> None:
    """The diagnosis comes from the error's code, never from words in the path."""
    path = tmp_path / folder / "journal.db"

    with pytest.raises(JournalError) as caught:
        JournalFile(path)

    line = str(caught.value)
    assert f"Cannot use the journal {path}: No such file or directory; check JOURNAL_FILE" in line


@pytest.mark.parametrize("command", ["--status", "--verify"])
def test_reading_leaves_a_damaged_journal_where_it_is(
    tmp_path: Path, variables: dict[str, str], command: str
) -> None:
    """Only a run sets it aside."""
    journal = tmp_path / "journal.db"
    damaged = b"SQLite format 3\0" + b"\xff" * 5000
    journal.write_bytes(damaged)

    line = refusal(tmp_path, variables | {"JOURNAL_FILE": str(journal)}, command)

    assert f"The journal {journal} is damaged" in line
    assert journal.read_bytes() == damaged
    assert list(tmp_path.glob("journal.db*")) == [journal]


@pytest.mark.parametrize("command", ["--status", "--verify"])
def test_reading_creates_no_journal(
    tmp_path: Path, variables: dict[str, str], command: str
) -> None:
    """Nor its folder, nor its lock."""
    journal = tmp_path / "new" / "journal.db"

    run(tmp_path, variables | {"JOURNAL_FILE": str(journal)}, command)

    assert not journal.parent.exists()


def test_a_dry_run_names_the_journal_that_it_cannot_read(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """It works on a copy, but the message names the original."""
    journal = tmp_path / "journal.db"
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")

    line = refusal(tmp_path, variables | {"JOURNAL_FILE": str(journal)}, "--dry-run")

    assert f"The journal {journal} was written by a later version" in line


def test_a_dry_run_leaves_a_damaged_journal_where_it_is(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """It changes nothing, and says what to do with the file."""
    journal = tmp_path / "journal.db"
    damaged = b"SQLite format 3\0" + b"\xff" * 5000
    journal.write_bytes(damaged)

    line = refusal(tmp_path, variables | {"JOURNAL_FILE": str(journal)}, "--dry-run")

    assert f"The journal {journal} is damaged" in line
    assert journal.read_bytes() == damaged
    assert list(tmp_path.glob("*.damaged*")) == []
