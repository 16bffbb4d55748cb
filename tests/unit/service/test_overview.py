"""The journal as the overview shows it, read again only if it has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.core.clock import utc_now
from integration.core.models import CALLS
from integration.journal.facts import open_work
from integration.journal.lock import open_journal
from integration.journal.reading import JournalError
from integration.journal.store import Journal
from integration.service import overview
from integration.service.overview import JournalLooks
from tests.support.journals import completed_run
from tests.support.users import page_view

if TYPE_CHECKING:
    from pathlib import Path

VIEWS = [page_view(number) for number in range(1, 6)]


@pytest.fixture
def looks(tmp_path: Path) -> JournalLooks:
    """Of a journal that does not exist yet."""
    return JournalLooks(tmp_path / "journal.db")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list that grows each time the open work is read."""
    made: list[object] = []

    def watch(*arguments: object) -> object:
        made.append(arguments)
        return open_work(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(overview, "open_work", watch)
    return made


def test_an_unchanged_journal_is_read_once(
    tmp_path: Path, looks: JournalLooks, reads: list[object]
) -> None:
    """A new run is seen at once."""
    path = tmp_path / "journal.db"
    assert looks.read(utc_now()).totals is None
    with Journal(path) as journal:
        completed_run(journal, VIEWS, failed=[(1, CALLS[0])])
    first = looks.read(utc_now())
    assert looks.read(utc_now()) is first
    assert len(reads) == 1
    with Journal(path) as journal:
        completed_run(journal, VIEWS)
    second = looks.read(utc_now())
    assert len(reads) == 2
    assert [len(look.runs) for look in (first, second)] == [1, 2]
    assert first.facts.undelivered
    assert not second.facts.undelivered


def test_a_run_in_progress_is_read_each_time(tmp_path: Path, looks: JournalLooks) -> None:
    """Its duration grows; once it has been killed, it is shown as crashed."""
    with open_journal(tmp_path / "journal.db", dry_run=False) as journal:
        completed_run(journal, VIEWS, reached=2, status="running")
        running, again = looks.read(utc_now()), looks.read(utc_now())
    ended = looks.read(utc_now())
    assert running.facts.is_running
    assert running.runs[0].status == "running"
    assert again.runs[0].seconds > running.runs[0].seconds
    assert not ended.facts.is_running
    assert ended.runs[0].status == "crashed"


def test_a_journal_that_cannot_be_read_is_tried_again(tmp_path: Path, looks: JournalLooks) -> None:
    """Nothing is remembered of it."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"id,email")
    for _ in range(2):
        with pytest.raises(JournalError, match="is not a journal"):
            looks.read(utc_now())
