"""What the parts of the program know of one person."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


class SourceRecord(NamedTuple):
    """A record of a person.

    Attributes:
        source: its source.
        source_key: the source's own key, or None.
        run_id: the run that read it.
        kind: what kind of run that was.
        started_at: when the run started; None if it is not known any more.
        place: file and line, or URL; None if the raw page is no longer stored.
        code: why the record is still rejected; None if it was stored.
        field: the field that is to blame.
    """

    source: str
    source_key: str | None
    run_id: int
    kind: str | None
    started_at: datetime | None
    place: str | None
    code: str | None = None
    field: str | None = None


class Customer(NamedTuple):
    """A row of `customers`."""

    id: object
    email: str | None
    first_name: str | None
    last_name: str | None
    plan_type: str | None
    candidate: str | None


class View(NamedTuple):
    """A row of `page_views`; the time is in UTC."""

    page: str | None
    device: str | None
    time: datetime
