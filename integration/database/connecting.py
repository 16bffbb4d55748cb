"""Connecting to one of several hosts, with retries."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from integration.database.errors import DatabaseRefused, DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_WAITS_SECONDS = (1, 2)
CONNECT_TIMEOUT_SECONDS = 10.0


def connect_with_retries(connect: Callable[[], T], sleep: Callable[[float], object]) -> T:
    """Call `connect` up to three times and return the session.

    Raises:
        DatabaseUnavailable: none succeeded, or (DatabaseRefused) one was refused.
    """
    for seconds in RETRY_WAITS_SECONDS:
        try:
            return connect()
        except DatabaseRefused:  # another attempt would be refused, too
            raise
        except DatabaseUnavailable as error:
            logger.warning("%s. Trying again in %d s", error, seconds)
            sleep(seconds)
    return connect()


def connect_to_any(hosts: Sequence[str], connect: Callable[[str], T]) -> T:
    """Call `connect` with one host after the other until one succeeds; return the session.

    Raises:
        DatabaseUnavailable: none can be reached, or (DatabaseRefused) one refuses.
    """
    *first_hosts, last_host = hosts
    for host in first_hosts:
        try:
            return connect(host)
        except DatabaseRefused:  # the next host would refuse, too
            raise
        except DatabaseUnavailable as error:
            logger.warning("%s. Trying the next host", error)
    return connect(last_host)
