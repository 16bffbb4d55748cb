"""Runs at an interval, until a signal stops them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from integration.core.shutdown import Interrupted, wait_in_main_thread
from integration.database.errors import DatabaseError, DatabaseRefused, DatabaseUnavailable
from integration.ingest.errors import IngestError, SourceBusy

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.core.exit_codes import ExitCode
    from integration.core.shutdown import Stop

logger = logging.getLogger(__name__)


def repeat_runs(run_once: Callable[[], ExitCode], every: float, stop: Stop) -> ExitCode:
    """Run until stopped, with so many seconds between the starts of two runs.

    A run that takes longer is followed by the next one at once. One that fails is logged, and the
    next one tries again.

    Args:
        run_once: returns its exit code; before it stores anything, a signal interrupts it.
        every: the interval in seconds.
        stop: whether to stop.

    Raises:
        Interrupted: a signal arrived before the first run had begun to store.
        DatabaseError: no run has been possible yet, and another attempt would fail, too.
    """
    has_run = False
    while True:
        started = time.monotonic()
        try:
            code = run_once()
            has_run = True
        except Interrupted as interruption:
            if not has_run:
                raise
            stop.request(interruption.reason)
            return interruption.reason.exit_code
        except (DatabaseError, IngestError) as error:
            if not (has_run or _may_pass(error)):
                raise
            logger.error("%s. The next run tries again", error)  # noqa: TRY400  for bugs
            code = error.exit_code
        if wait_in_main_thread(stop, max(0.0, started + every - time.monotonic())):
            return code


def _may_pass(error: Exception) -> bool:
    """Whether the database may just not be ready yet."""
    if isinstance(error, DatabaseRefused):
        return False
    return isinstance(error, DatabaseUnavailable | SourceBusy)
