"""When a call is retried, and after how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.iterable.retry import (
    RETRYABLE_STATUSES,
    RetryState,
    backoff_seconds,
    wait_after_failure,
    wait_after_rate_limit,
)

shares = st.floats(min_value=0, max_value=1)
tries = st.integers(min_value=1, max_value=10_000)
asked_seconds = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize(
    ("after_tries", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60)]
)
def test_the_wait_doubles_up_to_a_minute(after_tries: int, seconds: float) -> None:
    """1 s, 2 s, 4 s, … and never more than 60 s."""
    assert backoff_seconds(after_tries, 0) == seconds


@pytest.mark.parametrize(("share", "seconds"), [(0, 2), (0.5, 2.25), (1, 2.5)])
def test_jitter_adds_up_to_a_quarter(share: float, seconds: float) -> None:
    """Callers that failed together must not come back together."""
    assert backoff_seconds(2, share) == seconds


@given(tries, shares)
def test_any_backoff_is_within_its_bounds(after_tries: int, share: float) -> None:
    """At least the plain wait, at most a quarter more, and never above 60 s."""
    plain = backoff_seconds(after_tries, 0)
    assert 1 <= plain <= backoff_seconds(after_tries, share) <= min(plain * 1.25, 60)


@given(tries, shares, shares)
def test_the_backoff_grows_whatever_the_jitter(after_tries: int, one: float, other: float) -> None:
    """A later wait is longer, until both have reached the ceiling."""
    sooner, later = backoff_seconds(after_tries, one), backoff_seconds(after_tries + 1, other)
    assert sooner < later or later == 60


@given(tries, st.integers(min_value=1, max_value=20), shares)
def test_a_failure_is_retried_until_the_attempts_are_used_up(
    so_far: int, max_attempts: int, share: float
) -> None:
    """`max_attempts` tries are made, with a backoff between them."""
    wait = wait_after_failure(RetryState(counted_attempts=so_far), max_attempts, share)
    assert wait == (backoff_seconds(so_far, share) if so_far < max_attempts else None)


@given(st.lists(asked_seconds, max_size=1000), shares)
def test_a_call_never_waits_more_than_a_minute_for_429s(
    asked: list[float | None], share: float
) -> None:
    """Whatever a server asks for, repeatedly, the waits add up to 60 s at most."""
    waited = 0.0
    for number, seconds in enumerate(asked, start=1):
        wait = wait_after_rate_limit(RetryState(0, number, waited), seconds, share)
        if wait is None:
            break
        assert wait >= 0.1
        waited += wait
    assert waited <= 60


@given(shares)
def test_a_call_that_always_gets_429_gives_up_eventually(share: float) -> None:
    """Even the shortest waits reach the limit."""
    waited, calls = 0.0, 0
    while (
        wait := wait_after_rate_limit(RetryState(0, calls + 1, waited), 1e-9, share)
    ) is not None:
        waited += wait
        calls += 1
    assert 590 <= calls <= 600


@pytest.mark.parametrize(
    ("asked", "waited", "wait"),
    [
        (2.0, 0.0, 2.0),
        (0.01, 0.0, 0.1),
        (60.0, 0.0, 60.0),
        (60.1, 0.0, None),
        (30.0, 30.0, 30.0),
        (30.0, 30.1, None),
        (120.0, 0.0, None),
        (None, 0.0, 5.0),
        (0.0, 0.0, 5.0),
        (-1.0, 0.0, 5.0),
        (None, 55.1, None),
    ],
)
def test_a_429_waits_as_asked_or_else_the_backoff(
    asked: float | None, waited: float, wait: float | None
) -> None:
    """What the answer asks for goes first; nothing, or nothing sensible, means the backoff."""
    assert wait_after_rate_limit(RetryState(0, 3, waited), asked, 1) == wait


def test_a_429_is_no_try() -> None:
    """Its backoff grows with the 429s, however many tries there were; both are requests."""
    so_far = RetryState(counted_attempts=2, rate_limits=1)
    assert wait_after_rate_limit(so_far, None, 0) == 1
    assert wait_after_failure(so_far, 3, 0) == 2
    assert so_far.attempts == 3


def test_a_call_starts_with_no_attempts_and_no_waits() -> None:
    """The first failure is followed by the first wait."""
    assert RetryState() == RetryState(counted_attempts=0, rate_limits=0, seconds_waited=0)


def test_the_retryable_statuses_are_the_documented_ones() -> None:
    """429 has its own rule; no other 4xx is retried."""
    assert {408, 500, 502, 503, 504} == RETRYABLE_STATUSES
