"""One run at a time on a journal."""

from __future__ import annotations

import fcntl
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.journal.file import JournalError
from integration.journal.lock import LockedError, is_locked, open_journal
from integration.journal.queries import recent_runs
from tests.support.journals import HEADER, completed_run
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Callable


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


def test_the_folder_of_a_journal_is_created(tmp_path: Path) -> None:
    """The lock file is the first file in it."""
    path = tmp_path / "new" / "folder" / "journal.db"
    with open_journal(path, dry_run=False):
        assert is_locked(path)


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

    def __init__(self, on_sleep: Callable[[], None] = lambda: None) -> None:
        self.seconds = 0.0
        self.on_sleep = on_sleep

    def __call__(self) -> float:
        """The time."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds + 0.001
        self.on_sleep()

    def set(self, patch: pytest.MonkeyPatch) -> None:
        """Use it instead of the real time."""
        patch.setattr(time, "monotonic", self)
        patch.setattr(time, "sleep", self.sleep)


def test_the_lock_is_waited_for_no_longer_than_a_person_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run exits immediately."""
    path = tmp_path / "journal.db"
    clock = PatientClock()
    with open_journal(path, dry_run=False), monkeypatch.context() as patched:
        clock.set(patched)
        with pytest.raises(LockedError), open_journal(path, dry_run=False):
            pass

    assert 0.1 <= clock.seconds <= 0.5


def test_a_brief_check_by_status_does_not_make_a_run_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the lock for a moment."""
    path = tmp_path / "journal.db"
    with ExitStack() as check:
        check.enter_context(open_journal(path, dry_run=False))
        clock = PatientClock(on_sleep=check.close)
        with monkeypatch.context() as patched:
            clock.set(patched)
            with open_journal(path, dry_run=False):
                assert 0 < clock.seconds < 0.1


def test_a_lock_file_that_is_deleted_meanwhile_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on it would not keep the next run out."""
    path = tmp_path / "journal.db"
    lock_file = Path(f"{path}.lock")
    flock = fcntl.flock

    def delete_and_lock(descriptor: int, operation: int) -> None:
        lock_file.unlink()
        monkeypatch.undo()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", delete_and_lock)
    with open_journal(path, dry_run=False):
        assert is_locked(path)


def test_the_lock_file_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    """And is no link: what it leads to would be created."""
    path = tmp_path / "journal.db"
    lock_file = Path(f"{path}.lock")
    with open_journal(path, dry_run=False):
        assert lock_file.stat().st_mode & 0o777 == 0o600
    lock_file.unlink()
    lock_file.symlink_to(tmp_path / "elsewhere")

    with (
        pytest.raises(JournalError, match=r"^Cannot write .*\.lock: "),
        open_journal(path, dry_run=False),
    ):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_others_who_look_are_not_taken_for_a_run(tmp_path: Path) -> None:
    """The page, `--status` and `stats` may look at the same moment."""
    path = tmp_path / "journal.db"
    with open_journal(path, dry_run=False):
        pass
    with Path(f"{path}.lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not is_locked(path)
