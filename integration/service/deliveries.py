"""Delivery runs as the window shows them, from a journal that may be missing or unreadable."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from integration.journal.lock import is_locked
from integration.journal.queries import count_outcomes, find_run, runs_before
from integration.journal.read_only import ReadOnlyJournal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from integration.core.models import Counts, Run
    from integration.journal.reading import JournalReader

ALL = 2**63 - 1
_UNFINISHED = frozenset({"running", "loading"})


class DeliveryRun(NamedTuple):
    """A delivery run.

    Attributes:
        status: that of the run, or `crashed`.
        seconds: how long it took, or has taken so far.
    """

    run: Run
    status: str
    counts: Counts
    started_at: datetime
    finished_at: datetime | None
    seconds: float

    @property
    def done(self) -> int:
        """How many users have an outcome."""
        return self.counts.total_users - self.counts.not_attempted

    @property
    def rate(self) -> float | None:
        """Users sent per second."""
        sent = self.done - self.counts.unchanged
        return sent / self.seconds if self.seconds > 0 else None


@contextmanager
def opened_journal(path: Path) -> Iterator[ReadOnlyJournal | None]:
    """The journal, or None before the first run.

    Raises:
        JournalError: it is damaged or of another version.
    """
    journal = ReadOnlyJournal.open(path)
    if journal is None:
        yield None
        return
    with journal:
        yield journal


def delivery_runs(
    file: JournalReader, path: Path, now: datetime, limit: int, before: int = ALL
) -> list[DeliveryRun]:
    """The newest runs before the run `before`, newest first."""
    return _shown(file, path, now, runs_before(file, before, limit))


def delivery_run(file: JournalReader, path: Path, now: datetime, number: int) -> DeliveryRun | None:
    """One run, if the journal still has it."""
    run = find_run(file, number)
    return _shown(file, path, now, [run])[0] if run else None


def _shown(
    file: JournalReader, path: Path, now: datetime, runs: Sequence[Run]
) -> list[DeliveryRun]:
    running = None
    if any(run.status in _UNFINISHED for run in runs) and is_locked(path):
        running = next((run.number for run in runs_before(file, ALL, 1)), None)
    return [_one(file, run, now, is_running=run.number == running) for run in runs]


def _one(file: JournalReader, run: Run, now: datetime, *, is_running: bool) -> DeliveryRun:
    started = datetime.fromisoformat(run.started_at)
    finished = datetime.fromisoformat(run.finished_at) if run.finished_at else None
    status: str = run.status
    if status in _UNFINISHED:
        status = "running" if is_running else "crashed"
    end = finished or (now if is_running else started)
    counts = count_outcomes(file, run.number)
    return DeliveryRun(run, status, counts, started, finished, (end - started).total_seconds())
