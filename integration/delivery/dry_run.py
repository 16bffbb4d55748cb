"""What a dry run shows instead of sending."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from integration.core.models import ENDPOINTS, SMALL_RUN_USERS
from integration.delivery.new_users import pending_users
from integration.journal.queries import read_run

if TYPE_CHECKING:
    from integration.core.shutdown import Stop
    from integration.journal.store import Journal

logger = logging.getLogger(__name__)


def show_payloads(journal: Journal, run: int, stop: Stop) -> None:
    """Log what would be sent; on the console, for the first users only."""
    for user in pending_users(read_run(journal, run).columns, journal.pending(run)):
        if stop.requested():
            return
        level = logging.INFO if user.position <= SMALL_RUN_USERS else logging.DEBUG
        for call in user.calls:
            logger.log(level, "Would send %s: %s", ENDPOINTS[call], user.body(call).decode())
