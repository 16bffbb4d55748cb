"""Users to send, for tests that need no database."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from integration.core.models import NewUser, PageView, PendingUser
from integration.delivery.new_users import new_users
from integration.iterable.payloads import payloads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


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


def page_views(batches: Iterable[Sequence[tuple[Any, ...]]]) -> Iterator[PageView]:
    """The rows of a database's batches, one by one."""
    return map(PageView._make, chain.from_iterable(batches))
