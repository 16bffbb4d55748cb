"""What was told last, in the journal."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from integration.journal.lock import open_journal
from integration.journal.notified import read_states, store_states
from integration.journal.read_only import ReadOnlyJournal
from integration.journal.reading import JournalError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_last_state_of_each_scope_is_kept(tmp_path: Path) -> None:
    """In a journal that is made if there is none, and that has no run then."""
    path = tmp_path / "journal.db"
    assert read_states(path) == {}

    store_states(path, {"delivery": "failed 69", "source crm": "partial"})
    store_states(path, {"delivery": "ok"})

    assert read_states(path) == {"delivery": "ok", "source crm": "partial"}
    with ReadOnlyJournal(path) as journal:
        assert journal.all("SELECT * FROM runs") == []


def test_a_run_in_progress_does_not_matter(tmp_path: Path) -> None:
    """The ingest tells while a delivery holds the lock."""
    path = tmp_path / "journal.db"
    with open_journal(path, dry_run=False):
        store_states(path, {"ingest": "failed 69"})
    assert read_states(path) == {"ingest": "failed 69"}


def test_a_journal_that_is_busy_is_an_error_after_a_second(tmp_path: Path) -> None:
    """While a delivery loads its users; what was told is then told again."""
    path = tmp_path / "journal.db"
    store_states(path, {})
    with closing(sqlite3.connect(path, isolation_level=None)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError):
            store_states(path, {"ingest": "ok"})


def test_a_damaged_journal_is_left_to_the_next_delivery(tmp_path: Path) -> None:
    """Which sets it aside."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with pytest.raises(JournalError):
        read_states(path)
    assert [one.name for one in tmp_path.iterdir()] == ["journal.db"]
