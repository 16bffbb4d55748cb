"""The two JSON bodies that Iterable gets for a row of Query 2. Pure functions.

Shapes: Iterable's `POST /api/users/update` and `POST /api/events/track`. The same bytes are
an item in a bulk call.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode

if TYPE_CHECKING:
    from integration.core.models import PageView

EVENT_NAME = "page_view"
# The namespace of event ids. With another one, every event would be created a second time.
EVENT_NAMESPACE = uuid.UUID("8c0e4a52-6b1f-5d1c-9a53-2f4f0c1a7be1")
MAX_EMAIL = 255

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  the rows' times are UTC without a zone
_SECOND = timedelta(seconds=1)


class RecordError(AppError):
    """A row of Query 2 cannot be sent; the message is one line that names the row."""

    exit_code = ExitCode.UNAVAILABLE


def profile_payload(view: PageView) -> bytes:
    """The body of `users/update`. NULL is sent as null: the database is the source of truth."""
    return orjson.dumps(
        {
            "email": view.email,
            "dataFields": {
                "first_name": view.first_name,
                "last_name": view.last_name,
                "plan_type": view.plan_type,
                "recent_page_view": True,
                "candidate": view.candidate,
            },
        }
    )


def event_payload(view: PageView) -> bytes:
    """The body of `events/track`; `createdAt` is the view's time in unix seconds."""
    return orjson.dumps(
        {
            "email": view.email,
            "eventName": EVENT_NAME,
            "id": event_id(view),
            "createdAt": (view.event_time - _EPOCH) // _SECOND,
            "dataFields": {
                "page": view.page,
                "device": view.device,
                "browser": view.browser,
                "location": view.location,
                "timestamp": timestamp_text(view.event_time),
                "candidate": view.candidate,
            },
        }
    )


def event_id(view: PageView) -> str:
    """The UUIDv5 of customer, page and time: the same view always gives the same id.

    Iterable updates an event with a known id, so a retry never creates a second event. The id
    depends on the customer's id and email, because two databases may share one project.
    """
    return _event_id(view.id, view.email, view.page, timestamp_text(view.event_time))


def _event_id(customer_id: object, email: object, page: str | None, timestamp: str) -> str:
    name = f"{customer_id}|{str(email or '').lower()}|{page}|{timestamp}"
    # What uuid.uuid5 does (RFC 9562, section 5.5), in a third of the time.
    digest = bytearray(_namespace_hash(name))
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def timestamp_text(moment: datetime) -> str:
    """`YYYY-MM-DD HH:MM:SS`, as in the CSV and the event; fractions of a second are cut off."""
    return str(moment)[:19]


def undeliverable_reason(email: object) -> str | None:
    """Why Iterable cannot accept this email, or None if it may."""
    if not email:
        return "not sent: the customer has no email"
    if not isinstance(email, str):
        return "not sent: the email is no text"
    if "@" not in email:
        return "not sent: the email has no @"
    if email.split() != [email]:
        return "not sent: the email contains a space"
    if len(email) > MAX_EMAIL:
        return f"not sent: the email is longer than {MAX_EMAIL} characters"
    return None


def _namespace_hash(name: str) -> bytes:
    content = EVENT_NAMESPACE.bytes + name.encode()
    return hashlib.sha1(content, usedforsecurity=False).digest()[:16]
