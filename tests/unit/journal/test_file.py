"""The journal's file is migrated completely or not at all."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from integration.journal import file as journal_file
from integration.journal.file import JournalError, JournalFile
from integration.journal.migrations import MIGRATIONS
from integration.journal.schema import SQLITE_HEADER, advice

if TYPE_CHECKING:
    from pathlib import Path


def test_a_migration_that_fails_at_its_end_leaves_the_version_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction: no column of the new version remains."""
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(f"{MIGRATIONS[0]}; PRAGMA user_version = 1")
    broken = f"{MIGRATIONS[1]}; nonsense"
    monkeypatch.setattr(journal_file, "MIGRATIONS", (MIGRATIONS[0], broken))
    monkeypatch.setattr(journal_file, "SCHEMA_VERSION", 2)

    with pytest.raises(JournalError, match="nonsense"):
        JournalFile(path)

    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        columns = [row[1] for row in database.execute("PRAGMA table_info(runs)")]
    assert "run_id" in columns
    assert "settled" not in columns


def sqlite_error(path: Path, statement: str) -> sqlite3.Error:
    """SQLite's error for a statement that fails."""
    with pytest.raises(sqlite3.Error) as caught, closing(sqlite3.connect(path)) as database:
        database.execute(statement)
    return caught.value


def too_full(path: Path) -> sqlite3.Error:
    """SQLite's error for a database that may not grow."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.Error) as caught:
            database.execute("CREATE TABLE more (x)")
    return caught.value


def test_the_diagnosis_comes_from_the_code_and_not_from_words(tmp_path: Path) -> None:
    """A full disk is ENOSPC, EDQUOT or SQLITE_FULL; damage is SQLITE_CORRUPT or SQLITE_NOTADB."""
    path = tmp_path / "full of malformed things, not a database"
    garbage = tmp_path / "garbage"
    garbage.write_bytes(SQLITE_HEADER + b"\xff" * 5000)
    missing = OSError(errno.ENOENT, "No such file or directory", str(path / "No space left"))
    told: dict[str, list[Exception]] = {
        "disk is full": [
            OSError(errno.ENOSPC, "whatever"),
            OSError(errno.EDQUOT, "whatever"),
            too_full(tmp_path / "full"),
        ],
        "is damaged": [sqlite_error(garbage, "SELECT 1 FROM sqlite_master")],
        "Cannot use the journal": [
            missing,
            sqlite_error(tmp_path / "new", "SELECT 'full' FROM malformed"),
            sqlite_error(path / "missing", "SELECT 1"),
            sqlite3.ProgrammingError("a disk that is full, not a database, malformed"),
        ],
    }
    for said, errors in told.items():
        for error in errors:
            assert said in advice(tmp_path / "journal.db", error)
