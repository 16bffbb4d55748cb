"""Reading the next page of a source while the last one is written."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

BEAT_SECONDS = 60.0

T = TypeVar("T")


def prefetched(
    pages: Iterator[T], while_waiting: Callable[[], object], beat_seconds: float = BEAT_SECONDS
) -> Generator[T, None, None]:
    """The same pages; each is read in another thread while the caller uses the one before.

    Closing this iterator waits for the page that is being read.

    Args:
        pages: what to read; only one thread at a time uses it.
        while_waiting: called in the caller's thread every `beat_seconds` of waiting for a page.
        beat_seconds: how often.
    """
    with ThreadPoolExecutor(1, "prefetch") as executor:
        following = executor.submit(next, pages, None)
        while (page := _result(following, while_waiting, beat_seconds)) is not None:
            following = executor.submit(next, pages, None)
            yield page


def _result(
    future: Future[T | None], while_waiting: Callable[[], object], beat_seconds: float
) -> T | None:
    while True:
        try:
            return future.result(beat_seconds)
        except StillWaiting:
            # The page's own error may be a timeout, too.
            if future.done():
                return future.result()
            while_waiting()
