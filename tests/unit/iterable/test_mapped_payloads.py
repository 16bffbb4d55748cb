"""From a row of any query to the JSON bodies."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given

from integration.core.exact_json import EXACT
from integration.core.mapping import DOCUMENTED, Mapping
from integration.core.models import CALLS, PageView
from integration.database.cells import Cells
from integration.delivery.new_users import mapped_users
from integration.iterable.mapped_payloads import MappedPayloads
from integration.iterable.payloads import payloads_of
from tests.unit.iterable.test_payloads import views


def sent(columns: list[str], *row: object) -> tuple[Any, Any]:
    """The decoded bodies for a row."""
    (user,) = mapped_users(Mapping.of(columns), Cells([row], {}), 1)
    made = MappedPayloads(Mapping.of(columns))(user.row)
    return json.loads(made.profile), json.loads(made.event) if made.event else None


@given(views)
def test_documented_columns_in_any_order_are_sent_alike(view: PageView) -> None:
    """Field by field, and with the same id of the event."""
    row = orjson.dumps([str(view.id), *view[1:]])
    expected = payloads_of(row)
    backwards = orjson.dumps(orjson.loads(row)[::-1])
    for columns, cells in ((DOCUMENTED, row), (DOCUMENTED[::-1], backwards)):
        made = MappedPayloads(Mapping.of(columns))(cells)
        assert orjson.loads(made.profile) == orjson.loads(expected.profile)
        assert orjson.loads(made.event) == orjson.loads(expected.event)


def test_paths_make_nested_objects_which_are_merged() -> None:
    """Else Iterable would drop the other fields of the object."""
    profile, event = sent(["email", "profile.a.b", "profile.a.c", "profile.d"], "a@b.c", 1, None, 2)
    fields = {"a": {"b": 1, "c": None}, "d": 2}
    assert profile == {"email": "a@b.c", "dataFields": fields, "mergeNestedObjects": True}
    assert event is None


def test_an_event_has_the_name_and_the_time_of_its_row() -> None:
    """By default page_view, and the time when Iterable receives it."""
    columns = ["email", "event_name", "event_time"]
    _, event = sent(columns, "a@b.c", "purchase", "2026-01-13 14:30:45")
    assert (event["eventName"], event["createdAt"]) == ("purchase", 1768314645)
    assert event["dataFields"] == {"timestamp": "2026-01-13 14:30:45"}
    _, event = sent(columns, "a@b.c", None, None)
    assert (event["eventName"], "createdAt" in event) == ("page_view", False)


def test_the_event_id_identifies_the_event_whatever_else_changes() -> None:
    """Whose it is, when it was and what it has may be corrected."""
    columns = ["email", "event_name", "event_id", "event.total"]
    ids = [
        sent(columns, *row)[1]["id"]
        for row in (
            ("a@b.c", "purchase", 7, 1.5),
            ("b@b.c", "purchase", "7", 2.5),
            ("a@b.c", "purchase", 8, 1.5),
            ("a@b.c", "refund", 7, 1.5),
        )
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("other", "is_same"),
    [(("A@b.c", "x", 1), True), (("b@b.c", "x", 1), False), (("a@b.c", "x", 2), False)],
)
def test_without_page_and_time_the_content_identifies_the_event(
    other: tuple[object, ...], is_same: bool
) -> None:
    """The same content of the same person is the same event."""
    columns = ["email", "event_name", "event.n"]
    ids = [sent(columns, *row)[1]["id"] for row in (("a@b.c", "x", 1), other)]
    assert (ids[0] == ids[1]) is is_same


def test_numbers_of_many_digits_are_sent_with_all_of_them() -> None:
    """Whatever Iterable keeps of them."""
    columns = ["email", "profile.n", "profile.f"]
    (user,) = mapped_users(Mapping.of(columns), Cells([("a@b.c", 10**30 + 1, 0.1)], {}), 1)
    assert user.row.startswith(EXACT)
    made = MappedPayloads(Mapping.of(columns))(user.row)
    assert made.profile == (
        b'{"email":"a@b.c","dataFields":{"n":1000000000000000000000000000001,"f":0.1}}'
    )


@pytest.mark.parametrize(
    ("row", "rejection"),
    [
        (("a@b.c", 1, "x", 1), None),
        (("a@b.c", None, "x", 1), "not sent: id is empty"),
        (("a@b.c", "", "x", 1), "not sent: id is empty"),
        (("a@b.c", 1, None, 1), "not sent: event_id is empty"),
        (("a@b.c", 1, "x", 2), "not sent: send_profile is 2, expected 0 or 1"),
        (("a@b.c", 1, "x", None), "not sent: send_profile is None, expected 0 or 1"),
        (("nowhere", 1, "x", 1), "not sent: the email has no @"),
    ],
)
def test_a_row_that_cannot_be_sent_has_the_reason(
    row: tuple[object, ...], rejection: str | None
) -> None:
    """One bad row does not stop the others."""
    mapping = Mapping.of(["email", "id", "event_id", "send_profile", "page"])
    (user,) = mapped_users(mapping, Cells([(*row, "home")], {}), 1)
    assert user.rejection == rejection


def test_rows_say_which_calls_they_want() -> None:
    """A query without events, and a row without a profile."""
    (user,) = mapped_users(Mapping.of(["email"]), Cells([("A@b.c",)], {}), 1)
    assert (user.customer_id, user.calls) == ("a@b.c", CALLS[:1])
    mapping = Mapping.of(["email", "send_profile", "page"])
    cells = Cells([("a@b.c", 0, "x"), ("b@b.c", True, "x"), (None, 1, "x")], {})
    users = mapped_users(mapping, cells, 5)
    assert [user.calls for user in users[:2]] == [CALLS[1:], CALLS]
    assert users[2].customer_id == "row 7"
