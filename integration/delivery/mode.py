"""Single or bulk calls."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from integration.journal.queries import read_run

if TYPE_CHECKING:
    from integration.config.settings import DeliveryOptions
    from integration.core.models import Mode
    from integration.journal.store import Journal

logger = logging.getLogger(__name__)

MIN_BULK_USERS = 1000


def decide_mode(options: DeliveryOptions, journal: Journal, run: int) -> Mode:
    """Decide how to call, and record it; with "auto", a resumed run or a retry keeps its mode.

    Iterable expects one kind of call for one user within a short time.
    """
    earlier = read_run(journal, run).mode
    wanted = earlier if options.mode == "auto" and earlier else options.mode
    mode = choose_mode(wanted, journal.pending_users(run), jwt=options.uses_jwt)
    if wanted == "bulk" != mode:
        logger.warning("A JWT key may not make bulk calls: continuing with single calls")
    journal.set_mode(run, mode)
    return mode


def choose_mode(wanted: str, total_users: int, *, jwt: bool) -> Mode:
    """Single or bulk: `auto` means bulk from 1,000 users; a JWT key does not allow bulk calls."""
    if jwt or wanted == "single":
        return "single"
    return "bulk" if wanted == "bulk" or total_users >= MIN_BULK_USERS else "single"
