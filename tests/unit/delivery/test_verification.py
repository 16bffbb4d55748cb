"""Verification, with a fake clock for the waits."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from integration.core.models import CallResult, DeliveredUser
from integration.delivery.comparison import (
    event_differences,
    is_out_of_reach,
    profile_differences,
)
from integration.delivery.new_users import delivered_user
from integration.delivery.verification import READERS, UserReader
from integration.journal.queries import delivered_users
from integration.journal.store import Journal
from tests.support.journals import completed_run
from tests.support.users import page_view, pending_user

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NOW = datetime(2026, 1, 13, 15, 0, tzinfo=UTC)
USER = pending_user()
PROFILE: dict[str, Any] = orjson.loads(USER.profile)
EVENT: dict[str, Any] = orjson.loads(USER.event)


class Answers:
    """An Iterable whose asynchronous processing finishes after a number of reads."""

    def __init__(self, looks_until_processed: int, error: str | None = None) -> None:
        self.looks = 0
        self._looks_until_processed = looks_until_processed
        self._error = error

    def _answered(self, response: object) -> CallResult:
        return CallResult(
            success=self._error is None,
            response=response,
            status_code=200,
            attempts=1,
            error=self._error,  # type: ignore[arg-type]
        )

    def read_user(self, email: str) -> CallResult:
        """The profile, once it is processed."""
        self.looks += 1
        processed = self.looks > self._looks_until_processed
        return self._answered({"user": PROFILE} if processed else {})

    def read_events(self, email: str) -> CallResult:
        """The event."""
        return self._answered({"events": [EVENT]})


class Clock:
    """Time that advances only by waiting."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def wait(self, seconds: float) -> bool:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        return False


def findings(answers: Answers, clock: Clock, delivered_at: datetime) -> list[tuple[str, ...]]:
    """What was found of one user."""
    reader = UserReader(answers, clock.wait, clock)
    user = DeliveredUser(USER.email, USER.profile, USER.event, delivered_at)
    return [finding.differences for finding in reader.verify([user])]


def test_a_user_who_is_not_processed_yet_is_checked_again() -> None:
    """Within a minute of the delivery, a missing profile may still appear."""
    answers, clock = Answers(looks_until_processed=3), Clock()

    assert findings(answers, clock, delivered_at=NOW) == [()]
    assert answers.looks == 4


def test_after_a_minute_a_difference_is_final() -> None:
    """Iterable has had its time: no further wait."""
    answers, clock = Answers(looks_until_processed=1000), Clock()

    assert findings(answers, clock, delivered_at=NOW) == [("profile (there is none)",)]
    assert clock.now - NOW == timedelta(seconds=60)


def test_a_clock_that_was_set_back_does_not_make_it_wait_forever() -> None:
    """By the clock the delivery is in the future; a minute of checking is enough."""
    answers, clock = Answers(looks_until_processed=1000), Clock()

    assert len(findings(answers, clock, delivered_at=NOW + timedelta(days=1))) == 1
    assert clock.now - NOW == timedelta(seconds=60)


def test_a_delivery_of_yesterday_is_not_waited_for() -> None:
    """One check is enough."""
    answers, clock = Answers(looks_until_processed=1000), Clock()

    assert len(findings(answers, clock, delivered_at=NOW - timedelta(days=1))) == 1
    assert answers.looks == 1


def test_an_unread_user_is_neither_confirmed_nor_different() -> None:
    """The finding carries what went wrong."""
    answers = Answers(0, error="timeout")
    user = DeliveredUser(USER.email, USER.profile, USER.event, NOW)

    (finding,) = UserReader(answers, lambda _: False).verify([user])

    assert finding.unread is not None
    assert (finding.unread.error, finding.confirmed) == ("timeout", False)


def changed(fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The same with other fields."""
    return fields | {"dataFields": fields["dataFields"] | more}


@pytest.mark.parametrize(
    ("answer", "differences"),
    [
        ({"user": PROFILE}, []),
        ({"user": changed(PROFILE, more="than was sent")}, []),
        ({"user": {"email": USER.email, **PROFILE["dataFields"]}}, []),
        ({"user": changed(PROFILE, plan_type="free")}, ["profile plan_type"]),
        ({"user": changed(PROFILE, first_name=None)}, ["profile first_name"]),
        ({}, ["profile (there is none)"]),
        (["nonsense"], ["profile (there is none)"]),
    ],
)
def test_a_profile_is_compared_field_by_field(answer: object, differences: Sequence[str]) -> None:
    """Only fields that were sent are compared."""
    assert profile_differences(USER.profile, answer) == differences


def test_a_field_sent_as_null_may_be_absent() -> None:
    """Null clears a field; Iterable may then not show it."""
    sent = orjson.dumps(changed(PROFILE, first_name=None))
    fields = {name: v for name, v in PROFILE["dataFields"].items() if name != "first_name"}

    assert profile_differences(sent, {"user": {"dataFields": fields}}) == []


OTHER = changed(EVENT, timestamp="2026-01-12 00:00:00") | {"id": "another"}
FLAT = {"eventName": "page_view", "createdAt": "2026-01-13 14:30:45 +00:00", **EVENT["dataFields"]}


@pytest.mark.parametrize(
    ("answer", "differences"),
    [
        ({"events": [OTHER, EVENT]}, []),
        ({"events": [FLAT]}, []),
        ({"events": [changed(EVENT, page="blog")]}, ["event page"]),
        ({"events": [OTHER]}, ["event (there is none)"]),
        ({"events": "nonsense"}, ["event (there is none)"]),
        ({}, ["event (there is none)"]),
    ],
)
def test_an_event_is_found_by_its_id_or_time(answer: object, differences: Sequence[str]) -> None:
    """Among others of the same user, with fields nested or next to Iterable's own."""
    assert event_differences(USER.event, answer) == differences


def newer_events(count: int, created_at: Callable[[int], object]) -> list[dict[str, Any]]:
    """Other events of the user, newest first, with `createdAt` as the answer writes it."""
    return [OTHER | {"createdAt": created_at(EVENT["createdAt"] + n)} for n in range(count, 0, -1)]


def as_text(seconds: int) -> str:
    """As Iterable writes a time."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} +00:00"


OLDER = OTHER | {"createdAt": as_text(EVENT["createdAt"] - 1)}


@pytest.mark.parametrize("created_at", [int, float, lambda s: s * 1000, as_text, lambda _: None])
def test_an_event_older_than_200_others_cannot_be_checked(
    created_at: Callable[[int], object],
) -> None:
    """In whatever format the answer writes its times, or if it has none."""
    assert is_out_of_reach(USER.event, {"events": newer_events(200, created_at)})


@pytest.mark.parametrize(
    "events",
    [
        newer_events(199, as_text),
        [*newer_events(199, as_text), OLDER],
        [*newer_events(199, int), OTHER | {"createdAt": EVENT["createdAt"] - 1}],
        [*newer_events(199, as_text), EVENT],
    ],
    ids=["fewer", "one older", "one older, as a number", "the event itself"],
)
def test_an_event_that_would_be_among_the_newest_can_be_checked(
    events: list[dict[str, Any]],
) -> None:
    """With fewer than 200, or an older one among them, the answer would contain it."""
    assert not is_out_of_reach(USER.event, {"events": events})


def test_after_giving_up_no_further_user_is_checked() -> None:
    """Closing the findings waits for the reads in flight, but not for hundreds more."""
    answers = Answers(0, error="timeout")
    users = [DeliveredUser(f"user{n}@example.com", b"{}", b"{}", NOW) for n in range(500)]
    may_go_on = threading.Event()
    look = answers.read_user

    def read_user(email: str) -> CallResult:
        if answers.looks >= 20:
            may_go_on.wait(timeout=2)
        return look(email)

    answers.read_user = read_user  # type: ignore[method-assign]
    findings = UserReader(answers, lambda _: False).verify(users)
    for _ in range(20):
        next(findings)
    # The reads in flight finish while the findings are being closed.
    threading.Timer(0.5, may_go_on.set).start()
    findings.close()

    assert answers.looks < 20 + 2 * READERS


def test_some_users_are_a_random_choice_of_the_delivered(tmp_path: Path) -> None:
    """Fifty of 199, different each time: the first ones alone would not be representative."""
    with Journal(tmp_path / "journal.db") as journal:
        run = completed_run(
            journal, [page_view(n) for n in range(1, 201)], failed=[(200, "events_track")]
        )
        delivered, *choices = (
            [delivered_user(*found).email for found in delivered_users(journal, run, limit)]
            for limit in (None, 50, 50)
        )

    assert delivered == [f"user{number}@example.com" for number in range(1, 200)]
    for choice in choices:
        assert len(choice) == 50
        assert set(choice) <= set(delivered)
    first, second = choices
    assert first not in (second, delivered[:50])
