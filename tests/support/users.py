"""Users to send, for tests that need no database."""

from __future__ import annotations

from datetime import datetime

from integration.core.models import PageView, PendingUser
from integration.iterable.payloads import event_payload, profile_payload

VIEWED = datetime(2026, 1, 13, 14, 30, 45)  # noqa: DTZ001  rows are UTC without a zone


def page_view(number: int = 1, email: str | None = None) -> PageView:
    """A row of Query 2; the email defaults to one with this number."""
    return PageView(
        id=number,
        email=f"user{number}@example.com" if email is None else email,
        first_name="Ada",
        last_name="Lovelace",
        plan_type="pro",
        candidate="yes",
        page="pricing",
        device="desktop",
        browser="Chrome",
        location="London",
        event_time=VIEWED,
    )


def pending_user(number: int = 1, email: str | None = None) -> PendingUser:
    """The same row as a pending user of a run."""
    view = page_view(number, email)
    return PendingUser(number, view.email or "", profile_payload(view), event_payload(view))
