"""Reading the next page while the last one is written."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from integration.ingest.prefetch import prefetched

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 10.0


def test_the_pages_come_in_order() -> None:
    """All of them; none is also fine."""
    assert list(prefetched(iter([1, 2, 3]), lambda: None)) == [1, 2, 3]
    assert list(prefetched(iter([]), lambda: None)) == []


def test_the_next_page_is_read_while_the_caller_has_the_last_one() -> None:
    """But not the one after it."""
    started = [threading.Event() for _ in range(4)]

    def pages() -> Iterator[int]:
        for number, event in enumerate(started):
            event.set()
            yield number

    with closing(prefetched(pages(), lambda: None)) as reading:
        assert next(reading) == 0
        assert started[1].wait(SECONDS)
        assert not started[2].wait(0.05)


def test_pages_are_read_while_there_is_room() -> None:
    """The caller gets them later, in their order; one that it has taken makes room."""
    started = [threading.Event() for _ in range(6)]

    def pages() -> Iterator[int]:
        for number, event in enumerate(started):
            event.set()
            yield number

    reading = prefetched(pages(), lambda: None, has_room=lambda waiting: len(waiting) < 3)
    with closing(reading):
        assert next(reading) == 0
        assert started[3].wait(SECONDS)
        assert not started[4].wait(0.05)
        assert list(reading) == [1, 2, 3, 4, 5]


def test_closing_ends_the_reading() -> None:
    """Also while it waits for room; no further page is read."""
    read: list[int] = []

    def pages() -> Iterator[int]:
        for number in range(10):
            read.append(number)
            yield number

    with closing(prefetched(pages(), lambda: None)) as reading:
        next(reading)
    assert len(read) <= 2


def test_an_error_comes_after_the_pages_before_it() -> None:
    """Also one that looks like the end of the waiting time."""

    def pages() -> Iterator[int]:
        yield 1
        raise TimeoutError("no answer")

    reading = prefetched(pages(), lambda: None)
    assert next(reading) == 1
    with pytest.raises(TimeoutError, match="no answer"):
        next(reading)


def test_the_caller_is_called_while_it_waits() -> None:
    """It can show that the run is alive."""
    waited = threading.Event()

    def pages() -> Iterator[bool]:
        yield waited.wait(SECONDS)

    assert list(prefetched(pages(), waited.set, beat_seconds=0.01)) == [True]
