"""From a row of Query 2 to a user that the journal can store and the delivery can send. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.core.csv_lines import csv_line
from integration.core.models import NewUser
from integration.iterable.payloads import (
    RecordError,
    event_payload,
    profile_payload,
    timestamp_text,
    undeliverable_reason,
)

if TYPE_CHECKING:
    from integration.core.models import PageView


def new_user(view: PageView) -> NewUser:
    """The user of this row, with the reason if it cannot be sent.

    Raises:
        RecordError: a value has a type that no user could be sent with.
    """
    if not isinstance(view.id, (int, str)):
        raise _unusable(view, f"id is {type(view.id).__name__}")
    try:
        profile, event = profile_payload(view), event_payload(view)
    except (TypeError, OverflowError) as error:
        raise _unusable(view, str(error)) from error
    line = csv_line((*view[:-1], timestamp_text(view.event_time)))
    return NewUser(view.id, view.email, profile, event, line, undeliverable_reason(view.email))


def _unusable(view: PageView, problem: str) -> RecordError:
    return RecordError(
        f"Customer {view.id!r} has a value of a type that cannot be sent ({problem}):"
        " compare the tables with database_setup.sql"
    )
