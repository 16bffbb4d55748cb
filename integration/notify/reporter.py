"""Telling of one run: a ping at its start, a ping and perhaps a notification at its end.

Whatever goes wrong here is a warning. It never fails a run, and delays one by ten seconds at most.
"""

from __future__ import annotations

import logging
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from integration.core.system_check import NOTIFY_PACKAGES, problem
from integration.journal.notified import read_states, store_states
from integration.journal.reading import JournalError
from integration.notify.conditions import INTERRUPTED
from integration.notify.decision import decide
from integration.notify.pings import START, Pinger
from integration.notify.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.config.notify_settings import NotifySettings
    from integration.core.shutdown import Stop
    from integration.notify.decision import Condition, Notification

logger = logging.getLogger(__name__)

PROGRAM_DIR = Path(__file__).resolve().parents[2]

# What remains of ten seconds is for the journal.
MAX_SECONDS = 8.5
# After a signal, whoever sent it waits for the end.
MAX_SECONDS_INTERRUPTED = 3.0
SECONDS_BETWEEN_LOOKS = 0.02
_EMAIL = re.compile(r"[^\s@<>()\"',;:]+@[^\s@<>()\"',;:]+")


class Reporter:
    """Tells of runs, one after the other.

    Args:
        settings: what to tell to whom.
        journal: the file that knows what was told.
        mask: hides secrets in a text.
        stop: a signal shortens the wait for an answer.
    """

    def __init__(
        self, settings: NotifySettings, journal: Path, mask: Callable[[str], str], stop: Stop
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._mask = mask
        self._stop = stop
        self._pinger: Pinger | None = None

    def started(self) -> None:
        """Ping the start, and warn if nothing could be told at the end."""
        missing = problem(PROGRAM_DIR, NOTIFY_PACKAGES) if self._settings.notify_urls else None
        if missing:
            logger.warning("NOTIFY_URLS tells nothing. %s", missing)
        if self._settings.healthcheck_url:
            try:
                self._pinger = Pinger(self._settings.healthcheck_url)
            except RuntimeError as error:  # no more threads
                logger.warning("HEALTHCHECK_URL was not pinged: %s", error)
                return
            self._pinger.ping(START)

    def ended(self, exit_code: int, conditions: Sequence[Condition], summary: str) -> None:
        """Ping the end, and tell what has changed.

        Args:
            exit_code: of the run.
            conditions: how things are now.
            summary: one line that the pinged service shows.
        """
        give_up = time.monotonic() + (
            MAX_SECONDS_INTERRUPTED if exit_code in INTERRUPTED else MAX_SECONDS
        )
        if self._pinger:
            self._pinger.ping(f"{exit_code:d}", self._clean(summary))
            self._pinger.end()
        notification = self._decide(conditions)
        sending = self._send(notification) if notification else None
        self._wait(sending, give_up)
        if self._pinger and self._pinger.problem:
            logger.warning("HEALTHCHECK_URL was not pinged: %s", self._pinger.problem)
        if notification and sending:
            self._conclude(notification, sending)
        self._pinger = None

    def _send(self, notification: Notification) -> Sending | None:
        try:
            return Sending(self._settings.notify_urls, notification)
        except (OSError, RuntimeError) as error:  # no more processes or threads
            logger.warning("Notification not sent: %s", error)
            return None

    def _decide(self, conditions: Sequence[Condition]) -> Notification | None:
        if not (self._settings.notify_urls and conditions):
            return None
        try:
            previous = read_states(self._journal)
        except JournalError as error:
            logger.warning("What was told before is not known: %s", error)
            previous = {}
        found = decide(previous, conditions, self._settings.notify_name or socket.gethostname())
        if found is None:
            return None
        return found._replace(title=self._clean(found.title), body=self._clean(found.body))

    def _wait(self, sending: Sending | None, give_up: float) -> None:
        """Wait until everything is sent, the time is over, or a signal arrives."""
        was_requested = self._stop.requested()
        while time.monotonic() < give_up and was_requested == self._stop.requested():
            is_sent = sending is None or sending.is_done
            if is_sent and (self._pinger is None or self._pinger.is_done):
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _conclude(self, notification: Notification, sending: Sending) -> None:
        sending.end()
        if sending.problems:
            logger.warning("Notification not sent: %s", "; ".join(sending.problems))
        if not sending.is_told:
            return
        logger.info("Notification sent: %s", notification.title)
        try:
            store_states(self._journal, notification.states)
        except JournalError as error:
            logger.warning("What was told is not recorded, and will be told again: %s", error)

    def _clean(self, text: str) -> str:
        """Without secrets and personal data."""
        return _EMAIL.sub("(an address)", self._mask(text))
