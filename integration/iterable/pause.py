"""How a client waits between attempts, and its connection to the run's stop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.core.shutdown import StopReason


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


@dataclass(frozen=True, slots=True)
class Pause:
    """How a client waits, and how it learns that the run stops; by default there is no run.

    Attributes:
        wait: sleeps for some seconds; returns True, possibly early, when the run is to stop.
        stopping: whether the run is to stop.
        request_stop: called with the reason when no further call can succeed.
    """

    wait: Callable[[float], bool] = _sleep
    stopping: Callable[[], bool] = lambda: False
    request_stop: Callable[[StopReason], None] = lambda _: None
