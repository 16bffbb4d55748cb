"""The journal's file: brought up to date as a whole, or left as it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import journal_file
from journal_file import JournalError, JournalFile
from journal_format import MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path


def test_a_migration_that_fails_at_its_end_leaves_the_version_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction: no column of the new version stays behind."""
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
