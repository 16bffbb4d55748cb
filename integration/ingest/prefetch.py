"""Reading the next pages of a source while the last one is written."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from threading import Condition
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

BEAT_SECONDS = 60.0

T = TypeVar("T")


def no_other(waiting: Sequence[object]) -> bool:
    """Room for one page."""
    return not waiting


def prefetched(
    pages: Iterator[T],
    while_waiting: Callable[[], object],
    beat_seconds: float = BEAT_SECONDS,
    has_room: Callable[[Sequence[T]], bool] = no_other,
) -> Generator[T, None, None]:
    """The same pages, read in another thread while the caller uses those before.

    Closing this iterator waits for the page that is being read.

    Args:
        pages: what to read; only one thread at a time uses it.
        while_waiting: called in the caller's thread every `beat_seconds` of waiting for a page.
        beat_seconds: how often.
        has_room: whether to read another page, while these wait for the caller.
    """
    buffer = _Buffer(has_room)
    with ThreadPoolExecutor(1, "prefetch") as executor:
        reading = executor.submit(buffer.fill, pages)
        try:
            while buffer.wait(beat_seconds, while_waiting):
                yield buffer.take()
            reading.result()
        finally:
            buffer.close()


class _Buffer(Generic[T]):
    """The pages that were read and not used yet; one thread fills it and one takes them."""

    def __init__(self, has_room: Callable[[Sequence[T]], bool]) -> None:
        self._has_room = has_room
        self._changed = Condition()
        self._pages: deque[T] = deque()
        self._is_filled = False
        self._is_closed = False

    def fill(self, pages: Iterator[T]) -> None:
        """Read all pages, while there is room."""
        try:
            while self._wait_for_room():
                page = next(pages, None)
                if page is None:
                    return
                with self._changed:
                    self._pages.append(page)
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._is_filled = True
                self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        """False: no further page is wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._has_room(self._pages))
            return not self._is_closed

    def wait(self, beat_seconds: float, while_waiting: Callable[[], object]) -> bool:
        """Wait for a page; False: there is none any more."""
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._pages or self._is_filled, beat_seconds):
                    return bool(self._pages)
            while_waiting()

    def take(self) -> T:
        """The first page."""
        with self._changed:
            self._changed.notify_all()
            return self._pages.popleft()

    def close(self) -> None:
        """Have no further page read."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
