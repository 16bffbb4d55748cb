"""The two JSON bodies that Iterable gets for a row of Query 2. Pure functions.

Shapes: Iterable's `POST /api/users/update` and `POST /api/events/track`. The same bytes are
an item in a bulk call.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson

from integration.core.models import EVENT_NAME, PageView

# The namespace of event ids. With another one, every event would be created a second time.
EVENT_NAMESPACE = uuid.UUID("8c0e4a52-6b1f-5d1c-9a53-2f4f0c1a7be1")
# The texts of a row: all but the id, which is in front of the first of them.
_TEXTS = len(PageView._fields) - 1
_NAMESPACE_BYTES = EVENT_NAMESPACE.bytes
MAX_EMAIL = 255

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  the rows' times are UTC without a zone
_SECOND = timedelta(seconds=1)
# The first digit of a UUID's fourth group has the bits 10 in front.
_VARIANTS = {digit: f"{int(digit, 16) & 0x3 | 0x8:x}" for digit in "0123456789abcdef"}


_PROFILE = (
    b'{"email":%b,"dataFields":{"first_name":%b,"last_name":%b,"plan_type":%b,'
    b'"recent_page_view":true,"candidate":%b}}'
)
_EVENT = (
    b'{"email":%b,"eventName":"page_view","id":%b,"createdAt":%d,"dataFields":{"page":%b,'
    b'"device":%b,"browser":%b,"location":%b,"timestamp":%b,"candidate":%b}}'
)
# The same for JSON text without its quotes.
_PROFILE_OF_TEXT = _PROFILE.replace(b"%b", b'"%b"')
_EVENT_OF_TEXT = _EVENT.replace(b"%b", b'"%b"')


class Payloads(NamedTuple):
    """What is sent for a user.

    Attributes:
        profile: the body of `users/update`.
        event: the body of `events/track`, empty if the query has no events.
        event_name: the name of the event.
    """

    email: str
    profile: bytes
    event: bytes
    event_name: str = EVENT_NAME


def payloads_of(row: bytes) -> Payloads:
    """The payloads of a row: the values of a `PageView` as a JSON array without spaces.

    NULL is sent as null: the database is the source of truth. `createdAt` is the view's time in
    unix seconds.
    """
    # Only between two texts there is `","`: a quote within a text is escaped. So most rows are
    # taken apart, and put together again, without decoding and encoding each value.
    cells = row[1:-2].split(b'","')
    if len(cells) != _TEXTS or b"\\" in row:
        view = PageView._make(orjson.loads(row))
        return Payloads(view.email or "", *payloads(view))
    start, first, last, plan, candidate, page, device, browser, location, time = cells
    customer_id, _, email = start.partition(b',"')
    address, moment = email.decode(), time.decode()
    view_id = _event_id(customer_id, address.lower().encode(), page, time)
    profile = _PROFILE_OF_TEXT % (email, first, last, plan, candidate)
    event = _EVENT_OF_TEXT % (
        *(email, view_id, created_at(moment)),
        *(page, device, browser, location, time, candidate),
    )
    return Payloads(address, profile, event)


def payloads(view: PageView) -> tuple[bytes, bytes]:
    """The bodies of `users/update` and `events/track` for a row that is decoded."""
    # The id is not sent, and may have more than 64 bits.
    email, first, last, plan, candidate, page, device, browser, location, time = map(
        orjson.dumps, view[1:]
    )
    profile = _PROFILE % (email, first, last, plan, candidate)
    event = _EVENT % (
        *(email, orjson.dumps(event_id(view)), created_at(view.event_time)),
        *(page, device, browser, location, time, candidate),
    )
    return profile, event


def event_id(view: PageView) -> str:
    """The UUIDv5 of customer, page and time: the same view always gives the same id.

    Iterable updates an event with a known id, so a retry never creates a second event. The id
    depends on the customer's id and email, because two databases may share one project.
    """
    email = str(view.email or "").lower()
    parts = (str(view.id), email, str(view.page), view.event_time)
    return _event_id(*(part.encode() for part in parts)).decode()


def created_at(moment: str) -> int:
    """A row's time in unix seconds."""
    return (datetime.fromisoformat(moment) - _EPOCH) // _SECOND


def name_based_id(*parts: str) -> str:
    """The UUIDv5 of these parts, within the namespace of event ids."""
    return _uuid5(_NAMESPACE_BYTES + "|".join(parts).encode()).decode()


def _event_id(customer_id: bytes, email: bytes, page: bytes, time: bytes) -> bytes:
    return _uuid5(b"%b%b|%b|%b|%b" % (_NAMESPACE_BYTES, customer_id, email, page, time))


def _uuid5(content: bytes) -> bytes:
    """What uuid.uuid5 does (RFC 9562, section 5.5), in a quarter of the time."""
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    variant = _VARIANTS[digest[16]]
    text = f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
    return text.encode()


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
