"""What is left of a user whose data was erased. Pure.

The user keeps the position, so that all others keep theirs, and the outcome of each call as far as
it is counted. Nothing is sent, verified or remembered for such a user again.
"""

from __future__ import annotations

import re

import orjson

from integration.core.csv_lines import csv_line
from integration.core.models import NOT_ATTEMPTED, PageView
from integration.core.personal_data import ERASED
from integration.journal.ranges import OutcomeRange
from integration.journal.schema import CallStatus, result_json

_NOTHING = (None,) * len(PageView._fields)
# An erased row has as many values as it had before.
_ERASED_ROW = re.compile(rb"\[null(,null)*\]")
# Version 1.0 stored objects. Rows that were packed together are of one form.
_ERASED_OBJECT = orjson.dumps(
    {"profile": {"email": None}, "event": {}, "csv_line": csv_line(_NOTHING)}
)
# A condition for rows with a customer_id: no customer of a database has such an id.
IS_ERASED = f"(typeof(customer_id) = 'blob' AND CAST(customer_id AS TEXT) GLOB '{ERASED} *')"


def erased_id(run: int, position: int) -> bytes:
    """What replaces the customer's id; no two users share one."""
    return f"{ERASED} {run}.{position}".encode()


def erased_row(row: bytes) -> bytes:
    """What replaces a row."""
    if row.startswith(b"{"):
        return _ERASED_OBJECT
    return orjson.dumps([None] * len(orjson.loads(row)))


def is_erased(row: bytes) -> bool:
    """Whether a row was erased."""
    return row == _ERASED_OBJECT or _ERASED_ROW.fullmatch(row) is not None


def without_response(piece: OutcomeRange) -> OutcomeRange:
    """The outcome of one user, counted as before, with no call pending and no text of Iterable."""
    profile = _settled(piece.users_update_status, piece.users_update)
    event = _settled(piece.events_track_status, piece.events_track)
    return OutcomeRange(piece.first, piece.last, piece.at, *profile, *event)


def _settled(status: int | None, text: str | None) -> tuple[int, str | None]:
    """A failed call will not be repeated; one that was not attempted will not be made."""
    if status == CallStatus.NOT_WANTED:
        return status, text
    settled = {None: CallStatus.SUPERSEDED, CallStatus.FAILED: CallStatus.REJECTED}
    new = settled.get(None if status is None else CallStatus(status), status)
    assert new is not None
    result = orjson.loads(text or result_json(NOT_ATTEMPTED))
    return int(new), orjson.dumps({**result, "response": ERASED}).decode()
