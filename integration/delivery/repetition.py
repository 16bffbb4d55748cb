"""Deliveries at an interval, each in a process of its own, as cron would start them."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from integration.config.arguments import without_every
from integration.core.exit_codes import ExitCode
from integration.core.shutdown import wait_in_main_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from integration.core.shutdown import Stop

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 0.1
# Another delivery with the same settings would end in the same way.
_LASTING = {ExitCode.USAGE, ExitCode.KEY_REFUSED, ExitCode.CONFIGURATION}


def repeat_deliveries(
    run_once: Callable[[], int], every: float, stop: Stop, wait: Callable[[Stop, float], bool]
) -> int:
    """Deliver until stopped, with so many seconds between the starts of two deliveries.

    One that takes longer is followed by the next one at once. One that fails is logged, and the
    next one tries again; but if the very first one finds that a setting is wrong, it is the last.

    Args:
        run_once: returns the exit code of a delivery.
        every: the interval in seconds.
        stop: whether to stop.
        wait: waits for so many seconds; True if it is to stop.
    """
    has_run = False
    while True:
        started = time.monotonic()
        code = run_once()
        if stop.reason:
            return stop.reason.exit_code
        if code in _LASTING and not has_run:
            return code
        has_run = True
        if code != ExitCode.OK:
            logger.warning("The delivery ended with exit code %d; the next one tries again", code)
        if wait(stop, max(0.0, started + every - time.monotonic())):
            return stop.reason.exit_code if stop.reason else code


def deliver_once(program: Path, arguments: Sequence[str], stop: Stop) -> int:
    """Run the program without `--every`, and pass a stop on; returns its exit code.

    Args:
        program: main.py.
        arguments: its command line.
        stop: whether to stop.
    """
    command = [sys.executable, str(program), *without_every(arguments)]
    with subprocess.Popen(command) as process:  # noqa: S603  no shell
        while process.poll() is None:
            if wait_in_main_thread(stop, _SECONDS_BETWEEN_LOOKS):
                # It may have received the same signal from the terminal; together they count once.
                process.terminate()
                break
        return process.wait()
