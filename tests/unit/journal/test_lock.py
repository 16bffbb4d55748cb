"""One run at a time on a journal."""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from integration.journal.lock import LockedError, is_locked, open_journal
from integration.journal.queries import recent_runs
from tests.support.journals import HEADER, completed_run
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_run_on_the_same_journal_is_refused(tmp_path: Path) -> None:
    """Until the first has ended."""
    path = tmp_path / "journal.db"
    with open_journal(path, dry_run=False):
        assert is_locked(path)
        with (
            pytest.raises(LockedError, match="Another run holds"),
            open_journal(path, dry_run=False),
        ):
            pass
    with open_journal(path, dry_run=False):
        pass
    assert not is_locked(path)


def test_the_same_journal_by_another_name_is_locked_too(tmp_path: Path) -> None:
    """A symbolic link does not make a second journal."""
    path, link = tmp_path / "journal.db", tmp_path / "link.db"
    link.symlink_to(path)
    with open_journal(path, dry_run=False):
        assert is_locked(link)


def test_a_dry_run_sees_the_journal_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copy has no name, so that even a kill leaves no personal data behind."""
    path, elsewhere = tmp_path / "journal.db", tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    with open_journal(path, dry_run=False) as journal:
        completed_run(journal, [page_view(1)])
    before = path.read_bytes()

    with open_journal(path, dry_run=True) as copy:
        assert list(elsewhere.iterdir()) == []
        assert len(recent_runs(copy, 10)) == 1
        completed_run(copy, [page_view(number) for number in range(2_000)])
        assert len(recent_runs(copy, 10)) == 2

    assert path.read_bytes() == before


def test_a_dry_run_before_any_run_begins_with_nothing(tmp_path: Path) -> None:
    """It creates no journal."""
    with open_journal(tmp_path / "journal.db", dry_run=True) as journal:
        assert journal.begin(HEADER, [new_user(page_view(1))]) == 1
    assert list(tmp_path.iterdir()) == []


class PatientClock:
    """A clock that only sleeping advances; a sleep lasts slightly longer than requested."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds + 0.001


def test_the_lock_is_waited_for_no_longer_than_a_person_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run exits immediately, but a brief check by --status does not make it fail."""
    path = tmp_path / "journal.db"
    clock = PatientClock()
    with FileLock(f"{path}.lock"), monkeypatch.context() as patched:
        patched.setattr(time, "perf_counter", clock)
        patched.setattr(time, "sleep", clock.sleep)
        with pytest.raises(LockedError), open_journal(path, dry_run=False):
            pass

    assert 0.1 <= clock.seconds <= 0.5
