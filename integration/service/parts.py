"""What the service is given: the database, the journal, and functions of the ingest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from integration.core.ingest_facts import IngestRun, Rejected, RejectedGroup, SourceOverview
    from integration.database.reading import ReadPool, ReadSession
    from integration.service.access import Access
    from integration.service.person import FindSourceRecords


# Asking for the tables costs as much as reading a page of rows.
SECONDS_REMEMBERED = 5.0


class Remembered:
    """Whether there are tables, asked again after a few seconds.

    Args:
        ask: `ingest.tables.has_tables`.
    """

    def __init__(self, ask: Callable[[ReadSession], bool]) -> None:
        self._ask = ask
        self._latest = (0.0, False)

    def __call__(self, session: ReadSession) -> bool:
        """The answer; only `True` is remembered, so that a first run shows at once."""
        until, answer = self._latest
        if not answer or time.monotonic() > until:
            answer = self._ask(session)
            self._latest = time.monotonic() + SECONDS_REMEMBERED, answer
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestParts:
    """Functions of `ingest.overview` and `ingest.origins`; each takes a reading session first."""

    has_tables: Callable[[ReadSession], bool]
    overviews: Callable[[ReadSession], Sequence[SourceOverview]]
    rejected_groups: Callable[[ReadSession], Sequence[RejectedGroup]]
    runs: Callable[[ReadSession, int, int], Sequence[IngestRun]]
    run: Callable[[ReadSession, int], IngestRun | None]
    run_before: Callable[[ReadSession, IngestRun], IngestRun | None]
    rejected_of_run: Callable[[ReadSession, int, tuple[int, int], int], Sequence[Rejected]]
    rejections_of_run: Callable[[ReadSession, int], Sequence[tuple[str, str | None, int]]]
    find_source_records: FindSourceRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that the service reads.

    Attributes:
        journal: the file, which may be missing.
        is_masked: whether names and emails are hidden from all.
        delivery_every_hours: a delivery is expected to start at least so often, if that is set.
    """

    pool: ReadPool
    journal: Path
    access: Access
    ingest: IngestParts
    is_masked: bool = False
    delivery_every_hours: float | None = None
