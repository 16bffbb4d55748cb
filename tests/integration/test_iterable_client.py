"""Calls to the sandbox over real HTTP, with a fake clock so that tests do not wait."""

from __future__ import annotations

import logging
import re
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from integration.core.models import CALLS
from integration.iterable.bulk import BulkRefusedError
from integration.iterable.rate_limit import PUBLISHED_LIMITS, RateLimiter
from iterable_client import IterableClient, Pause
from sandbox.options import SandboxOptions
from sandbox.process import SandboxProcess
from tests.support.runs import database_of, environment_for, run
from tests.support.scripted_server import scripted_server
from tests.support.users import pending_user
from tests.unit.iterable.test_rate_limit import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from integration.core.models import Call, CallResult, PendingUser

KEY = "sandbox-key"


class Waits:
    """Records the waits instead of sleeping; may stop the run during one of them."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.seconds: list[float] = []
        self._stop_at = stop_at

    def stopping(self) -> bool:
        """Whether the run is stopping."""
        return self._stop_at is not None and len(self.seconds) >= self._stop_at

    def __call__(self, seconds: float) -> bool:
        """Record a wait."""
        self.seconds.append(seconds)
        return self.stopping()


def client_of(
    sandbox: SandboxProcess, waits: Waits, jwt_secret: str | None = None, **options: Any
) -> IterableClient:
    """A client without jitter and without a rate limit."""
    limiters = {name: RateLimiter(1e6, stopping=waits.stopping) for name in PUBLISHED_LIMITS}
    arguments: dict[str, Any] = {
        "pause": Pause(waits, waits.stopping),
        "limiters": limiters,
        "jitter": lambda: 0.0,
    } | options
    return IterableClient(KEY, sandbox.url, jwt_secret, **arguments)


def sent(
    sandbox: SandboxProcess, waits: Waits, call: Call = "users_update", **options: Any
) -> CallResult:
    """One call for one user."""
    with client_of(sandbox, waits, **options) as client:
        return client.send(call, pending_user())


def sent_in_bulk(
    sandbox: SandboxProcess, users: Sequence[PendingUser], call: Call = "users_update"
) -> dict[int, CallResult | None]:
    """A bulk call's result for each position; fails when a user has two."""
    results: dict[int, CallResult | None] = {}
    with client_of(sandbox, Waits()) as client:
        for group, result in client.send_many(call, users):
            for user in group:
                assert user.position not in results
                results[user.position] = result
    return results


@pytest.mark.parametrize(
    "fault",
    [
        *({"kind": "status", "status": status} for status in (408, 500, 502, 503, 504)),
        {"kind": "hang"},
        {"kind": "reset_before"},
        {"kind": "reset_after"},
        {"kind": "close_after"},
        {"kind": "truncated"},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}",
)
def test_a_transient_failure_is_tried_three_times(
    sandbox: SandboxProcess, fault: dict[str, Any]
) -> None:
    """After 1 s and 2 s; the third failure is the outcome."""
    sandbox.faults([{"endpoint": "*", "times": 3, **fault}])
    waits = Waits()

    result = sent(sandbox, waits, timeout_seconds=0.5 if fault["kind"] == "hang" else 10)

    assert (result.success, result.attempts) == (False, 3)
    assert result.retries_exhausted
    assert waits.seconds == [1.0, 2.0]


@pytest.mark.parametrize(
    "fault",
    [
        *({"kind": "status", "status": status} for status in (400, 401, 403, 404, 409, 501)),
        {"kind": "html"},
        {"kind": "garbage"},
        {"kind": "malformed"},
        {"kind": "wrong_code"},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}",
)
def test_a_definite_answer_is_not_retried(sandbox: SandboxProcess, fault: dict[str, Any]) -> None:
    """One attempt, no wait."""
    sandbox.faults([{"endpoint": "*", **fault}])
    waits = Waits()

    result = sent(sandbox, waits)

    assert (result.success, result.attempts, waits.seconds) == (False, 1, [])


def test_a_call_whose_answer_was_lost_is_retried_and_leaves_one_event(
    sandbox: SandboxProcess,
) -> None:
    """The server applied it, the answer was lost: the repeat updates the same event."""
    sent(sandbox, Waits())
    sandbox.faults([{"endpoint": "events/track", "kind": "reset_after"}])

    result = sent(sandbox, Waits(), "events_track")

    assert (result.success, result.attempts) == (True, 2)
    (event,) = sandbox.state()["events"].values()
    assert event["updates"] == 2


@pytest.mark.parametrize(
    ("fault", "waits_seconds"),
    [
        ({"headers": {"Retry-After": "2"}}, [2.0]),
        ({"body": {"code": "RateLimitExceeded", "params": {"rateLimitReset": 3}}}, [3.0]),
        ({}, [1.0]),
        ({"times": 5}, [1.0, 2.0, 4.0, 8.0, 16.0]),
    ],
    ids=["header", "reset", "backoff", "five times"],
)
def test_a_429_waits_and_does_not_count_as_an_attempt(
    sandbox: SandboxProcess, fault: dict[str, Any], waits_seconds: list[float]
) -> None:
    """Header before body before backoff; even five of them are not a failure."""
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 429, **fault}])
    waits = Waits()

    result = sent(sandbox, waits)

    assert (result.success, waits.seconds) == (True, waits_seconds)


def test_a_call_that_would_wait_longer_than_a_minute_gives_up(sandbox: SandboxProcess) -> None:
    """`Retry-After: 45` twice is too much: the user is recorded as rate limited."""
    fault = {"endpoint": "*", "kind": "status", "status": 429, "headers": {"Retry-After": "45"}}
    sandbox.faults([fault, fault])
    waits = Waits()
    never_slower = RateLimiter(1e6, stopping=lambda: False, sleep=lambda _: None)
    with client_of(sandbox, waits) as client:
        client._limiters = dict.fromkeys(PUBLISHED_LIMITS, never_slower)
        never_slower.slow_down = lambda *_: None  # type: ignore[method-assign]
        result = client.send("users_update", pending_user())

    assert (result.error, result.status_code, waits.seconds) == ("rate_limited", 429, [45.0])


def test_a_429_slows_and_pauses_all_calls_to_the_endpoint(sandbox: SandboxProcess) -> None:
    """The endpoint's limiter is slowed down, for the requested wait."""
    fault = {"endpoint": "*", "kind": "status", "status": 429, "headers": {"Retry-After": "2"}}
    sandbox.faults([fault])
    with client_of(sandbox, Waits()) as client:
        limiter = client._limiters["users/update"]
        before, began = limiter.calls_per_second, time.monotonic()
        client.send("users_update", pending_user())

        assert limiter.calls_per_second < before
        assert time.monotonic() - began >= 2.0


def test_retries_are_counted_by_cause(sandbox: SandboxProcess) -> None:
    """Only retries that were made count: the third failure has none."""
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 503, "times": 3}])
    sandbox.faults([{"endpoint": "*", "kind": "hang"}])
    # Long enough for the calls that get an answer.
    with client_of(sandbox, Waits(), timeout_seconds=2.5) as client:
        client.send("users_update", pending_user(1))
        client.send("users_update", pending_user(2))
        retries = client.retries()

    assert retries.by_status == (("503", 2), ("timeout", 1))
    assert (retries.total, retries.seconds_waited) == (3, 4.0)


def test_calls_that_give_up_are_counted_until_a_definite_answer(sandbox: SandboxProcess) -> None:
    """A success resets the count, and so does a rejection: Iterable is reachable."""
    fault = {"endpoint": "*", "kind": "status"}
    sandbox.faults([{**fault, "status": 503, "times": 6}, {**fault, "status": 400}])
    rows = []
    with client_of(sandbox, Waits()) as client:
        for _ in range(4):
            client.send("users_update", pending_user())
            rows.append(client.consecutive_failures())

    assert rows == [1, 2, 0, 0]


def test_a_stop_during_a_wait_ends_the_call_with_what_it_knows(sandbox: SandboxProcess) -> None:
    """The failure is kept; no further request is made."""
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 503, "times": 3}])

    with client_of(sandbox, Waits(stop_at=1)) as client:
        result = client.send("users_update", pending_user())

        assert client.retries().total == 0
    assert (result.error, result.attempts) == ("server_error", 1)
    assert len(sandbox.calls()) == 1


def test_a_stopped_run_starts_no_call(sandbox: SandboxProcess) -> None:
    """The call's outcome says that it was not attempted."""
    result = sent(sandbox, Waits(stop_at=0))

    assert (result.error, result.attempts) == ("not_attempted", 0)
    assert sandbox.calls() == []


def test_the_documented_lines_are_logged(
    sandbox: SandboxProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """A retry before its wait, a rejection with its body; the payload at DEBUG only."""
    caplog.set_level(logging.DEBUG)
    sandbox.faults(
        [
            {"endpoint": "*", "kind": "status", "status": 503},
            {"endpoint": "*", "kind": "status", "status": 400, "body": {"code": "BadParams"}},
        ]
    )

    sent(sandbox, Waits())

    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert (
        "WARNING",
        "Retryable error 503 from users/update. Retrying in 1.00s (attempt 1/3)",
    ) in lines
    assert [text for level, text in lines if level == "ERROR"] == [
        "4xx Client Error from users/update: Status 400 after 2 attempt(s) for user1@example.com",
        "Response: {'code': 'BadParams'}",
    ]
    assert [level for level, text in lines if "dataFields" in text] == ["DEBUG"]


def test_a_call_without_an_answer_is_one_line_with_its_reason(
    sandbox: SandboxProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no response to log."""
    sandbox.faults([{"endpoint": "*", "kind": "hang"}])

    sent(sandbox, Waits(), timeout_seconds=0.5, max_attempts=1)

    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("timeout from users/update: no response within 0.5 s after 1 attempt(s)")
    assert line.endswith(" for user1@example.com")


def test_each_user_has_a_separate_token() -> None:
    """In JWT mode the server compares the token's email with the body's."""
    secret = "a-jwt-secret-of-thirty-two-bytes!"
    with (
        SandboxProcess(SandboxOptions(jwt_secret=secret)) as sandbox,
        client_of(sandbox, Waits(), secret) as client,
    ):
        results = [client.send("users_update", pending_user(number)) for number in (1, 2, 3)]

    assert [result.success for result in results] == [True, True, True]


def test_a_bulk_call_has_an_outcome_for_every_user(sandbox: SandboxProcess) -> None:
    """Bad users of every kind among good ones; the good ones nearby need single calls."""
    kinds = ["forgotten", "invaliddata", "conflict"]
    named = {number * 100: kind for number, kind in enumerate(kinds, start=1)}
    bad = named | {700: "typemismatch", 740: "toolarge"}
    users = [
        pending_user(n, f"{bad[n]}.User{n}@Example.com" if n in bad else None)
        for n in range(1, 1001)
    ]

    results = sent_in_bulk(sandbox, users)

    outcomes = {place: result.success for place, result in results.items() if result is not None}
    assert {place for place, success in outcomes.items() if not success} == set(named)
    assert len(results) == 1000
    assert set(results) - set(outcomes) == set(range(501, 751))
    assert len(sandbox.state()["users"]) == 750 - 3
    assert len(sandbox.calls()) == 4


def test_bulk_events_are_attributed_too(sandbox: SandboxProcess) -> None:
    """Events of users that do not exist, or that are rejected."""
    users = [pending_user(1), pending_user(2, "eventrefused@example.com"), pending_user(3)]
    sent_in_bulk(sandbox, users[:2])

    results = sent_in_bulk(sandbox, users, "events_track")

    assert {position: result and result.success for position, result in results.items()} == {
        1: True,
        2: False,
        3: False,
    }


def test_a_key_that_may_not_call_bulk_is_detected() -> None:
    """The caller handles 401 and 403 on a bulk call: single calls may be allowed."""
    with (
        SandboxProcess(SandboxOptions(forbid_bulk=True)) as sandbox,
        client_of(sandbox, Waits()) as client,
        pytest.raises(BulkRefusedError),
    ):
        list(client.send_many("users_update", [pending_user()]))


def test_dropped_fields_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """A project that accepts no new fields drops them silently, in every answer."""
    options = SandboxOptions(project_fields=("first_name", "last_name"))
    with SandboxProcess(options) as sandbox, client_of(sandbox, Waits()) as client:
        for number in (1, 2):
            list(client.send_many("users_update", [pending_user(number)]))

    (warning,) = [
        record.getMessage() for record in caplog.records if "drops" in record.getMessage()
    ]
    assert "candidate, plan_type, recent_page_view" in warning


def test_dropped_fields_are_warned_of_for_each_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    """A profile field and an event field of the same name are two settings."""
    options = SandboxOptions(project_fields=("first_name", "page"))
    with SandboxProcess(options) as sandbox, client_of(sandbox, Waits()) as client:
        for call in (*CALLS, *CALLS):
            list(client.send_many(call, [pending_user(1)]))

    warnings = [one.getMessage() for one in caplog.records if "drops" in one.getMessage()]
    assert len(warnings) == 2
    assert "(users/bulkUpdate): candidate, last_name" in warnings[0]
    assert "(events/trackBulk): browser, candidate, device" in warnings[1]


def rate_limited_call(
    sandbox: SandboxProcess,
    retry_after: int,
    limiter: RateLimiter,
    clock: Clock,
    meanwhile: Callable[[], object],
) -> tuple[CallResult, int]:
    """A call with its own clock, and its retries; `meanwhile` runs after each of its pauses."""
    headers = {"Retry-After": str(retry_after)}
    sandbox.faults(
        [{"endpoint": "*", "kind": "status", "status": 429, "headers": headers, "times": 9}]
    )

    def pause(seconds: float) -> bool:
        clock.sleep(seconds)
        meanwhile()
        return False

    limiters = dict.fromkeys(PUBLISHED_LIMITS, limiter)
    seams: dict[str, Any] = {"pause": Pause(pause, lambda: False), "limiters": limiters}
    with IterableClient(KEY, sandbox.url, **seams) as client:
        return client.send("users_update", pending_user()), client.retries().total


@pytest.mark.parametrize(("hold", "attempts", "seconds"), [(45.0, 1, 25), (10.0, 2, 60)])
def test_a_call_that_is_delayed_by_others_gives_up_too(
    sandbox: SandboxProcess, hold: float, attempts: int, seconds: float
) -> None:
    """Another call's 429 comes during each pause: waiting for a turn counts toward the minute."""
    clock = Clock()
    limiter = RateLimiter(1e6, stopping=lambda: False, clock=clock, sleep=clock.sleep)
    began = clock.now

    result, repeats = rate_limited_call(
        sandbox, 25, limiter, clock, lambda: limiter.slow_down(clock.now, hold)
    )

    assert (result.error, result.status_code) == ("rate_limited", 429)
    assert (result.attempts, repeats) == (attempts, attempts - 1)
    assert clock.now - began == pytest.approx(seconds, abs=0.1)
    assert len(sandbox.calls()) == attempts


def test_waiting_for_a_turn_before_the_first_429_does_not_count(sandbox: SandboxProcess) -> None:
    """A call that others delayed for a minute still has its own minute."""
    clock = Clock()
    limiter = RateLimiter(1e6, stopping=lambda: False, clock=clock, sleep=clock.sleep)
    limiter.slow_down(clock.now, 60.0)
    began = clock.now

    result, repeats = rate_limited_call(sandbox, 25, limiter, clock, lambda: None)

    assert (result.error, result.attempts, repeats) == ("rate_limited", 3, 2)
    assert clock.now - began == pytest.approx(110, abs=0.1)


def test_a_whole_minute_is_waited_for_even_behind_others(sandbox: SandboxProcess) -> None:
    """`Retry-After: 60` is what a call may wait; calls that were queued before it go first."""
    clock = Clock()
    limiter = RateLimiter(2, stopping=lambda: False, clock=clock, sleep=clock.sleep)

    result, repeats = rate_limited_call(sandbox, 60, limiter, clock, limiter.wait_for_turn)

    assert (result.error, result.attempts, repeats) == ("rate_limited", 2, 1)


def refused_token(seconds_ahead: int, code: str = "InvalidJwtPayload") -> bytes:
    """A rejection from a server whose clock differs from this machine's."""
    body = b'{"code":"%b","msg":"Invalid JWT: The token has expired"}' % code.encode()
    date = formatdate(time.time() + seconds_ahead, usegmt=True).encode()
    head = b"HTTP/1.1 401 X\r\nDate: %b\r\nContent-Length: %d\r\n\r\n" % (date, len(body))
    return head + body


@pytest.mark.parametrize(
    ("seconds_ahead", "said"),
    [(7200, " s behind Iterable's"), (-7200, " s ahead of Iterable's")],
    ids=["behind", "ahead"],
)
def test_a_token_that_is_refused_for_the_clock_stops_the_run_and_says_so(
    tmp_path: Path, seconds_ahead: int, said: str
) -> None:
    """Signing again would not help; the secret may well be right."""
    database = database_of(tmp_path / "customers.sqlite", ["a@example.com", "b@example.com"])
    token = {"USE_JWT_AUTH": "true", "ITERABLE_JWT_SECRET": "a-jwt-secret-of-thirty-two-bytes!"}
    with scripted_server(
        lambda connection, _: connection.sendall(refused_token(seconds_ahead))
    ) as server:
        address = {"ITERABLE_API_BASE_URL": server.url}
        ran = run(tmp_path, environment_for(tmp_path, None, database) | token | address)

    assert ran.exit_code == 77
    assert said in ran.stderr.splitlines()[-1]
    assert re.search(r"this machine's clock is 7(19|20)\d s", ran.results["stop_reason"])
    assert len(server.requests) == 1


def test_another_refusal_does_not_blame_the_clock(tmp_path: Path) -> None:
    """A wrong key is wrong at any time."""
    database = database_of(tmp_path / "customers.sqlite", ["a@example.com"])
    wire = refused_token(7200, "BadApiKey")
    with scripted_server(lambda connection, _: connection.sendall(wire)) as server:
        address = {"ITERABLE_API_BASE_URL": server.url}
        ran = run(tmp_path, environment_for(tmp_path, None, database) | address)

    assert ran.exit_code == 77
    assert "clock" not in ran.stderr
