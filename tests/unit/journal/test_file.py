"""The journal's file is migrated completely or not at all."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from integration.journal import migrations
from integration.journal.file import JournalError, JournalFile
from integration.journal.migrations import MIGRATIONS, SCHEMA_VERSION
from integration.journal.schema import SQLITE_HEADER, advice, email_key
from tests.support.old_journals import old_journal, old_user
from tests.support.users import page_view

if TYPE_CHECKING:
    from pathlib import Path


def columns_of(path: Path) -> dict[str, list[str]]:
    """The tables and views of a journal, with their columns."""
    with closing(sqlite3.connect(path)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master")]
        return {
            name: [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
            for name in names
        }


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_migration_that_fails_at_its_end_leaves_the_version_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """One transaction: no table or column of the new version remains, and no user is missing."""
    path = tmp_path / "journal.db"
    old_journal(path, version, [old_user(1, page_view(1))])
    before = columns_of(path)
    broken = (*MIGRATIONS[version], "nonsense")
    steps = (*MIGRATIONS[:version], broken, *MIGRATIONS[version + 1 :])
    monkeypatch.setattr(migrations, "MIGRATIONS", steps)

    with pytest.raises(JournalError, match="nonsense"):
        JournalFile(path)

    assert columns_of(path) == before
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (version,)
        email = "email" if version < 5 else "email_key"
        expected = "user1@example.com" if version < 5 else email_key("user1@example.com")
        assert database.execute(f"SELECT {email} FROM users").fetchall() == [(expected,)]


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
