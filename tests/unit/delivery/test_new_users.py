"""From a row of Query 2 to a user ready to send."""

from __future__ import annotations

import csv
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.core.csv_lines import escape_formula
from integration.core.models import PageView
from integration.delivery.new_users import new_user
from integration.iterable.payloads import RecordError, event_payload, profile_payload
from integration.journal.migrations import csv_line_of
from tests.support.users import page_view

texts = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
views = st.builds(
    PageView,
    st.integers() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    *[texts] * 9,
    event_time=st.datetimes(min_value=datetime(1970, 1, 2)),  # noqa: DTZ001  UTC without a zone
)


@given(views)
def test_the_csv_line_has_the_row_as_it_is(view: PageView) -> None:
    """Column by column; NULL is empty, formulas get their apostrophe."""
    (cells,) = csv.reader([new_user(view).csv_line])
    expected = [*view[:-1], str(view.event_time)[:19]]
    assert cells == ["" if cell is None else str(escape_formula(cell)) for cell in expected]


@given(views)
def test_the_line_is_the_one_that_a_migration_rebuilds(view: PageView) -> None:
    """A journal of an earlier version exports the same CSV."""
    rebuilt = csv_line_of(view.id, profile_payload(view), event_payload(view))
    assert new_user(view).csv_line == rebuilt


def test_the_line_is_in_the_order_of_the_header() -> None:
    """As Query 2 names its columns, with the line break of RFC 4180."""
    view = page_view(1)._replace(location="=1+1", browser="a, b", last_name=None)
    assert new_user(view).csv_line == (
        '1,user1@example.com,Ada,,pro,yes,pricing,desktop,"a, b",\'=1+1,2026-01-13 14:30:45\r\n'
    )


def test_a_user_has_both_payloads_and_no_rejection() -> None:
    """What is sent is decided when the row is read."""
    view = page_view(1)
    user = new_user(view)
    assert (user.profile, user.event) == (profile_payload(view), event_payload(view))
    assert (user.customer_id, user.email, user.rejection) == (1, "user1@example.com", None)


def test_a_user_that_cannot_be_sent_has_the_reason() -> None:
    """The row is kept all the same, for CSV and results file."""
    assert new_user(page_view(1, "nowhere")).rejection == "not sent: the email has no @"


@pytest.mark.parametrize(
    "bad",
    [
        {"first_name": b"bytes"},
        {"event_time": "soon"},
        {"id": b"16 bytes of UUID"},
        {"id": Decimal(7)},
    ],
)
def test_a_value_that_cannot_be_sent_names_its_customer(bad: dict[str, Any]) -> None:
    """Tables with columns of other types: one line."""
    with pytest.raises(RecordError, match=r"[Cc]ustomer"):
        new_user(page_view(1)._replace(**bad))
