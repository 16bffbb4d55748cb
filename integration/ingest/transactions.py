"""Repeating a transaction that met another one, or lost its connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from integration.database.errors import DatabaseUnavailable
from integration.database.write_errors import ConnectionLost, Deadlock, LockLost, RowRefused
from integration.ingest.errors import SourceBusy

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.database.writing import WriteSession

logger = logging.getLogger(__name__)

# After each attempt but the last.
REPEAT_WAITS_SECONDS = (0.1, 1.0, 3.0)

T = TypeVar("T")


def repeat(
    session: WriteSession,
    attempt: Callable[[bool], T],
    *,
    committed: Callable[[], T | None],
    sleep: Callable[[float], object],
) -> T:
    """Run a transaction, and repeat it up to three times.

    Args:
        session: on which it runs; connects again when the connection is lost.
        attempt: the whole transaction. Its argument says whether to search for a row that the
            database refuses: not at first, as another program may just have written the same row.
        committed: after a lost connection, the result if its COMMIT has succeeded all the same.
        sleep: takes seconds.

    Raises:
        DatabaseUnavailable: all attempts failed.
        SourceBusy: another run took the lock while there was no connection.
    """
    split = False
    for wait in REPEAT_WAITS_SECONDS:
        try:
            return attempt(split)
        except RowRefused as error:
            if split:
                raise
            logger.debug("%s. Repeating the page", error)
            split = True
        except (Deadlock, ConnectionLost) as error:
            logger.warning("%s. Repeating the page in %g s", error, wait)
            sleep(wait)
            if isinstance(error, ConnectionLost) and (done := _reconnect(session, committed)):
                return done
    try:
        return attempt(split)
    except Deadlock as error:
        raise DatabaseUnavailable(str(error)) from error


def _reconnect(session: WriteSession, committed: Callable[[], T | None]) -> T | None:
    try:
        session.reconnect()
    except LockLost as error:
        raise SourceBusy(str(error)) from error
    return committed()
