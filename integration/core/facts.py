"""What is known of deliveries and sources: the input of the verdict, without a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from integration.core.models import Counts, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A delivery run that left users pending.

    Attributes:
        users: how many; 0 if the run did not load them, or crashed after its last call.
        stop_reason: why the run stopped; what to check follows the last colon or semicolon.
        sync: the sync that it is a run of, or empty.
    """

    run_id: str
    started_at: datetime
    status: RunStatus
    users: int
    stop_reason: str | None = None
    sync: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastDelivery:
    """The newest delivery run."""

    run_id: str
    started_at: datetime
    status: RunStatus
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFacts:
    """What the journal knows.

    Attributes:
        error: why it cannot be read, with what to do, in one line.
        is_running: whether a run is in progress.
        last: the newest run, or None before the first.
        starts: when the newest runs started, newest first.
        unfinished: the run that --resume would resume.
        undelivered: the run whose users --retry-failed would retry.
        elsewhere: a run that only the settings it started with can resume.
        unsendable: users that can never be sent as they are.
    """

    error: str | None = None
    is_running: bool = False
    last: LastDelivery | None = None
    starts: Sequence[datetime] = ()
    unfinished: Pending | None = None
    undelivered: Pending | None = None
    elsewhere: Pending | None = None
    unsendable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What is known of a source.

    Attributes:
        status: that of its last run, `crashed` included; None before the first.
        has_succeeded: whether a run of it was ever complete.
        refused: whether the source refused the credentials in its last run.
        error: why its last run failed, in one line.
        stale: how the age of its data is described, if it is older than expected.
        open_rejections: how many of its records are still rejected.
    """

    name: str
    status: str | None = None
    has_succeeded: bool = False
    refused: bool = False
    error: str | None = None
    stale: str | None = None
    open_rejections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the verdict depends on.

    Attributes:
        now: the current time.
        deliveries: what the journal knows; None if that was not asked.
        sources: one for each source; None if the database was not asked.
        database_error: why the database cannot be used, with what to check, in one line.
        delivery_every_hours: a delivery is expected to start at least so often; None if that is
            not set.
    """

    now: datetime
    deliveries: DeliveryFacts | None = None
    sources: Sequence[SourceFacts] | None = None
    database_error: str | None = None
    delivery_every_hours: float | None = None
