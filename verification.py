"""`--verify`: is what the journal calls delivered what Iterable has?

Iterable works asynchronously (its reference asks for 60 s before a dependent call), so a
difference right after a run is looked at again until that time is over.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import orjson

from moments import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from iterable_client import IterableClient
    from records import CallResult, DeliveredUser

logger = logging.getLogger(__name__)

PROCESSING_SECONDS = 60.0
SECONDS_BETWEEN_LOOKS = 5.0
MOST_LOOKS = 1 + int(PROCESSING_SECONDS / SECONDS_BETWEEN_LOOKS)
USERS_AT_ONCE = 500
READERS = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at one user found: nothing to say means confirmed."""

    user: DeliveredUser
    differences: tuple[str, ...] = ()
    unread: CallResult | None = None

    @property
    def confirmed(self) -> bool:
        """Whether Iterable has what was sent."""
        return not self.differences and self.unread is None


class UserReader:
    """Reads users back; `READERS` at a time, within the client's read limits.

    Args:
        client: with a server-side key, which reading needs.
        wait: sleeps between two looks; True when the run is to stop.
        clock: the time in UTC.
    """

    def __init__(
        self,
        client: IterableClient,
        wait: Callable[[float], bool],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._client = client
        self._wait = wait
        self._clock = clock

    def verify(self, users: Iterable[DeliveredUser]) -> Iterator[Finding]:
        """Look at each user until confirmed or until Iterable has had its time."""
        waiting = iter(users)
        with ThreadPoolExecutor(READERS) as readers:
            while some := list(islice(waiting, USERS_AT_ONCE)):
                for look in count(1):
                    findings = list(readers.map(self._look_at, some))
                    early = [finding for finding in findings if self._may_still_come(finding)]
                    yield from (finding for finding in findings if finding not in early)
                    some = [finding.user for finding in early]
                    if look == 1 and some:
                        self._tell_of_waiting(len(some))
                    # By looks too, in case that the clock was set back since.
                    if not some or look == MOST_LOOKS or self._wait(SECONDS_BETWEEN_LOOKS):
                        yield from early
                        break

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
        return Finding(
            user,
            (
                *profile_differences(user.profile, profile.response),
                *event_differences(user.event, events.response),
            ),
        )


def profile_differences(sent: bytes, answer: object) -> list[str]:
    """The profile fields that Iterable has otherwise; an absent one is as good as null."""
    user = answer.get("user") if isinstance(answer, dict) else None
    if not isinstance(user, dict):
        return ["profile (there is none)"]
    return _differing("profile", orjson.loads(sent)["dataFields"], _fields_of(user))


def event_differences(sent: bytes, answer: object) -> list[str]:
    """The fields of the event that Iterable has otherwise; found by its id, or its time."""
    wanted = orjson.loads(sent)
    events = answer.get("events") if isinstance(answer, dict) else None
    found = [
        event
        for event in (events if isinstance(events, list) else [])
        if isinstance(event, dict) and _is_event(event, wanted)
    ]
    if not found:
        return ["event (there is none)"]
    return _differing("event", wanted["dataFields"], _fields_of(found[0]))


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
