"""From a row to the two JSON bodies."""

from __future__ import annotations

import calendar
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from integration.core.models import PageView
from integration.iterable.payloads import (
    EVENT_NAMESPACE,
    event_id,
    payloads,
    undeliverable_reason,
)

ALEX = PageView(
    id=1,
    email="Alex@Example.com",
    first_name="Alex",
    last_name=None,
    plan_type="pro",
    candidate="Ada 🙂",
    page="pricing",
    device="desktop",
    browser="Chrome",
    location="=cmd|' /C calc'!A0",
    event_time="2026-01-13 14:30:45",
)

# Quotes, backslashes, control characters, emoji: all but lone surrogates, which are no text.
texts = st.none() | st.text() | st.text(st.sampled_from('"\\\0\n\r\x1f\x7f\u2028🙂%{}b/'))
times = st.datetimes(
    min_value=datetime(1, 1, 1),  # noqa: DTZ001  the rows' times are UTC without a zone
    max_value=datetime(9999, 12, 31, 23, 59, 59),  # noqa: DTZ001
).map(lambda moment: moment.replace(microsecond=0))
ids = st.integers() | st.text(min_size=1)
views = st.builds(PageView, ids, *[texts] * 9, times.map(str))


def bodies(view: PageView) -> tuple[dict[str, Any], dict[str, Any]]:
    """The documented bodies of `users/update` and `events/track`, as a reader writes them down."""
    profile = {
        "email": view.email,
        "dataFields": {
            "first_name": view.first_name,
            "last_name": view.last_name,
            "plan_type": view.plan_type,
            "recent_page_view": True,
            "candidate": view.candidate,
        },
    }
    moment = datetime.fromisoformat(view.event_time).replace(tzinfo=UTC)
    event = {
        "email": view.email,
        "eventName": "page_view",
        "id": event_id(view),
        "createdAt": calendar.timegm(moment.timetuple()),
        "dataFields": {
            "page": view.page,
            "device": view.device,
            "browser": view.browser,
            "location": view.location,
            "timestamp": view.event_time,
            "candidate": view.candidate,
        },
    }
    return profile, event


def test_the_profile_is_the_documented_body() -> None:
    """Field by field, with NULL as null and the email as the database has it."""
    assert json.loads(payloads(ALEX)[0]) == {
        "email": "Alex@Example.com",
        "dataFields": {
            "first_name": "Alex",
            "last_name": None,
            "plan_type": "pro",
            "recent_page_view": True,
            "candidate": "Ada 🙂",
        },
    }


def test_the_event_is_the_documented_body() -> None:
    """Field by field; values are raw, and the time is the view's."""
    assert json.loads(payloads(ALEX)[1]) == {
        "email": "Alex@Example.com",
        "eventName": "page_view",
        "id": "5c55d163-5c8c-55d2-8087-5dceed213438",
        "createdAt": 1768314645,
        "dataFields": {
            "page": "pricing",
            "device": "desktop",
            "browser": "Chrome",
            "location": "=cmd|' /C calc'!A0",
            "timestamp": "2026-01-13 14:30:45",
            "candidate": "Ada 🙂",
        },
    }


@given(views)
def test_any_row_becomes_the_json_of_the_documented_bodies(view: PageView) -> None:
    """Byte for byte what orjson makes of them: same keys, same order, nothing lost or added."""
    assert payloads(view) == tuple(map(orjson.dumps, bodies(view)))


@given(views)
def test_any_body_is_read_by_others_as_it_was_meant(view: PageView) -> None:
    """Python's own JSON finds the values of the row."""
    assert tuple(map(json.loads, payloads(view))) == bodies(view)


@given(views)
def test_created_at_is_the_views_time_in_whole_seconds(view: PageView) -> None:
    """Iterable takes unix seconds as an integer; the rows are UTC."""
    created_at = json.loads(payloads(view)[1])["createdAt"]
    moment = datetime.fromisoformat(view.event_time).replace(tzinfo=UTC)
    assert type(created_at) is int
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=created_at) == moment


@given(views)
def test_the_event_id_is_the_uuid_of_customer_page_and_time(view: PageView) -> None:
    """The fast implementation matches the standard library's UUIDv5."""
    name = f"{view.id}|{(view.email or '').lower()}|{view.page}|{view.event_time}"
    assert event_id(view) == str(uuid.uuid5(EVENT_NAMESPACE, name))


@given(views, st.integers(min_value=1, max_value=10**6), st.text(), times.map(str))
def test_views_of_other_customers_pages_or_times_have_other_ids(
    view: PageView, more: int, page: str, time: str
) -> None:
    """Otherwise Iterable would treat them as one event, and keep only the last."""
    assume(page != str(view.page))
    assume(time != view.event_time)
    others = [
        view._replace(id=f"{view.id}{more}"),
        view._replace(email=f"{more}{view.email}"),
        view._replace(page=page),
        view._replace(event_time=time),
    ]
    assert event_id(view) not in {event_id(other) for other in others}


@given(views, views)
def test_a_field_that_is_not_part_of_the_view_does_not_change_its_id(
    one: PageView, other: PageView
) -> None:
    """A new name or another case of the email must not create a second event."""
    renamed = one._replace(
        first_name=other.first_name,
        plan_type=other.plan_type,
        candidate=other.candidate,
        device=other.device,
        location=other.location,
    )
    assert event_id(renamed) == event_id(one)


def test_the_email_is_compared_without_case() -> None:
    """Iterable stores emails in lowercase."""
    assert event_id(ALEX) == event_id(ALEX._replace(email="alex@example.COM"))


def test_the_namespace_never_changes() -> None:
    """A different one would send every past event a second time."""
    assert str(EVENT_NAMESPACE) == "8c0e4a52-6b1f-5d1c-9a53-2f4f0c1a7be1"


@pytest.mark.parametrize(
    ("email", "reason"),
    [
        (None, "not sent: the customer has no email"),
        ("", "not sent: the customer has no email"),
        (12345, "not sent: the email is no text"),
        ("ada.example.com", "not sent: the email has no @"),
        ("ada @example.com", "not sent: the email contains a space"),
        ("ada@example.com\n", "not sent: the email contains a space"),
        ("ada@example.com\u00a0", "not sent: the email contains a space"),
        ("a" * 244 + "@example.com", "not sent: the email is longer than 255 characters"),
    ],
)
def test_an_undeliverable_email_has_a_reason(email: object, reason: str) -> None:
    """The results file gives this reason for a user that is not sent."""
    assert undeliverable_reason(email) == reason


@pytest.mark.parametrize("email", ["ada@example.com", "ÄDA+x@exämple", "a" * 243 + "@example.com"])
def test_a_plausible_email_is_sent(email: str) -> None:
    """Iterable decides about everything else; 255 characters are allowed."""
    assert undeliverable_reason(email) is None
