"""What the window shows of sources and their runs; times are in UTC with their zone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from integration.core.facts import SourceFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRun:
    """A run of a source; the last four counts add up to `records`.

    Attributes:
        status: running, completed, failed, stopped or crashed.
        seconds: how long it took, or has taken so far.
        missing: how many stored records the source no longer has; None if the run cannot know.
    """

    run_id: int
    source: str
    kind: str
    status: str
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float
    pages: int
    records: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    retries: int
    missing: int | None = None
    deleted: int = 0
    cursor_from: str | None = None
    cursor_to: str | None = None
    error: str | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOverview:
    """A source and its last runs.

    Attributes:
        facts: what the verdict has to know.
        runs: the last ones, newest first.
        records: how many records all its runs have read.
        runs_by_status: how many runs ended how.
        lag_seconds: since the start of the last successful run.
        checkpoint: where the next run continues.
    """

    name: str
    kind: str
    entity: str
    facts: SourceFacts
    runs: Sequence[IngestRun] = ()
    records: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    runs_by_status: Sequence[tuple[str, int]] = ()
    last_success: IngestRun | None = None
    last_failure: IngestRun | None = None
    lag_seconds: float | None = None
    checkpoint: str | None = None


class RejectedGroup(NamedTuple):
    """Records of a source that are rejected for the same reason."""

    source: str
    code: str
    field: str | None
    records: int


class Rejected(NamedTuple):
    """A record that a run rejected.

    Attributes:
        page: of the run, from 1.
        position: in the page, from 0.
        is_open: whether it is still rejected.
        origin: where the page came from: a URL, or a file and bytes.
    """

    page: int
    position: int
    source_key: str | None
    code: str
    field: str | None
    is_open: bool
    origin: str | None
