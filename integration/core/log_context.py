"""Which run the lines of the log belong to. A process has one run at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_current: list[str] = []


def current_run() -> str | None:
    """The id of the run in progress, as the window and the summaries show it."""
    return _current[-1] if _current else None


@contextmanager
def naming_run(run_id: str) -> Iterator[None]:
    """Until the end of the block, lines of all threads belong to this run."""
    _current.append(run_id)
    try:
        yield
    finally:
        _current.remove(run_id)
