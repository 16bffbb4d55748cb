"""`--verify`: compare the users that the journal records as delivered with Iterable's data.

Iterable processes calls asynchronously (its reference asks for 60 s before a dependent call), so
a user that differs right after a run is read again until that time is over.
"""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain, count, islice, starmap
from typing import TYPE_CHECKING, Literal, Protocol

from integration.core.clock import utc_now
from integration.core.exit_codes import ExitCode
from integration.delivery.comparison import (
    event_differences,
    is_out_of_reach,
    profile_differences,
)
from integration.delivery.new_users import delivered_user, payload_maker
from integration.iterable.request import MAX_EVENTS_READ
from integration.journal.queries import delivered_users, newest_loaded_run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from datetime import datetime

    from integration.core.models import CallResult, DeliveredUser, Run
    from integration.journal.reading import JournalReader

logger = logging.getLogger(__name__)

PROCESSING_SECONDS = 60.0
SECONDS_BETWEEN_ATTEMPTS = 5.0
MAX_ATTEMPTS = 1 + int(PROCESSING_SECONDS / SECONDS_BETWEEN_ATTEMPTS)
BATCH_SIZE = 500
READERS = 16
OUT_OF_REACH = f"the event is older than the {MAX_EVENTS_READ} that Iterable returns"
MAX_UNREAD_USERS = 20
_GAVE_UP = {
    ExitCode.KEY_REFUSED: "Iterable denied read access: --verify needs a server-side API key",
    ExitCode.UNAVAILABLE: f"Giving up: {MAX_UNREAD_USERS} consecutive users could not be read;"
    " check the network, the proxy and ITERABLE_API_BASE_URL",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of comparing one user.

    Attributes:
        differences: the fields that differ.
        unread: the read that failed.
        unchecked: why Iterable's data cannot show the event.
    """

    user: DeliveredUser
    differences: tuple[str, ...] = ()
    unread: CallResult | None = None
    unchecked: str | None = None

    @property
    def confirmed(self) -> bool:
        """Whether Iterable has the data that was sent."""
        return not (self.differences or self.unread or self.unchecked)


class UserReads(Protocol):
    """The client's reading calls."""

    def read_user(self, email: str) -> CallResult:
        """Read a profile."""
        ...

    def read_events(self, email: str) -> CallResult:
        """Read a user's newest events."""
        ...


class UserReader:
    """Reads users back, with `READERS` threads, within the client's read limits.

    Args:
        client: must have a server-side key.
        wait: sleeps between two reads of a user; returns True when the run is to stop.
        clock: returns the time in UTC.
    """

    def __init__(
        self,
        client: UserReads,
        wait: Callable[[float], bool],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._client = client
        self._wait = wait
        self._clock = clock

    def verify(self, users: Iterable[DeliveredUser]) -> Generator[Finding, None, None]:
        """Read each user until it is confirmed or Iterable's processing time is over.

        Yields:
            Findings as soon as they are final. After `close`, no further user is read.
        """
        remaining = iter(users)
        readers = ThreadPoolExecutor(READERS)
        try:
            while batch := list(islice(remaining, BATCH_SIZE)):
                yield from self._verify_batch(readers, batch)
        finally:
            readers.shutdown(cancel_futures=True)

    def _verify_batch(
        self, readers: ThreadPoolExecutor, batch: list[DeliveredUser]
    ) -> Iterator[Finding]:
        for attempt in count(1):
            undecided: list[Finding] = []
            for finding in readers.map(self._compare, batch):
                if self._may_be_unprocessed(finding):
                    undecided.append(finding)
                else:
                    yield finding
            batch = [finding.user for finding in undecided]
            if attempt == 1 and batch:
                self._log_waiting(len(batch))
            # Attempts are limited too, in case the clock was set back.
            if not batch or attempt == MAX_ATTEMPTS or self._wait(SECONDS_BETWEEN_ATTEMPTS):
                yield from undecided
                return

    def _log_waiting(self, users: int) -> None:
        logger.info(
            "Waiting up to %d s for Iterable to process %d user(s)", PROCESSING_SECONDS, users
        )

    def _may_be_unprocessed(self, finding: Finding) -> bool:
        processed_at = finding.user.delivered_at + timedelta(seconds=PROCESSING_SECONDS)
        return bool(finding.differences) and self._clock() < processed_at

    def _compare(self, user: DeliveredUser) -> Finding:
        differences: list[str] = []
        if user.profile is not None:
            profile = self._client.read_user(user.email)
            if not profile.success:
                return Finding(user, unread=profile)
            differences += profile_differences(user.profile, profile.response)
        if user.event is None:
            return Finding(user, tuple(differences))
        events = self._client.read_events(user.email)
        if not events.success:
            return Finding(user, unread=events)
        if is_out_of_reach(user.event, events.response):
            return Finding(user, tuple(differences), unchecked=OUT_OF_REACH)
        differences += event_differences(user.event, events.response)
        return Finding(user, tuple(differences))


def verify(
    file: JournalReader | None,
    client: UserReads,
    limit: int | None,
    wait: Callable[[float], bool],
    sync: str = "",
) -> ExitCode:
    """Read delivered users of the newest run back and log which are not confirmed."""
    run = newest_loaded_run(file, sync) if file else None
    if file is None or run is None:
        logger.warning("Nothing to verify: there was no run yet")
        return ExitCode.SOME_FAILED
    as_sent = partial(delivered_user, payloads=payload_maker(run.columns))
    users = starmap(as_sent, delivered_users(file, run.number, limit))
    first = next(users, None)
    if first is None:
        return _nothing_delivered(run)
    logger.info("Verifying users of run %s", run.run_id)
    counts: Counter[str] = Counter()
    with closing(UserReader(client, wait).verify(chain([first], users))) as findings:
        gave_up = _log_findings(findings, counts)
    logger.info("%s", _verify_summary(counts))
    if gave_up:
        logger.error("%s", _GAVE_UP[gave_up])
    return gave_up or _verify_exit_code(counts)


def _nothing_delivered(run: Run) -> ExitCode:
    """Confirming no user is not a success, unless there was nothing to deliver."""
    run_id = run.run_id
    if not run.total_users:
        logger.info("Nothing to verify: run %s had no users", run_id)
        return ExitCode.OK
    logger.warning("Nothing to verify: no user of run %s was delivered", run_id)
    return ExitCode.SOME_FAILED


def _log_findings(findings: Iterable[Finding], counts: Counter[str]) -> ExitCode | None:
    """Log and count the findings; return an exit code if further reads would fail too."""
    consecutive_unread = 0
    for finding in findings:
        if finding.unread and finding.unread.error == "not_attempted":
            return None  # the run stops
        if finding.unread and finding.unread.key_refused:
            return ExitCode.KEY_REFUSED
        outcome = _log_finding(finding)
        counts[outcome] += 1
        consecutive_unread = consecutive_unread + 1 if outcome == "unread" else 0
        if consecutive_unread >= MAX_UNREAD_USERS:
            return ExitCode.UNAVAILABLE
    return None


def _log_finding(finding: Finding) -> Literal["confirmed", "different", "unread", "unchecked"]:
    if finding.confirmed:
        return "confirmed"
    email = finding.user.email
    if finding.unread:
        logger.error("Not read: %s: %s", email, finding.unread.error)
        return "unread"
    if finding.differences:
        logger.error("Not confirmed: %s: %s", email, ", ".join(finding.differences))
        return "different"
    logger.warning("Not checked: %s: %s", email, finding.unchecked)
    return "unchecked"


def _verify_summary(counts: Counter[str]) -> str:
    return (
        f"Verified {counts.total()} user(s): {counts['confirmed']} confirmed,"
        f" {counts['different']} not confirmed, {counts['unread']} not read,"
        f" {counts['unchecked']} not checked"
    )


def _verify_exit_code(counts: Counter[str]) -> ExitCode:
    """Unchecked users are not failures, but at least one user must be confirmed."""
    failed = counts["different"] or counts["unread"] or not counts["confirmed"]
    return ExitCode.SOME_FAILED if failed else ExitCode.OK
