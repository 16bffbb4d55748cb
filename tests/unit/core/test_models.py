"""The values that are passed between the modules."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.core.models import (
    CALLS,
    NOT_ATTEMPTED,
    CallResult,
    Counts,
    ErrorKind,
    PageView,
    PendingUser,
    Retries,
)

ADA = PendingUser(1, "ada@example.com", b"profile", b"event")
counts = st.integers(min_value=0, max_value=10_000_000)


def test_a_page_view_has_the_columns_of_the_csv() -> None:
    """The documented header, in its order."""
    assert ",".join(PageView._fields) == (
        "id,email,first_name,last_name,plan_type,candidate,page,device,browser,location,event_time"
    )


@given(counts, counts, counts, counts, counts)
def test_counts_add_up(
    successful: int, partial: int, total: int, not_attempted: int, unchanged: int
) -> None:
    """No user is lost: the parts add up to the total."""
    fared = Counts(
        successful=successful,
        partial_failures=partial,
        total_failures=total,
        not_attempted=not_attempted,
        unchanged=unchanged,
    )
    assert fared.total_users == successful + partial + total + not_attempted + unchanged
    assert fared.total_users == sum(dataclasses.astuple(fared))


@given(st.dictionaries(st.sampled_from(["429", "500", "503", "timeout"]), counts))
def test_retries_add_up(by_status: dict[str, int]) -> None:
    """The total is that of all statuses and errors."""
    assert Retries(tuple(by_status.items())).total == sum(by_status.values())


def test_a_run_that_has_not_started_has_zero_counts() -> None:
    """All counts start at zero."""
    assert (Counts().total_users, Retries().total, Retries().seconds_waited) == (0, 0, 0)


def test_the_retries_of_two_parts_of_a_run_add_up() -> None:
    """A resumed run reports both its parts, status by status."""
    first = Retries((("429", 1), ("503", 2)), 1.5)
    second = Retries((("503", 3), ("timeout", 4)), 2.25)
    assert first + second == Retries((("429", 1), ("503", 5), ("timeout", 4)), 3.75)
    assert first + Retries() == first


def test_a_call_that_was_not_made_is_not_a_success_and_has_no_answer() -> None:
    """Nothing was sent, so there is no response."""
    assert dataclasses.asdict(NOT_ATTEMPTED) == {
        "success": False,
        "response": None,
        "status_code": None,
        "attempts": 0,
        "error": "not_attempted",
    }


def test_the_profile_is_sent_before_the_event() -> None:
    """A user's calls are made in this order: an event does not create its user."""
    assert CALLS == ADA.calls == ("users_update", "events_track")


def test_each_call_has_its_body() -> None:
    """The profile is updated, the event is tracked."""
    assert [ADA.body(call) for call in CALLS] == [b"profile", b"event"]


@pytest.mark.parametrize(
    ("status", "refused"),
    [
        (401, True),
        (403, True),
        (400, False),
        (404, False),
        (429, False),
        (200, False),
        (None, False),
    ],
)
def test_the_key_is_refused_by_401_and_403(status: int | None, refused: bool) -> None:
    """No other answer means that all other users would be rejected too."""
    result = CallResult(False, {"code": "Forbidden"}, status, 1, "client_error")
    assert (result.key_refused, result.blocked) == (refused, False)


@pytest.mark.parametrize("response", [None, "<html>", {}, {"code": 403}, ["Forbidden"]])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_without_iterables_code_is_not_the_keys(status: int, response: object) -> None:
    """A firewall in between rejected one request."""
    result = CallResult(False, response, status, 1, "client_error")
    assert (result.key_refused, result.blocked) == (False, True)


@pytest.mark.parametrize(
    ("error", "exhausted"),
    [
        ("server_error", True),
        ("rate_limited", True),
        ("timeout", True),
        ("connection_error", True),
        ("client_error", False),
        ("invalid_response", False),
        ("invalid_record", False),
        ("not_attempted", False),
        (None, False),
    ],
)
def test_retries_are_exhausted_when_more_of_them_might_have_helped(
    error: ErrorKind | None, exhausted: bool
) -> None:
    """Twenty consecutive ones mean that Iterable is unreachable; a refusal is a response."""
    assert CallResult(error is None, None, None, 3, error).retries_exhausted is exhausted


@pytest.mark.parametrize(
    ("value", "field"), [(ADA, "email"), (Counts(), "successful"), (Retries(), "seconds_waited")]
)
def test_values_do_not_change(value: object, field: str) -> None:
    """They are shared between threads."""
    assert hasattr(value, field)
    with pytest.raises(AttributeError):
        setattr(value, field, 2)


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ({"code": "BadApiKey"}, "BadApiKey"),
        ({"code": ["BadApiKey"]}, None),
        ({"msg": "BadApiKey"}, None),
        ("BadApiKey", None),
        (["code"], None),
        (None, None),
    ],
)
def test_the_code_is_iterables_or_none(response: object, code: str | None) -> None:
    """An answer may be any JSON; a code is a string."""
    result = CallResult(
        success=False, response=response, status_code=401, attempts=1, error="client_error"
    )
    assert result.code == code
