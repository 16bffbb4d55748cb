"""Rate limits and latency of the sandbox."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.application import rate_limited
from sandbox.endpoints import Endpoint
from sandbox.limits import RateLimits, TokenBucket
from sandbox.options import SandboxOptions
from tests.support import sandbox_api
from tests.support.sandbox_api import EMAIL

if TYPE_CHECKING:
    from tests.support.sandbox_api import Api

# A thousandth of the published limits: one call, and no second one for the length of a test.
SCARCE = 0.001

running_sandbox_fixture = sandbox_api.running_sandbox_fixture
api_fixture = sandbox_api.api_fixture


def test_a_steady_caller_is_never_refused() -> None:
    """Calls at the rate, each a little late or early, all pass."""
    bucket = TokenBucket(5, burst_seconds=0.1)
    times = [10 + n * 0.2 + (0.04 if n % 2 else -0.04) for n in range(100)]
    assert [bucket.take(now) for now in times] == [0.0] * 100


def test_two_simultaneous_calls_are_a_burst() -> None:
    """The second is rejected and told when to retry."""
    bucket = TokenBucket(5, burst_seconds=0.1)
    assert bucket.take(10.0) == 0.0
    assert bucket.take(10.0) == pytest.approx(0.1)
    assert bucket.take(10.1) == 0.0


@given(st.floats(1, 1000), st.floats(0, 2), st.lists(st.floats(0, 0.05), min_size=1, max_size=200))
def test_no_more_calls_pass_than_rate_and_burst_allow(
    rate: float, burst_seconds: float, gaps: list[float]
) -> None:
    """Over any period, at most the rate times the period, plus the burst, plus one."""
    bucket, now, passed = TokenBucket(rate, burst_seconds), 100.0, 0
    for gap in gaps:
        now += gap
        passed += bucket.take(now) == 0.0
    assert passed <= rate * (now - 100.0) + rate * burst_seconds + 1 + 1e-6


def test_a_scale_of_zero_switches_limits_off() -> None:
    """Without a bucket everything passes."""
    limits = RateLimits({"x": 1.0}, scale=0, burst_seconds=0)
    assert [limits.seconds_to_wait("x", 1.0) for _ in range(5)] == [0.0] * 5


def test_each_endpoint_has_a_separate_limit(api: Api) -> None:
    """users/bulkUpdate at its limit does not affect events/trackBulk."""
    api.update()
    api.sandbox.configure(limits=SCARCE)
    assert [api.update_bulk(EMAIL).status_code for _ in range(2)] == [200, 429]
    assert api.track_bulk(EMAIL).status_code == 200
    assert api.sandbox.stats()["answers"]["users/bulkUpdate"] == {"200": 1, "429": 1}


def test_a_refusal_is_the_recorded_one(api: Api) -> None:
    """By default neither header nor params say when to retry."""
    api.sandbox.configure(limits=SCARCE)
    answer = [api.get("users/getFields") for _ in range(2)][1]
    assert answer.status_code == 429
    assert answer.json() == {
        "msg": "Exceeded rate limit.",
        "code": "RateLimitExceeded",
        "params": None,
    }
    assert "Retry-After" not in answer.headers


def test_a_refusal_can_say_when_to_come_back(api: Api) -> None:
    """Retry-After and rateLimitReset are whole seconds, never too early."""
    # Three calls a second, reduced a hundredfold: the next one is due after 33.3 s.
    api.sandbox.configure(limits=0.01, burst_seconds=0, retry_after=True, rate_limit_reset=True)
    answer = [api.get("users/getFields") for _ in range(2)][1]
    seconds = int(answer.headers["Retry-After"])
    assert 20 <= seconds <= 34
    assert answer.json()["params"] == {
        "rateLimitLimit": pytest.approx(0.03),
        "rateLimitRemaining": 0,
        "rateLimitReset": seconds,
    }


def test_the_time_to_come_back_is_rounded_up() -> None:
    """A client that retries at that time is not rejected again."""
    options = SandboxOptions(limits=1, retry_after=True, rate_limit_reset=True)
    answer = rate_limited(options, Endpoint.USERS_FIELDS, 1.2)
    assert answer.headers == (("Retry-After", "2"),)
    assert b'"rateLimitReset":2' in answer.body


def test_limits_can_be_switched_off(api: Api) -> None:
    """The word off is the number 0."""
    api.sandbox.configure(limits="off")
    assert {api.get("users/getFields").status_code for _ in range(10)} == {200}


def test_latency_delays_every_answer_and_blocks_none(api: Api) -> None:
    """Calls wait in parallel, not one behind the other."""
    api.sandbox.configure(latency=1)
    started = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        emails = [f"user{n}@example.com" for n in range(10)]
        assert {answer.status_code for answer in pool.map(api.update, emails)} == {200}
    # One behind the other they would take ten seconds.
    assert 1 <= time.monotonic() - started < 9
