"""`--verify`: is what the journal calls delivered what Iterable has?

Iterable works asynchronously (its reference asks for 60 s before a dependent call), so a
difference right after a run is looked at again until that time is over.
"""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Any, Literal, Protocol

import orjson

from integration.core.clock import utc_now
from integration.core.exit_codes import ExitCode
from integration.iterable.request import MAX_EVENTS_READ
from integration.journal.queries import delivered_users, newest_loaded_run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from integration.core.models import CallResult, DeliveredUser, Run
    from integration.journal.file import JournalFile

logger = logging.getLogger(__name__)

PROCESSING_SECONDS = 60.0
SECONDS_BETWEEN_LOOKS = 5.0
MAX_LOOKS = 1 + int(PROCESSING_SECONDS / SECONDS_BETWEEN_LOOKS)
USERS_AT_ONCE = 500
READERS = 16
OUT_OF_REACH = f"the event is older than the {MAX_EVENTS_READ} that Iterable returns"
# A larger number is a time in milliseconds.
LATEST_SECONDS = 100_000_000_000
MAX_UNREAD_USERS = 20
_GAVE_UP = {
    ExitCode.KEY_REFUSED: "Iterable denied read access: --verify needs a server-side API key",
    ExitCode.UNAVAILABLE: f"Giving up: {MAX_UNREAD_USERS} users in a row could not be read;"
    " check the network, the proxy and ITERABLE_API_BASE_URL",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at one user found: nothing to say means confirmed.

    `unread` is the read that failed; `unchecked` says what no read can show.
    """

    user: DeliveredUser
    differences: tuple[str, ...] = ()
    unread: CallResult | None = None
    unchecked: str | None = None

    @property
    def confirmed(self) -> bool:
        """Whether Iterable has what was sent."""
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
    """Reads users back; `READERS` at a time, within the client's read limits.

    Args:
        client: with a server-side key, which reading needs.
        wait: sleeps between two looks; True when the run is to stop.
        clock: the time in UTC.
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
        """Look at each user until confirmed or until Iterable has had its time.

        Yields:
            Findings as soon as they are known. After `close`, no further user is looked at.
        """
        waiting = iter(users)
        readers = ThreadPoolExecutor(READERS)
        try:
            while some := list(islice(waiting, USERS_AT_ONCE)):
                yield from self._verify_some(readers, some)
        finally:
            readers.shutdown(cancel_futures=True)

    def _verify_some(
        self, readers: ThreadPoolExecutor, some: list[DeliveredUser]
    ) -> Iterator[Finding]:
        for look in count(1):
            early: list[Finding] = []
            for finding in readers.map(self._look_at, some):
                if self._may_still_come(finding):
                    early.append(finding)
                else:
                    yield finding
            some = [finding.user for finding in early]
            if look == 1 and some:
                self._tell_of_waiting(len(some))
            # By looks too, in case that the clock was set back since.
            if not some or look == MAX_LOOKS or self._wait(SECONDS_BETWEEN_LOOKS):
                yield from early
                return

    def _tell_of_waiting(self, users: int) -> None:
        logger.info(
            "Waiting up to %d s for Iterable to process %d user(s)", PROCESSING_SECONDS, users
        )

    def _may_still_come(self, finding: Finding) -> bool:
        processed_at = finding.user.delivered_at + timedelta(seconds=PROCESSING_SECONDS)
        return bool(finding.differences) and self._clock() < processed_at

    def _look_at(self, user: DeliveredUser) -> Finding:
        profile = self._client.read_user(user.email)
        if not profile.success:
            return Finding(user, unread=profile)
        events = self._client.read_events(user.email)
        if not events.success:
            return Finding(user, unread=events)
        differences = profile_differences(user.profile, profile.response)
        if is_out_of_reach(user.event, events.response):
            return Finding(user, tuple(differences), unchecked=OUT_OF_REACH)
        differences += event_differences(user.event, events.response)
        return Finding(user, tuple(differences))


def profile_differences(sent: bytes, answer: object) -> list[str]:
    """The profile fields that Iterable has otherwise; an absent one is as good as null."""
    user = answer.get("user") if isinstance(answer, dict) else None
    if not isinstance(user, dict):
        return ["profile (there is none)"]
    return _differing("profile", orjson.loads(sent)["dataFields"], _fields_of(user))


def event_differences(sent: bytes, answer: object) -> list[str]:
    """The fields of the event that Iterable has otherwise; found by its id, or its time."""
    wanted = orjson.loads(sent)
    found = _find_event(wanted, _events_in(answer))
    if found is None:
        return ["event (there is none)"]
    return _differing("event", wanted["dataFields"], _fields_of(found))


def is_out_of_reach(sent: bytes, answer: object) -> bool:
    """Whether the event may stand behind those that the answer has room for.

    The answer holds the newest events. An older one among them shows that it reaches far enough.
    """
    wanted, events = orjson.loads(sent), _events_in(answer)
    if len(events) < MAX_EVENTS_READ or _find_event(wanted, events) is not None:
        return False
    times = [_created_seconds(event.get("createdAt")) for event in events]
    return not any(time is not None and time < wanted["createdAt"] for time in times)


def _events_in(answer: object) -> list[dict[str, Any]]:
    events = answer.get("events") if isinstance(answer, dict) else None
    items = events if isinstance(events, list) else []
    return [item for item in items if isinstance(item, dict)]


def _find_event(wanted: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((event for event in events if _is_event(event, wanted)), None)


def _created_seconds(value: object) -> float | None:
    """An event's time in unix seconds: Iterable answers "2026-01-13 14:30:45 +00:00"."""
    if isinstance(value, (int, float)):
        return value / 1000 if value > LATEST_SECONDS else value
    try:
        moment = datetime.fromisoformat(str(value).replace(" +", "+"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_event(event: dict[str, Any], wanted: dict[str, Any]) -> bool:
    if wanted["id"] in (event.get("id"), event.get("_id"), event.get("eventId")):
        return True
    # An answer without ids: name and the view's time tell a user's events apart.
    same_time = _fields_of(event).get("timestamp") == wanted["dataFields"]["timestamp"]
    return "id" not in event and event.get("eventName") == wanted["eventName"] and same_time


def _fields_of(thing: dict[str, Any]) -> dict[str, Any]:
    # Iterable shows custom fields in dataFields or beside its own.
    fields = thing.get("dataFields")
    return fields if isinstance(fields, dict) else thing


def _differing(where: str, sent: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    return [f"{where} {name}" for name, value in sent.items() if stored.get(name) != value]


def verify(
    file: JournalFile,
    client: UserReads,
    limit: int | None,
    wait: Callable[[float], bool],
) -> ExitCode:
    """Read delivered users of the newest run back and log which are not confirmed."""
    run = newest_loaded_run(file)
    if run is None:
        logger.warning("Nothing to verify: there was no run yet")
        return ExitCode.SOME_FAILED
    users = delivered_users(file, run.number, limit)
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
    """Nothing confirmed is no success, unless there was nothing to deliver."""
    run_id = run.run_id
    if not run.total_users:
        logger.info("Nothing to verify: run %s had no users", run_id)
        return ExitCode.OK
    logger.warning("Nothing to verify: no user of run %s was delivered", run_id)
    return ExitCode.SOME_FAILED


def _log_findings(findings: Iterable[Finding], counts: Counter[str]) -> ExitCode | None:
    """Log and count the findings; an exit code when reading on makes no sense."""
    consecutive_unread = 0
    for finding in findings:
        if finding.unread and finding.unread.error == "not_attempted":
            return None  # the run is to stop
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
    """What no read can show is no failure, but something must have been confirmed."""
    failed = counts["different"] or counts["unread"] or not counts["confirmed"]
    return ExitCode.SOME_FAILED if failed else ExitCode.OK
