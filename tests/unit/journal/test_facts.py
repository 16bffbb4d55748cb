"""What the journal knows for the verdict."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from integration.core.clock import to_iso
from integration.core.facts import DeliveryFacts, LastDelivery, Pending
from integration.core.models import CALLS, Counts
from integration.journal import facts
from integration.journal.facts import DeliveryFactsReader, read_delivery_facts
from integration.journal.lock import open_journal
from integration.journal.store import Journal
from tests.support.journals import HEADER, completed_run
from tests.support.users import page_view

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

STARTED = datetime.fromisoformat(HEADER.started_at)
VIEWS = [page_view(number) for number in range(1, 6)]


def test_before_the_first_run_there_is_nothing(tmp_path: Path) -> None:
    """And nothing is created."""
    assert read_delivery_facts(tmp_path / "journal.db") == DeliveryFacts()
    assert list(tmp_path.iterdir()) == []


def test_the_last_run_and_what_waits_are_read(tmp_path: Path) -> None:
    """Failed, unfinished and unsendable users, each with their run."""
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        completed_run(journal, [*VIEWS, page_view(6, "no-at-sign")], failed=[(2, CALLS[0])])
        completed_run(journal, VIEWS[3:], reached=1, status="stopped", stop_reason="x: check y")

    found = read_delivery_facts(path)

    assert found == DeliveryFacts(
        last=LastDelivery(
            run_id="run-2",
            started_at=STARTED,
            status="stopped",
            counts=Counts(successful=1, not_attempted=1),
        ),
        starts=[STARTED, STARTED],
        unfinished=Pending(
            run_id="run-2", started_at=STARTED, status="stopped", users=1, stop_reason="x: check y"
        ),
        undelivered=Pending(
            run_id="run-2", started_at=STARTED, status="stopped", users=1, stop_reason="x: check y"
        ),
        unsendable=1,
    )


def test_a_run_in_progress_has_no_open_work(tmp_path: Path) -> None:
    """What is pending may be delivered soon."""
    path = tmp_path / "journal.db"
    with open_journal(path, dry_run=False) as journal:
        completed_run(journal, VIEWS, reached=2, status="running")
        found = read_delivery_facts(path)

    assert (found.is_running, found.unfinished, found.undelivered) == (True, None, None)
    assert found.last
    assert found.last.counts == Counts(successful=2, not_attempted=3)


def test_retries_are_not_part_of_the_schedule(tmp_path: Path) -> None:
    """They are started by hand."""
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        for day in range(12):
            run = completed_run(journal, VIEWS[:1], kind="retry" if day == 11 else "full")
            start = to_iso(STARTED + timedelta(days=day))
            journal.execute("UPDATE runs SET started_at = ? WHERE run = ?", (start, run))

    starts = read_delivery_facts(path).starts

    assert starts == [STARTED + timedelta(days=day) for day in range(10, 2, -1)]


def test_a_journal_that_cannot_be_read_is_a_fact(tmp_path: Path) -> None:
    """And no error of its own."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"id,email")
    assert "is not a journal" in (read_delivery_facts(path).error or "")


def test_an_unchanged_journal_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change, a new run and its end are seen at once."""
    path = tmp_path / "journal.db"
    reads: list[Path] = []

    def read(journal: Path) -> DeliveryFacts:
        reads.append(journal)
        return read_delivery_facts(journal)

    monkeypatch.setattr(facts, "read_delivery_facts", read)
    reader = DeliveryFactsReader(path)
    assert reader.read() == reader.read() == DeliveryFacts()
    with open_journal(path, dry_run=False) as journal:
        assert reader.read().is_running
        completed_run(journal, VIEWS, reached=2)
        assert reader.read().last == reader.read().last
    assert not reader.read().is_running
    reader.read()
    assert len(reads) == 4
