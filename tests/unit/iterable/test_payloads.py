"""From a row to the two JSON bodies."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from integration.core.models import PageView
from integration.iterable.payloads import (
    EVENT_NAMESPACE,
    event_id,
    event_payload,
    profile_payload,
    timestamp_text,
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
    event_time=datetime(2026, 1, 13, 14, 30, 45),  # noqa: DTZ001  as the database gives it
)

texts = st.none() | st.text()
views = st.builds(
    PageView,
    st.integers(min_value=0, max_value=2**63 - 1),
    *[texts] * 9,
    st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2999, 1, 1)),  # noqa: DTZ001
)


def test_the_profile_is_the_documented_body() -> None:
    """Field by field, with NULL as null and the email as the database has it."""
    assert json.loads(profile_payload(ALEX)) == {
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
    assert json.loads(event_payload(ALEX)) == {
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
def test_any_row_becomes_json_with_exactly_the_documented_keys(view: PageView) -> None:
    """Whatever the values are, none is lost and no key is added."""
    profile: dict[str, Any] = json.loads(profile_payload(view))
    event: dict[str, Any] = json.loads(event_payload(view))
    assert list(profile) == ["email", "dataFields"]
    assert profile["dataFields"] == {
        "first_name": view.first_name,
        "last_name": view.last_name,
        "plan_type": view.plan_type,
        "recent_page_view": True,
        "candidate": view.candidate,
    }
    assert list(event) == ["email", "eventName", "id", "createdAt", "dataFields"]
    details = ["page", "device", "browser", "location", "timestamp", "candidate"]
    assert list(event["dataFields"]) == details
    assert event["email"] == profile["email"] == view.email


@given(views)
def test_created_at_is_the_views_time_in_whole_seconds(view: PageView) -> None:
    """Iterable takes unix seconds as an integer; the rows are UTC."""
    created_at = json.loads(event_payload(view))["createdAt"]
    moment = view.event_time.replace(tzinfo=UTC, microsecond=0)
    assert type(created_at) is int
    assert datetime.fromtimestamp(created_at, UTC) == moment


@given(views)
def test_the_event_id_is_the_uuid_of_customer_page_and_time(view: PageView) -> None:
    """The fast implementation matches the standard library's UUIDv5."""
    name = f"{view.id}|{(view.email or '').lower()}|{view.page}|{view.event_time:%F %T}"
    assert event_id(view) == str(uuid.uuid5(EVENT_NAMESPACE, name))


@given(views, st.integers(min_value=1, max_value=10**6), st.text())
def test_views_of_other_customers_pages_or_times_have_other_ids(
    view: PageView, more: int, page: str
) -> None:
    """Otherwise Iterable would treat them as one event, and keep only the last."""
    assume(page != str(view.page))
    others = [
        view._replace(id=f"{view.id}{more}"),
        view._replace(email=f"{more}{view.email}"),
        view._replace(page=page),
        view._replace(event_time=view.event_time + timedelta(seconds=more)),
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
        event_time=one.event_time.replace(microsecond=other.event_time.microsecond),
    )
    assert event_id(renamed) == event_id(one)


def test_the_email_is_compared_without_case() -> None:
    """Iterable stores emails in lowercase."""
    assert event_id(ALEX) == event_id(ALEX._replace(email="alex@example.COM"))


def test_the_namespace_never_changes() -> None:
    """A different one would send every past event a second time."""
    assert str(EVENT_NAMESPACE) == "8c0e4a52-6b1f-5d1c-9a53-2f4f0c1a7be1"


@given(st.datetimes(min_value=datetime(1, 1, 1)))  # noqa: DTZ001
def test_a_timestamp_is_nineteen_characters(moment: datetime) -> None:
    """Year to second, zero-padded; a fraction is truncated, not rounded."""
    text = timestamp_text(moment)
    assert datetime.fromisoformat(text) == moment.replace(microsecond=0)
    assert len(text) == 19


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
