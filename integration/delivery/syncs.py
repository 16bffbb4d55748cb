"""All syncs, one after the other, each as a process of its own."""

from __future__ import annotations

import logging
import signal
import subprocess
from typing import TYPE_CHECKING

from integration.core.exit_codes import ExitCode
from integration.core.shutdown import INTERRUPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

logger = logging.getLogger(__name__)


class SyncRuns:
    """Runs syncs in turn. A signal is passed on to the one that runs, and no other is started.

    Args:
        command: what runs the program; the sync's name is added.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupted: ExitCode | None = None
        for number in INTERRUPTIONS:
            signal.signal(number, self._handle)

    def run(self, names: Sequence[str]) -> int:
        """Run them, and return the highest of their exit codes: the most severe."""
        codes: list[int] = []
        for number, name in enumerate(names, start=1):
            if self._interrupted:
                break
            logger.info("Sync %s (%d of %d)", name, number, len(names))
            codes.append(self._run_one(name))
        if self._interrupted:
            return self._interrupted
        return max(codes, default=ExitCode.OK)

    def _run_one(self, name: str) -> int:
        # In a group of its own: a signal of the terminal arrives once, through this process.
        command = [*self._command, "--sync", name]
        self._process = subprocess.Popen(command, process_group=0)  # noqa: S603  this program
        if self._interrupted:
            self._process.terminate()
        code = self._process.wait()
        code = code if code >= 0 else 128 - code
        if code:
            logger.warning("Sync %s ended with exit code %d", name, code)
        return code

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._interrupted = INTERRUPTIONS[signal.Signals(number)].exit_code
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
