"""Batches and the attribution of failures, as functions of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.core.models import CallResult, PendingUser
from integration.iterable import bulk
from integration.iterable.bulk import (
    MAX_ITEMS,
    bulk_body,
    filtered_out_fields,
    next_batch,
    split_bulk_result,
)
from tests.support.users import pending_user

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.core.models import Call


BODY = b"x" * 5_000_000


def answered(status: int = 200, error: Any = None, **response: Any) -> CallResult:
    """A bulk call's answer."""
    return CallResult(
        success=error is None, response=response, status_code=status, attempts=1, error=error
    )


def people(count: int) -> list[PendingUser]:
    """This many users."""
    return [pending_user(number) for number in range(1, count + 1)]


def all_batches(users: Sequence[PendingUser]) -> list[list[PendingUser]]:
    """The batches that a run would create for these users."""
    waiting, held_back = iter(users), list[PendingUser]()
    return list(iter(lambda: next_batch(waiting, held_back), []))


@pytest.mark.parametrize(("call", "name"), [("users_update", "users"), ("events_track", "events")])
def test_a_bulk_body_holds_the_items_of_the_single_calls(call: Call, name: str) -> None:
    """Both modes send the same items, byte for byte."""
    users = people(3)

    body = orjson.loads(bulk_body(call, users))

    assert body == {name: [orjson.loads(user.body(call)) for user in users]}


def test_a_batch_ends_at_a_thousand_users() -> None:
    """2,500 users are three calls."""
    assert [len(batch) for batch in all_batches(people(2500))] == [1000, 1000, 500]


def test_a_batch_ends_before_it_is_too_large() -> None:
    """The larger body is limited to 4,000,000 bytes, as sent."""
    users = [
        PendingUser(number, f"u{number}@example.com", b"p" * 10, b"e" * 9_000)
        for number in range(1000)
    ]

    batches = all_batches(users)

    sizes = [len(bulk_body("events_track", batch)) for batch in batches]
    assert max(sizes) <= bulk.MAX_BYTES
    assert max(sizes) > bulk.MAX_BYTES - 9_100
    assert sum(map(len, batches)) == 1000


def test_a_user_larger_than_a_call_is_sent_alone() -> None:
    """It will be rejected, but no other user with it."""
    huge = PendingUser(2, "huge@example.com", b"p", b"e" * 5_000_000)

    batches = all_batches([pending_user(1), huge, pending_user(3)])

    assert [[user.position for user in batch] for batch in batches] == [[1], [2], [3]]


emails = st.lists(st.sampled_from(["a@x.de", "A@X.de", "b@x.de", "B@x.de", "c@x.de"]), max_size=40)


@given(emails)
def test_each_email_is_in_a_call_once_and_no_user_is_lost(addresses: list[str]) -> None:
    """Two users that differ only by case could not be distinguished in an answer."""
    users = [pending_user(number, email) for number, email in enumerate(addresses, start=1)]

    batches = all_batches(users)

    assert [user for batch in batches for user in batch] == users
    for batch in batches:
        keys = [user.email.lower() for user in batch]
        assert len(keys) == len(set(keys)) <= MAX_ITEMS


def batches_one_by_one(users: Sequence[PendingUser], limits: list[int]) -> list[list[int]]:
    """The model of `next_batch`: user by user, until the next one does not fit."""
    batches: list[list[int]] = []
    remaining = list(users)
    while remaining:
        limit = limits[min(len(batches), len(limits) - 1)]
        batch: list[PendingUser] = []
        while remaining and len(batch) < limit:
            tried = [*batch, remaining[0]]
            sizes = [
                sum(len(user.body(call)) + 1 for user in tried) + 16
                for call in ("users_update", "events_track")
            ]
            emails = {user.email.casefold() for user in tried}
            if batch and (max(sizes) > bulk.MAX_BYTES or len(emails) < len(tried)):
                break
            batch.append(remaining.pop(0))
        batches.append([user.position for user in batch])
    return batches


sizes = st.just(2) | st.sampled_from([1, 700_000, 1_999_000, 3_999_983, 3_999_984, 5_000_000])
# Where users must not be in one call, a batch ends early.
crowds = st.lists(
    st.tuples(
        st.sampled_from(["a@x.de", "A@X.de", "straße@x.de", "STRASSE@x.de"])
        | st.integers(0, 50).map("u{}@x.de".format),
        sizes,
        sizes,
    ),
    max_size=15,
)


@settings(max_examples=300)
@given(crowds, st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_batches_are_those_of_a_simple_loop(
    given_users: list[tuple[str, int, int]], limits: list[int]
) -> None:
    """Full and in the order of the query, also when the limit falls to one in the middle."""
    users = [
        PendingUser(position, email, BODY[:profile], BODY[:event])
        for position, (email, profile, event) in enumerate(given_users, start=1)
    ]
    waiting, held_back = iter(users), list[PendingUser]()
    found: list[list[int]] = []
    while batch := next_batch(waiting, held_back, limits[min(len(found), len(limits) - 1)]):
        found.append([user.position for user in batch])

    assert found == batches_one_by_one(users, limits)
    assert held_back == []


def test_no_more_users_are_taken_than_a_call_may_have() -> None:
    """The journal is read as far as it is needed, and what is held back comes first."""
    users = [pending_user(1), pending_user(2, "user1@example.com"), *map(pending_user, range(3, 9))]
    waiting, held_back = iter(users), list[PendingUser]()

    first = next_batch(waiting, held_back, 4)
    second = next_batch(waiting, held_back, 4)

    assert [user.position for user in first] == [1]
    assert [user.position for user in second] == [2, 3, 4, 5]
    assert [user.position for user in waiting] == [6, 7, 8]


def test_users_that_were_held_back_are_sent_singly_when_bulk_is_over() -> None:
    """The key turned out not to allow bulk calls while four users waited for the next batch."""
    users = [pending_user(1), pending_user(2, "user1@example.com"), *map(pending_user, (3, 4, 5))]
    waiting, held_back = iter(users), list[PendingUser]()

    batches = [next_batch(waiting, held_back, 5)]
    while batch := next_batch(waiting, held_back, 1):
        batches.append(batch)

    assert [[user.position for user in batch] for batch in batches] == [[1], [2], [3], [4], [5]]


LISTS = [
    "invalidEmails",
    "forgottenEmails",
    "invalidDataEmails",
    "conflictEmails",
    "notFoundEmails",
]


@pytest.mark.parametrize("name", LISTS)
def test_a_named_failure_belongs_to_its_user_only(name: str) -> None:
    """An email in capitals comes back in lower case and is still recognized."""
    users = [pending_user(1), pending_user(2, "Grace.HOPPER@Example.com"), pending_user(3)]
    answer = answered(
        successCount=2, failCount=1, failedUpdates={name: ["grace.hopper@example.com"]}
    )

    failed, delivered = split_bulk_result("users_update", users, answer)

    assert [user.position for user in failed.users] == [2]
    assert failed.result is not None
    assert (failed.result.error, failed.result.status_code) == ("client_error", 200)
    assert failed.result.response == {"failedUpdates": {name: ["Grace.HOPPER@Example.com"]}}
    assert [user.position for user in delivered.users] == [1, 3]
    assert delivered.result is not None
    assert delivered.result.response == {"successCount": 2, "failCount": 1}


def test_the_deprecated_list_of_invalid_emails_is_read_too() -> None:
    """An older answer lists failures at its top level."""
    answer = answered(successCount=1, failCount=1, invalidEmails=["user1@example.com"])

    failed, delivered = split_bulk_result("users_update", people(2), answer)

    assert failed.users[0].position == 1
    assert failed.result is not None
    assert delivered.result is not None
    assert (failed.result.success, delivered.result.success) == (False, True)


def test_a_disallowed_event_name_fails_every_event() -> None:
    """The name is rejected, not a user."""
    answer = answered(successCount=0, failCount=0, disallowedEventNames=["page_view"])

    (share,) = split_bulk_result("events_track", people(3), answer)

    assert len(share.users) == 3
    assert share.result is not None
    assert share.result.error == "client_error"


def test_an_answer_that_counts_more_failures_than_it_names_is_not_believed() -> None:
    """The users that may be affected are sent again in smaller calls."""
    answer = answered(
        successCount=3, failCount=2, failedUpdates={"invalidEmails": ["user1@example.com"]}
    )

    named, unknown = split_bulk_result("users_update", people(5), answer)

    assert named.users[0].position == 1
    assert (len(unknown.users), unknown.result) == (4, None)


def test_an_answer_that_does_not_count_all_users_is_not_believed() -> None:
    """Users that it counts neither as stored nor as failed are sent again."""
    (share,) = split_bulk_result("users_update", people(4), answered(successCount=1, failCount=0))

    assert (len(share.users), share.result) == (4, None)


@pytest.mark.parametrize("users", [1, 4])
@pytest.mark.parametrize("count", [5, -1, True, False, 4.0, "4", None, [4], 1e300])
def test_a_count_that_cannot_be_right_is_not_believed(count: object, users: int) -> None:
    """More than were sent, or no count at all: all of them are sent again."""
    for answer in (answered(successCount=count), answered(successCount=users, failCount=count)):
        (share,) = split_bulk_result("users_update", people(users), answer)

        assert (len(share.users), share.result) == (users, None)


@pytest.mark.parametrize(
    "lists", ["user1@example.com", {"invalidEmails": "user1@example.com"}, [1]]
)
def test_lists_that_are_no_lists_are_not_believed(lists: object) -> None:
    """A failure may be named in a form that is not understood: all are asked about again."""
    answer = answered(successCount=4, failCount=0, failedUpdates=lists)

    (share,) = split_bulk_result("users_update", people(4), answer)

    assert (len(share.users), share.result) == (4, None)


def test_named_failures_stand_beside_a_count_that_cannot_be_right() -> None:
    """Failures that an answer names explicitly are believed."""
    answer = answered(successCount=9, failedUpdates={"invalidEmails": ["user1@example.com"]})

    named, unknown = split_bulk_result("users_update", people(5), answer)

    assert [user.position for user in named.users] == [1]
    assert (len(unknown.users), unknown.result) == (4, None)


def test_one_user_with_an_unnamed_failure_has_failed() -> None:
    """Alone in a call, no other user can be the cause."""
    (share,) = split_bulk_result("users_update", people(1), answered(successCount=0, failCount=1))

    assert share.result is not None
    assert share.result.error == "client_error"


@pytest.mark.parametrize(
    "answer",
    [
        answered(400, "client_error", code="RequestFieldsTypesMismatched"),
        answered(400, "client_error", code="BadJsonBody"),
        answered(400, "client_error", code="BatchTooLarge"),
        answered(413, "client_error"),
    ],
    ids=lambda answer: str(answer.response),
)
def test_a_call_refused_for_one_record_says_nothing_of_the_others(answer: CallResult) -> None:
    """They have no result yet; a single user keeps the rejection."""
    (share,) = split_bulk_result("users_update", people(5), answer)

    assert (len(share.users), share.result) == (5, None)
    (alone,) = split_bulk_result("users_update", people(1), answer)
    assert alone.result is answer


@pytest.mark.parametrize("users", [1, 5])
@pytest.mark.parametrize("status", [401, 403])
def test_a_call_refused_by_a_firewall_says_nothing_of_any_user(status: int, users: int) -> None:
    """It may reject one record, or bulk calls in general: single calls will show."""
    page = CallResult(False, "<html>", status, 1, "client_error")

    (share,) = split_bulk_result("users_update", people(users), page)

    assert (len(share.users), share.result) == (users, None)


@pytest.mark.parametrize(
    "answer",
    [
        answered(400, "client_error", code="BadParams"),
        answered(503, "server_error"),
        CallResult(success=False, response="x", status_code=None, attempts=3, error="timeout"),
    ],
    ids=["refused", "down", "silent"],
)
def test_any_other_failure_is_the_outcome_of_every_user(answer: CallResult) -> None:
    """It is not about a single record."""
    (share,) = split_bulk_result("users_update", people(5), answer)

    assert (len(share.users), share.result) == (5, answer)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
keys = st.sampled_from(
    ["successCount", "failCount", "failedUpdates", "disallowedEventNames", "invalidEmails"]
)


@given(st.dictionaries(keys, json_values), st.sampled_from(["users_update", "events_track"]))
def test_whatever_the_answer_each_user_is_in_one_group(answer: dict[str, Any], call: Call) -> None:
    """Unexpected answers lose no user and count no user twice."""
    users = people(6)

    shares = split_bulk_result(call, users, answered(**answer))

    positions = sorted(user.position for share in shares for user in share.users)
    assert positions == [1, 2, 3, 4, 5, 6]


def test_dropped_fields_are_listed_once() -> None:
    """In order, without duplicates; an answer without them has none."""
    assert filtered_out_fields(answered(filteredOutFields=["b", "a"])) == ["a", "b"]
    assert filtered_out_fields(answered(400, "client_error", code="BadParams")) == []


@pytest.mark.parametrize("code", [["BadJsonBody"], {"BadJsonBody": 1}, 7])
def test_a_code_that_is_not_a_string_fails_every_user(code: object) -> None:
    """Whatever a proxy answers instead of Iterable, the run continues."""
    answer = answered(400, "client_error", code=code)

    (share,) = split_bulk_result("users_update", people(3), answer)

    assert (share.result, len(share.users)) == (answer, 3)


def test_a_batch_of_one_starts_with_the_user_left_over_from_the_last_one() -> None:
    """If bulk is rejected midway, no user that was already read is lost."""
    first, second, third = people(3)
    waiting, held_back = iter([second, third]), [first]

    assert [next_batch(waiting, held_back, 1) for _ in range(4)] == [[first], [second], [third], []]
