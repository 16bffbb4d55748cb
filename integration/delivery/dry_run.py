"""What a dry run shows instead of sending."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from integration.core.models import SMALL_RUN_USERS
from integration.delivery.new_users import pending_user

if TYPE_CHECKING:
    from integration.core.shutdown import Stop
    from integration.journal.store import Journal

logger = logging.getLogger(__name__)


def show_payloads(journal: Journal, run: int, stop: Stop) -> None:
    """Log what would be sent; on the console, for the first users only."""
    for user in map(pending_user, journal.pending(run)):
        if stop.requested():
            return
        level = logging.INFO if user.position <= SMALL_RUN_USERS else logging.DEBUG
        logger.log(level, "Would send users/update: %s", user.profile.decode())
        logger.log(level, "Would send events/track: %s", user.event.decode())
