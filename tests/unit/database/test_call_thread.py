"""Blocking calls in a thread of their own."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING

import pytest

from integration.database.call_thread import CallThread

if TYPE_CHECKING:
    from collections.abc import Callable


def nothing() -> None:
    """A call that does nothing."""


def wait_until(condition: Callable[[], bool]) -> bool:
    """Give the other thread its time."""
    give_up = time.monotonic() + 30
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.01)
    return condition()


def test_a_call_runs_in_the_other_thread_and_its_result_comes_back() -> None:
    """The same thread makes all of them: drivers are not made for several."""
    thread = CallThread("calls")
    names = [thread.run(lambda: threading.current_thread().name) for _ in range(2)]
    thread.finish(nothing)
    assert names == ["calls", "calls"]


def test_what_a_call_raises_is_raised_here() -> None:
    """And the next call is made all the same."""
    thread = CallThread("calls")
    with pytest.raises(ZeroDivisionError):
        thread.run(lambda: 1 // 0)
    assert thread.run(lambda: 1) == 1
    thread.finish(nothing)


def test_a_call_that_takes_too_long_is_left_alone() -> None:
    """The caller goes on; the calls after it wait for it, so that none meets it."""
    thread = CallThread("calls")
    release = threading.Event()
    done: list[str] = []

    def slow() -> None:
        release.wait()
        done.append("slow")

    with pytest.raises(TimeoutError):
        thread.run(slow, timeout_seconds=0.01)
    thread.finish(partial(done.append, "last"))
    assert done == []
    release.set()
    assert wait_until(lambda: len(done) == 2)
    assert done == ["slow", "last"]


def test_the_thread_ends_with_its_last_call() -> None:
    """Nothing is left of it."""
    thread = CallThread("a thread of this test")
    (runner,) = [each for each in threading.enumerate() if each.name == "a thread of this test"]
    thread.finish(nothing)
    runner.join(30)
    assert not runner.is_alive()


def test_a_thread_that_waits_keeps_nothing_alive() -> None:
    """What the last call used can be let go of."""

    class Thing:
        def use(self) -> None:
            pass

    thread = CallThread("calls")
    thing = Thing()
    thread.run(thing.use)
    alive = weakref.ref(thing)
    del thing
    thread.run(nothing)
    gc.collect()
    assert alive() is None
    thread.finish(nothing)
