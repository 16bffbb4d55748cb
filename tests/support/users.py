"""Users to send, for tests that need no database."""

from __future__ import annotations

from integration.core.models import NewUser, PageView, PendingUser
from integration.delivery.new_users import new_users
from integration.iterable.payloads import payloads


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
        event_time="2026-01-13 14:30:45",
    )


def new_user(view: PageView) -> NewUser:
    """The user of this row, before it is stored."""
    (user,) = new_users([tuple(view)])
    return user


def pending_user(number: int = 1, email: str | None = None) -> PendingUser:
    """The same row as a pending user of a run."""
    view = page_view(number, email)
    return PendingUser(number, view.email or "", *payloads(view))
