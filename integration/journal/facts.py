"""What the journal knows for the verdict."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from integration.core.facts import DeliveryFacts, LastDelivery, Pending
from integration.core.verdict import PAUSES_COMPARED
from integration.journal.backlog import of_another_project, undelivered, unfinished, unsendable
from integration.journal.lock import is_locked
from integration.journal.queries import count_outcomes, recent_runs
from integration.journal.read_only import ReadOnlyJournal, files_of
from integration.journal.reading import JournalError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from integration.core.models import Run
    from integration.journal.backlog import Backlog, Unsendable
    from integration.journal.reading import JournalReader

# Among so many runs, enough read the database.
MAX_RUNS_READ = 4 * PAUSES_COMPARED


class OpenWork(NamedTuple):
    """The runs that left users pending; see the functions of `backlog`."""

    unfinished: Backlog | None = None
    undelivered: Backlog | None = None
    elsewhere: Backlog | None = None
    unsendable: Unsendable | None = None


def open_work(file: JournalReader, project: str | None, sync: str | None = None) -> OpenWork:
    """What waits to be done for `project` and `sync` (None: for any)."""
    return OpenWork(
        unfinished(file, project, sync),
        undelivered(file, project, sync),
        of_another_project(file, project, sync) if project else None,
        unsendable(file, project, sync),
    )


def delivery_facts(file: JournalReader, work: OpenWork, *, running: bool) -> DeliveryFacts:
    """The facts of the deliveries.

    Args:
        file: the journal.
        work: what waits to be done.
        running: whether a run is in progress.
    """
    runs = recent_runs(file, MAX_RUNS_READ)
    return DeliveryFacts(
        is_running=running,
        last=_last(file, runs[0]) if runs else None,
        starts=_starts(runs),
        unfinished=_pending(work.unfinished),
        undelivered=_pending(work.undelivered),
        elsewhere=_pending(work.elsewhere),
        unsendable=sum(number for _, number in work.unsendable.reasons) if work.unsendable else 0,
    )


def read_delivery_facts(path: Path, project: str | None = None) -> DeliveryFacts:
    """The facts of a project's deliveries, or all, from a journal that may be unreadable."""
    try:
        journal = ReadOnlyJournal.open(path)
        if journal is None:
            return DeliveryFacts()
        with journal:
            running = is_locked(path)
            work = OpenWork() if running else open_work(journal, project)
            return delivery_facts(journal, work, running=running)
    except JournalError as error:
        return DeliveryFacts(error=str(error))


class DeliveryFactsReader:
    """Reads the facts for those who ask often: only if the journal has changed since.

    Args:
        path: the journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[object, DeliveryFacts] | None = None

    def read(self) -> DeliveryFacts:
        """What `read_delivery_facts` returns."""
        try:
            state = files_of(self._path), is_locked(self._path)
        except (JournalError, OSError):
            return read_delivery_facts(self._path)
        known = self._known
        if known is None or known[0] != state:
            known = self._known = (state, read_delivery_facts(self._path))
        return known[1]


def _last(file: JournalReader, run: Run) -> LastDelivery:
    return LastDelivery(
        run_id=run.run_id,
        started_at=_time(run.started_at),
        status=run.status,
        counts=count_outcomes(file, run.number),
    )


def _starts(runs: Sequence[Run]) -> list[datetime]:
    """When the last runs started that a schedule may have started."""
    starts = [_time(run.started_at) for run in runs if run.kind != "retry"]
    return starts[: PAUSES_COMPARED + 1]


def _pending(backlog: Backlog | None) -> Pending | None:
    if backlog is None:
        return None
    run = backlog.run
    return Pending(
        run_id=run.run_id,
        started_at=_time(run.started_at),
        status=run.status,
        users=backlog.pending_users,
        stop_reason=run.stop_reason,
        sync=run.sync,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
