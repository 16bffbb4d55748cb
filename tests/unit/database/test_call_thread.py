"""Blocking calls in a separate thread."""

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
    """Give the other thread some time."""
    give_up = time.monotonic() + 30
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.01)
    return condition()


def test_a_call_runs_in_the_other_thread_and_returns_its_result() -> None:
    """One thread makes all of them: drivers are not safe for several."""
    thread = CallThread("calls")
    names = [thread.run(lambda: threading.current_thread().name) for _ in range(2)]
    thread.finish(nothing)
    assert names == ["calls", "calls"]


def test_an_exception_of_a_call_is_raised_in_the_calling_thread() -> None:
    """The next call is still made."""
    thread = CallThread("calls")
    with pytest.raises(ZeroDivisionError):
        thread.run(lambda: 1 // 0)
    assert thread.run(lambda: 1) == 1
    thread.finish(nothing)


def test_a_call_that_takes_too_long_is_abandoned() -> None:
    """The caller continues; later calls wait for it, so that no two overlap."""
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
    """Nothing of it remains."""
    thread = CallThread("a thread of this test")
    (runner,) = [each for each in threading.enumerate() if each.name == "a thread of this test"]
    thread.finish(nothing)
    runner.join(30)
    assert not runner.is_alive()


def test_a_waiting_thread_keeps_no_object_alive() -> None:
    """The objects of the last call can be garbage collected."""

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
