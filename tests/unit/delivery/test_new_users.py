"""From a row of Query 2 to a stored user, and back to what is sent."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.core.csv_lines import csv_line, csv_text, escape_formula
from integration.core.models import CALLS, PageView, PendingUser, StoredUser
from integration.delivery.new_users import (
    RecordError,
    delivered_user,
    email_of,
    new_users,
    pending_users,
)
from integration.iterable.payloads import payloads
from integration.journal.early_versions import csv_line_of
from tests.support.users import new_user, page_view

NOW = datetime(2026, 1, 13, 14, 30, 46, tzinfo=UTC)
texts = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
times = st.datetimes().map(lambda moment: str(moment)[:19])
# SQLite and MySQL have no integers below; MySQL's unsigned ones are larger than SQLite's.
ids = st.integers(-(2**63)) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1
)
views = st.builds(PageView, ids, *[texts] * 9, times)


def stored(view: PageView) -> bytes:
    """The row as the journal has it."""
    return new_user(view).row


def decoded(view: PageView) -> list[object]:
    """The row as the CSV is written from it."""
    row: list[object] = orjson.loads(stored(view))
    return row


@given(views)
def test_a_stored_row_is_sent_as_the_row_of_the_query(view: PageView) -> None:
    """Byte for byte the same bodies, in this run or in a later one."""
    (user,) = pending_users(PageView._fields, [StoredUser(7, stored(view), CALLS)])
    assert user == PendingUser(7, view.email or "", *payloads(view), CALLS)


@given(views)
def test_a_stored_row_has_the_csv_line_of_the_row_of_the_query(view: PageView) -> None:
    """A CSV that is written again from the journal is the one that the first run would write."""
    assert csv_text([decoded(view)]) == csv_text([view])


@given(views)
def test_the_csv_line_has_the_row_as_it_is(view: PageView) -> None:
    """Column by column; NULL is empty, formulas get their apostrophe."""
    (cells,) = csv.reader(io.StringIO(csv_text([decoded(view)]), newline=""))
    assert cells == ["" if cell is None else str(escape_formula(cell)) for cell in view]


@given(views)
def test_the_line_is_the_one_that_a_migration_rebuilds(view: PageView) -> None:
    """A journal of an earlier version exports the same CSV."""
    assert csv_line(view) == csv_line_of(view.id, *payloads(view))


def test_the_line_is_in_the_order_of_the_header() -> None:
    """As Query 2 names its columns, with the line break of RFC 4180."""
    view = page_view(1)._replace(location="=1+1", browser="a, b", last_name=None)
    assert csv_line(decoded(view)) == (
        '1,user1@example.com,Ada,,pro,yes,pricing,desktop,"a, b",\'=1+1,2026-01-13 14:30:45\r\n'
    )


@given(st.lists(views, max_size=4))
def test_each_row_becomes_a_user_in_its_order(given_views: list[PageView]) -> None:
    """With the customer's id and email as they are, for the journal to find them by."""
    users = new_users(list(map(tuple, given_views)))
    assert [(user.customer_id, user.email) for user in users] == [
        (view.id, view.email) for view in given_views
    ]
    assert all(b"\n" not in user.row for user in users)


def test_a_user_that_can_be_sent_has_no_rejection() -> None:
    """What is sent is decided when the row is read."""
    user = new_user(page_view(1))
    assert (user.customer_id, user.email, user.rejection) == (1, "user1@example.com", None)


def test_a_user_that_cannot_be_sent_has_the_reason() -> None:
    """The row is kept all the same, for CSV and results file."""
    user = new_user(page_view(1, "nowhere"))
    assert user.rejection == "not sent: the email has no @"
    assert email_of(orjson.loads(user.row)) == "nowhere"


@pytest.mark.parametrize(
    "bad",
    [
        {"first_name": b"bytes"},
        {"location": "\ud800"},
        {"id": b"16 bytes of UUID"},
        {"id": Decimal(7)},
        {"id": 2**70, "first_name": b"bytes"},
    ],
)
def test_a_value_that_cannot_be_sent_names_its_customer(bad: dict[str, Any]) -> None:
    """Tables with columns of other types: one line."""
    with pytest.raises(RecordError, match=r"^Customer .* compare the tables with") as caught:
        new_users([tuple(page_view(1)), tuple(page_view(2)._replace(**bad))])
    assert "\n" not in str(caught.value)


@given(views)
def test_a_user_of_version_1_is_sent_as_it_was_stored(view: PageView) -> None:
    """Its row has both bodies and the line of the CSV; nothing is built again."""
    profile, event = payloads(view._replace(email=view.email or "a@b.c"))
    old = {
        "profile": orjson.loads(profile),
        "event": orjson.loads(event) | {"id": "an id of that time"},
        "csv_line": "a line of that time\r\n",
    }

    one = StoredUser(3, orjson.dumps(old), ("events_track",))
    (user,) = pending_users(PageView._fields, [one])

    assert (user.position, user.email, user.calls) == (3, view.email or "a@b.c", ("events_track",))
    assert (user.profile, user.event) == (profile, orjson.dumps(old["event"]))
    assert email_of(old) == (view.email or "a@b.c")


@given(views)
def test_a_delivered_user_has_the_bodies_that_were_sent(view: PageView) -> None:
    """--verify compares them with what Iterable has."""
    user = delivered_user(stored(view), NOW)
    assert (user.email, user.profile, user.event) == (view.email or "", *payloads(view))
    assert user.delivered_at == NOW


@pytest.mark.parametrize(
    ("email", "shown"), [(None, None), ("", ""), ("a@b.c", "a@b.c"), (12345, "12345"), (1.5, "1.5")]
)
def test_the_email_is_shown_as_text(email: Any, shown: str | None) -> None:
    """A number from a column of another type, too, in the rows of any version."""
    view = page_view(1)._replace(email=email)
    assert email_of(decoded(view)) == shown
    assert email_of({"profile": {"email": email}}) == shown
