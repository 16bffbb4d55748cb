"""The pace as arithmetic, and the limiter on a fake clock."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.iterable.rate_limit import SAFETY, Pace, RateLimiter, recovered, refused

rates = st.floats(0.1, 10_000)
seconds = st.floats(0, 1000)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now

    def sleep(self, duration: float) -> None:
        """Let time pass."""
        self.now += duration


def limiter_on(clock: Clock, rate: float, *, stopping: bool = False) -> RateLimiter:
    """A limiter that never sleeps for real."""
    return RateLimiter(rate, stopping=lambda: stopping, clock=clock, sleep=clock.sleep)


def test_calls_are_paced_and_do_not_burst() -> None:
    """A hundred calls at 50 per second take two seconds, evenly."""
    clock = Clock()
    limiter = limiter_on(clock, 50 / SAFETY)

    sent = [limiter.wait_for_turn() for _ in range(101)]

    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert sent[-1] - sent[0] == pytest.approx(2.0, abs=0.05)
    assert max(gaps) <= 0.021


def test_idle_time_does_not_accumulate() -> None:
    """After a pause there is no burst, except the little that a late thread may catch up."""
    clock = Clock()
    limiter = limiter_on(clock, 100 / SAFETY)
    limiter.wait_for_turn()
    clock.sleep(60)

    start = clock.now
    for _ in range(100):
        limiter.wait_for_turn()

    assert clock.now - start >= 0.95


def test_a_refusal_halves_the_rate_once_for_all_calls_in_flight() -> None:
    """64 rejected calls that were in flight simultaneously count as one rejection."""
    clock = Clock()
    limiter = limiter_on(clock, 100 / SAFETY)
    sent = [limiter.wait_for_turn() for _ in range(5)]

    for sent_at in sent:
        limiter.slow_down(sent_at, 0.0)

    assert limiter.calls_per_second == pytest.approx(50, rel=0.02)


def test_a_hold_pauses_all_calls_for_the_requested_time() -> None:
    """There is no call before `Retry-After` is over, not even one that already had a turn."""
    clock = Clock()
    limiter = limiter_on(clock, 100)
    sent_at = limiter.wait_for_turn()
    limiter.slow_down(sent_at, 7.0)

    assert limiter.wait_for_turn() >= sent_at + 7.0


def test_a_hold_that_comes_while_waiting_counts_too() -> None:
    """A call that sleeps until its turn checks again when it wakes up."""
    clock = Clock()
    limiter = limiter_on(clock, 1)
    limiter.wait_for_turn()
    held = threading.Event()

    def sleep_and_be_held(duration: float) -> None:
        clock.sleep(duration)
        if not held.is_set():
            held.set()
            limiter.slow_down(clock.now, 5.0)

    limiter._sleep = sleep_and_be_held
    began = clock.now

    assert limiter.wait_for_turn() - began >= 5.0


def test_a_hold_is_never_longer_than_a_minute() -> None:
    """A server that asks for an hour does not block the run."""
    clock = Clock()
    limiter = limiter_on(clock, 100)
    sent_at = limiter.wait_for_turn()
    limiter.slow_down(sent_at, 3600.0)

    assert limiter.wait_for_turn() - sent_at <= 60.1


def test_a_stopping_run_waits_for_no_turn() -> None:
    """Even a long queue ends immediately."""
    clock = Clock()
    limiter = limiter_on(clock, 0.01, stopping=True)
    began = clock.now
    for _ in range(10):
        limiter.wait_for_turn()

    assert clock.now == began


def test_a_cut_has_time_to_take_effect() -> None:
    """Calls sent right after a cut are rejected because of earlier ones: no second cut."""
    pace = refused(Pace.at_ceiling(100, 0.0), sent_at=1.0, now=1.1)

    assert refused(pace, sent_at=1.2, now=1.3).rate == 50
    assert refused(pace, sent_at=1.7, now=1.8).rate == 25


@given(rates, seconds, seconds)
def test_the_pace_stays_within_its_bounds(ceiling: float, before: float, after: float) -> None:
    """Above zero and at most the ceiling, however often it is cut and recovers."""
    pace = Pace.at_ceiling(ceiling, 0.0)
    now = 0.0
    for _ in range(20):
        now += before + 1e-6
        pace = refused(recovered(pace, now), now, now)
        now += after
        pace = recovered(pace, now)
        assert 0 < pace.rate <= pace.ceiling


@given(st.floats(1, 1000), st.floats(0.05, 1.0))
def test_the_rate_settles_near_the_servers(ceiling: float, share: float) -> None:
    """Simulated with a lower limit at the server: mostly just below it, few rejections."""
    limit = ceiling * share
    pace = Pace.at_ceiling(ceiling, 0.0)
    carried = refusals = 0.0
    step = 0.02
    for tick in range(1, 3001):
        now = tick * step
        pace = recovered(pace, now)
        if pace.rate > limit:
            pace = refused(pace, now, now)
            refusals += now > 10
        if now > 10:
            carried += min(pace.rate, limit) * step

    assert carried >= 0.8 * limit * 50
    assert refusals <= 50


def test_the_ceiling_comes_back_when_the_server_allows_it() -> None:
    """A temporarily very low limit does not slow the rest of a long run."""
    pace = Pace.at_ceiling(500, 0.0)
    for second in range(1, 7):
        pace = refused(pace, float(second), float(second))
    assert pace.rate < 10

    for tick in range(1, 900):
        pace = recovered(pace, 6.0 + tick / 10)

    assert pace.rate == 500


def test_a_turn_after_the_deadline_is_not_taken() -> None:
    """A call that cannot wait that long ends immediately, and the next one gets the turn."""
    clock = Clock()
    limiter = limiter_on(clock, 1 / SAFETY)
    began = limiter.wait_for_turn()

    assert limiter.wait_for_turn(began + 0.9) == pytest.approx(began + 1, abs=0.03)
    assert clock.now == began
    assert limiter.wait_for_turn(began + 1.1) == pytest.approx(began + 1, abs=0.03)
    assert clock.now == pytest.approx(began + 1, abs=0.03)


def test_a_hold_that_comes_while_waiting_may_pass_the_deadline() -> None:
    """The turn was in time, but then every call was paused past the deadline."""
    clock = Clock()
    limiter = limiter_on(clock, 1 / SAFETY)
    began = limiter.wait_for_turn()

    def sleep_and_be_held(duration: float) -> None:
        clock.sleep(duration)
        limiter.slow_down(began, 30.0)

    limiter._sleep = sleep_and_be_held

    assert limiter.wait_for_turn(began + 10) >= began + 30
    assert clock.now < began + 2
