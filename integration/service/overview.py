"""Everything that `/`, `/health`, `/stats` and `/metrics` show, gathered at once.

What cannot be read is left out, with the reason. Many requests within a second share one look.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from integration.core.clock import utc_now
from integration.core.facts import DeliveryFacts, Facts
from integration.core.verdict import judge
from integration.database.errors import DatabaseError
from integration.journal.facts import OpenWork, delivery_facts, open_work
from integration.journal.lock import is_locked
from integration.journal.read_only import files_of
from integration.journal.reading import JournalError
from integration.journal.run_users import run_totals
from integration.service.deliveries import delivery_runs, opened_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from integration.core.ingest_facts import RejectedGroup, SourceOverview
    from integration.core.verdict import Verdict
    from integration.journal.read_only import Files
    from integration.journal.run_users import RunTotals
    from integration.service.deliveries import DeliveryRun
    from integration.service.parts import Parts

T = TypeVar("T")

RUNS_SHOWN = 30
MAX_AGE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What is known now.

    Attributes:
        deliveries: the last runs, newest first.
        totals: all runs of the journal together; None without a journal.
        pending_users: users that --resume or --retry-failed would send.
    """

    now: datetime
    verdict: Verdict
    sources: Sequence[SourceOverview] = ()
    rejected: Sequence[RejectedGroup] = ()
    database_error: str | None = None
    deliveries: Sequence[DeliveryRun] = ()
    totals: RunTotals | None = None
    pending_users: int = 0
    journal_error: str | None = None

    @property
    def unavailable(self) -> list[dict[str, str]]:
        """What could not be read, and why."""
        errors = {"database": self.database_error, "journal": self.journal_error}
        return [{"part": name, "detail": text} for name, text in errors.items() if text]


class Overviews:
    """The overview, at most a second old.

    Args:
        parts: what to read.
        clock: the time in seconds.
    """

    def __init__(self, parts: Parts, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: tuple[float, Overview] | None = None
        self._journal = JournalLooks(parts.journal)

    def current(self) -> Overview:
        """The overview; only one thread at a time looks."""
        with self._lock:
            if self._latest is None or self._clock() - self._latest[0] >= MAX_AGE_SECONDS:
                overview = gather(self._parts, self._journal)
                self._latest = self._clock(), overview
            return self._latest[1]


class JournalLook(NamedTuple):
    """What was read of the journal."""

    facts: DeliveryFacts
    runs: Sequence[DeliveryRun] = ()
    totals: RunTotals | None = None


class JournalLooks:
    """Reads the journal for those who ask often: only if it has changed since.

    Args:
        path: the journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[Files, JournalLook] | None = None

    def read(self, now: datetime) -> JournalLook:
        """The journal as it is now.

        Raises:
            JournalError: it cannot be read.
        """
        if is_locked(self._path):
            return _look(self._path, now, running=True)
        try:
            files = files_of(self._path)
        except OSError:
            return _look(self._path, now, running=False)
        if self._known is None or self._known[0] != files:
            self._known = files, _look(self._path, now, running=False)
        return self._known[1]


def gather(parts: Parts, looks: JournalLooks) -> Overview:
    """Read the database, and the journal if it has changed."""
    now = utc_now()
    database, database_error = _or_error(lambda: _database(parts))
    sources, rejected = database or ((), ())
    journal, journal_error = _or_error(lambda: looks.read(now))
    facts, runs, totals = journal or JournalLook(DeliveryFacts(error=journal_error))
    verdict = judge(
        Facts(
            now=now,
            deliveries=facts,
            sources=None if database_error else [source.facts for source in sources],
            database_error=database_error,
            delivery_every_hours=parts.delivery_every_hours,
        )
    )
    return Overview(
        now=now,
        verdict=verdict,
        sources=sources,
        rejected=rejected,
        database_error=database_error,
        deliveries=runs,
        totals=totals,
        pending_users=_pending(facts),
        journal_error=journal_error,
    )


def _or_error(read: Callable[[], T]) -> tuple[T | None, str | None]:
    try:
        return read(), None
    except (DatabaseError, JournalError) as error:
        return None, str(error)


def _database(parts: Parts) -> tuple[Sequence[SourceOverview], Sequence[RejectedGroup]]:
    with parts.pool.session() as session:
        session.query("SELECT 1")
        return parts.ingest.overviews(session), parts.ingest.rejected_groups(session)


def _look(path: Path, now: datetime, *, running: bool) -> JournalLook:
    with opened_journal(path) as journal:
        if journal is None:
            return JournalLook(DeliveryFacts())
        work = OpenWork() if running else open_work(journal, None)
        facts = delivery_facts(journal, work, running=running)
        runs = delivery_runs(journal, path, now, RUNS_SHOWN)
        return JournalLook(facts, runs, run_totals(journal))


def _pending(facts: DeliveryFacts) -> int:
    """Users of the two runs that can be resumed or retried, which may be the same."""
    runs = {run.run_id: run.users for run in (facts.unfinished, facts.undelivered) if run}
    return sum(runs.values())
