"""The Iterable edge: calls for one user or for many, tried until their outcome is known.

No exception leaves a call: whatever happens becomes the `CallResult` of each user.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import orjson

from integration.config.settings import DEFAULT_BASE_URL, checked_api_key, checked_base_url
from integration.core.clock import unix_seconds, utc_now
from integration.core.exit_codes import ExitCode
from integration.core.models import (
    BULK_ENDPOINTS,
    CALLS,
    ENDPOINTS,
    NOT_ATTEMPTED,
    Call,
    CallResult,
    Retries,
)
from integration.core.redaction import FILE_ONLY, SecretMask
from integration.core.shutdown import StopReason
from integration.iterable.authentication import authentication_of
from integration.iterable.bulk import (
    BulkRefusedError,
    bulk_body,
    filtered_out_fields,
    split_bulk_result,
)
from integration.iterable.narrowing import BulkBudget, send_in_pieces
from integration.iterable.payloads import undeliverable_reason
from integration.iterable.rate_limit import published_limiters
from integration.iterable.request import MAX_EVENTS_READ
from integration.iterable.responses import (
    Answer,
    Verdict,
    classify,
    clock_complaint,
    retry_after_seconds,
)
from integration.iterable.retry import (
    Tries,
    after_rate_limit,
    wait_after_failure,
    wait_after_rate_limit,
)
from integration.iterable.transport import PROGRAM, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import Self

    from integration.core.models import ErrorKind, PendingUser
    from integration.iterable.bulk import ResultGroup
    from integration.iterable.rate_limit import RateLimiter
    from integration.iterable.responses import Expected

logger = logging.getLogger(__name__)

# Held while a failure and the response to it are logged, one below the other.
_two_lines = threading.Lock()

# Iterable's code for a token that is expired, issued in the future or wrongly signed.
REFUSED_JWT_CODE = "InvalidJwtPayload"


class Request(NamedTuple):
    """One call as it goes out; without a `body` it reads, without an `email` it is bulk."""

    endpoint: str
    path: str
    body: bytes | None
    email: str | None
    expected: Expected


@dataclass(frozen=True, slots=True)
class Pause:
    """How the client waits and learns that the run stops; a test passes its own.

    `wait(seconds)` returns early, and True, when the run is to stop. `request_stop` is told
    when no call can succeed any more.
    """

    wait: Callable[[float], bool]
    stopping: Callable[[], bool]
    request_stop: Callable[[StopReason], None] = lambda _: None


class RetryCounter:
    """Counts the repeats of all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_status: Counter[str] = Counter()
        self._seconds_waited = 0.0

    def add(self, label: str, seconds: float) -> None:
        """One repeat after `label` (a status or an error) and a wait of `seconds`."""
        with self._lock:
            self._by_status[label] += 1
            self._seconds_waited += seconds

    def snapshot(self) -> Retries:
        """What was counted up to now."""
        with self._lock:
            return Retries(tuple(sorted(self._by_status.items())), self._seconds_waited)


class ConsecutiveFailures:
    """Counts the calls that gave up since the last definite answer to any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.length = 0
        self.last_error: ErrorKind | None = None

    def note(self, result: CallResult) -> None:
        """A call is over."""
        with self._lock:
            self.length = self.length + 1 if result.gave_up else 0
            self.last_error = result.error if result.gave_up else None


class DroppedFields:
    """The fields that the project dropped, by endpoint: each is worth one warning."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[tuple[str, str]] = set()

    def new(self, endpoint: str, fields: Sequence[str]) -> list[str]:
        """Those that this endpoint has not dropped before."""
        with self._lock:
            new = [field for field in fields if (endpoint, field) not in self._known]
            self._known.update((endpoint, field) for field in new)
            return new


class BlockedUsers:
    """The users whose single calls something in between refused since the last success."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._positions: set[int] = set()

    def __len__(self) -> int:
        return len(self._positions)

    def note(self, result: CallResult, user: PendingUser | None) -> None:
        """A call for this user, or a bulk call, is over."""
        with self._lock:
            if result.success:
                self._positions.clear()
            elif result.blocked and user is not None:
                self._positions.add(user.position)


class IterableClient:
    """Iterable's calls over one pool of connections; safe to share between threads.

        with IterableClient(api_key) as client:
            result = client.update_user("ada@example.com", {"plan_type": "pro"})

    Args:
        api_key: a server-side key, or with `jwt_secret` a JWT-enabled one.
        base_url: the data centre's address; plain http for this machine only.
        jwt_secret: the secret of a JWT-enabled key.
        timeout_seconds: to connect, and then for a whole answer.
        connections: as many as there are threads.
        rate_limit_share: of Iterable's published limits.
        max_attempts: tries of a call that fails in a way that may heal.
        user_agent: what requests call themselves.
        pause: how to wait, and whether to go on at all.
        random_share: jitter, from 0 to 1.
        transport: HTTP to Iterable, in place of one to `base_url`.
        limiters: the pace of each endpoint, in place of the published limits.

    Attributes:
        names_users: whether the lines of attempts and retries name their user. They need it
            when several calls are under way at once.

    Raises:
        ValueError: when it is made, if the key, the address, the secret or the environment's
            proxy or CA bundle cannot be used; the message shows no secret.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str = DEFAULT_BASE_URL,
        jwt_secret: str | None = None,
        *,
        timeout_seconds: float = 10,
        connections: int = 64,
        rate_limit_share: float = 0.9,
        max_attempts: int = 3,
        user_agent: str = PROGRAM,
        pause: Pause | None = None,
        random_share: Callable[[], float] = random.random,
        transport: Transport | None = None,
        limiters: Mapping[str, RateLimiter] | None = None,
    ) -> None:
        self._authentication = authentication_of(checked_api_key(api_key), jwt_secret)
        self._transport = transport or Transport(
            checked_base_url(base_url),
            timeout_seconds=timeout_seconds,
            connections=connections,
            user_agent=user_agent,
            mask=SecretMask((api_key, jwt_secret or "")),
        )
        self._pause = pause or Pause(_sleep, lambda: False)
        self._limiters = limiters or published_limiters(rate_limit_share, self._pause.stopping)
        self._max_attempts = max_attempts
        self._random_share = random_share
        self._retries = RetryCounter()
        self._failures = ConsecutiveFailures()
        self._blocked_users = BlockedUsers()
        self._dropped_fields = DroppedFields()
        self.names_users = False
        self._bulk_budgets = {call: BulkBudget(call) for call in CALLS}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update_user(self, email: str, data_fields: Mapping[str, object]) -> CallResult:
        """Store these fields in the user's profile; others stay, a new user is made.

        Returns:
            What became of the call; `invalid_record`, with the reason, if it cannot be sent.
        """
        return self._send_item("users_update", {"email": email, "dataFields": dict(data_fields)})

    def track_event(
        self,
        email: str,
        event_name: str,
        data_fields: Mapping[str, object],
        *,
        event_id: str | None = None,
        created_at: datetime | int | None = None,
    ) -> CallResult:
        """Record an event of the user.

        Args:
            email: whose event it is.
            event_name: as it is called in the project.
            data_fields: what is known of it.
            event_id: an event that has it already is updated; without one, each call is an
                event of its own, and its retries are the same event.
            created_at: when it happened, with a time zone or in unix seconds; without it,
                when Iterable hears of it.

        Returns:
            What became of the call; `invalid_record`, with the reason, if it cannot be sent.

        Raises:
            ValueError: `created_at` has no time zone.
        """
        item: dict[str, object] = {"email": email, "eventName": event_name}
        item["id"] = event_id or str(uuid.uuid4())
        if created_at is not None:
            item["createdAt"] = unix_seconds(created_at)
        return self._send_item("events_track", item | {"dataFields": dict(data_fields)})

    def send(self, call: Call, user: PendingUser) -> CallResult:
        """Make one user's call: `users/update` or `events/track`."""
        result = self._send_body(call, user.email, user.body(call))
        self._blocked_users.note(result, user)
        return result

    def send_many(self, call: Call, users: Sequence[PendingUser]) -> Iterator[ResultGroup]:
        """Make the bulk call for these users, smaller ones where it must be taken apart.

        Yields:
            Users with the same result; without a result they need single calls, since bulk
            calls that tell them apart would cost more. Each user is in one share.

        Raises:
            BulkRefusedError: the key may not make bulk calls. Users of shares that came before
                have their result; for the others this call changed nothing.
        """
        budget = self._bulk_budgets[call]
        for share in send_in_pieces(users, partial(self._send_bulk_once, call), budget):
            if share.result is not None:
                endpoint = BULK_ENDPOINTS[call]
                _log_failure(endpoint, _described(share.users), share.result)
                _log_refused_payloads(endpoint, call, share.users, share.result)
            yield share

    def _send_bulk_once(self, call: Call, users: Sequence[PendingUser]) -> list[ResultGroup]:
        endpoint = BULK_ENDPOINTS[call]
        request = Request(endpoint, f"/api/{endpoint}", bulk_body(call, users), None, "counts")
        result = self._try_until_known(request)
        if result.key_refused:
            raise BulkRefusedError
        self._blocked_users.note(result, None)
        self._warn_of_dropped_fields(endpoint, filtered_out_fields(result))
        return split_bulk_result(call, users, result)

    def read_user(self, email: str) -> CallResult:
        """A profile as Iterable has it, in `response`; `{}` when there is none."""
        path = f"/api/users/getByEmail?email={quote(email, safe='')}"
        return self._try_until_known(Request("users/getByEmail", path, None, email, "object"))

    def read_events(self, email: str) -> CallResult:
        """A user's newest events, at most 200, in `response`."""
        path = f"/api/events/{quote(email, safe='')}?limit={MAX_EVENTS_READ}"
        return self._try_until_known(Request("events/get", path, None, email, "object"))

    def retried(self) -> Retries:
        """The repeats up to now."""
        return self._retries.snapshot()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def consecutive_failures(self) -> int:
        """How many calls used up their tries since Iterable last gave a definite answer.

        Counted when the answer comes: by the time that a call is logged and reported, calls
        that began later may be over.
        """
        return self._failures.length

    def last_gave_up_for(self) -> ErrorKind | None:
        """What the last of these calls failed with."""
        return self._failures.last_error

    def consecutive_blocked_users(self) -> int:
        """How many users something in between has refused since a call last succeeded."""
        return len(self._blocked_users)

    def _send_item(self, call: Call, item: dict[str, object]) -> CallResult:
        reason = undeliverable_reason(item["email"])
        try:
            body = orjson.dumps(item)
        except orjson.JSONEncodeError as error:
            reason = reason or f"not sent: it cannot be written as JSON: {error}"
        # A lone surrogate can be neither sent nor written to a log.
        email = str(item["email"]).encode("utf-8", "backslashreplace").decode()
        if reason is None:
            return self._send_body(call, email, body)
        logger.error("%s: %s", email, reason)
        return replace(NOT_ATTEMPTED, response=reason, error="invalid_record")

    def _send_body(self, call: Call, email: str, body: bytes) -> CallResult:
        endpoint = ENDPOINTS[call]
        request = Request(endpoint, f"/api/{endpoint}", body, email, "code")
        result = self._try_until_known(request)
        _log_failure(endpoint, email, result)
        return result

    def _try_until_known(self, request: Request) -> CallResult:
        """One call with its retries."""
        result = self._try(request)
        if result.error != "not_attempted":
            self._failures.note(result)
        return result

    def _try(self, request: Request) -> CallResult:
        limiter = self._limiters[request.endpoint]
        tries = Tries()
        result = NOT_ATTEMPTED
        waited = 0.0
        if logger.isEnabledFor(logging.DEBUG):
            _log_request(request)
        while True:
            sent_at = limiter.wait_for_turn(tries.give_up_at)
            if sent_at > tries.give_up_at or self._pause.stopping():
                return result
            if result is not NOT_ATTEMPTED:
                self._retries.add(_label(result), waited)
            answer = self._send_once(request, tries)
            verdict = classify(answer, request.expected)
            tries = _advance(tries, verdict, limiter.now())
            result = _result(answer, verdict, tries.attempts)
            stop_reason = None if result.success else _stop_reason(answer, result)
            if stop_reason is not None:
                self._pause.request_stop(stop_reason)
            if verdict.retry == "no":
                return result
            wait = self._wait_before_next(answer, verdict, tries, limiter, sent_at)
            if wait is None or limiter.now() + wait > tries.give_up_at:
                return result
            self._announce(request, _label(result), wait, tries)
            if self._pause.wait(wait):
                return result
            waited = wait
            tries = replace(tries, seconds_waited=tries.seconds_waited + wait)

    def _send_once(self, request: Request, tries: Tries) -> Answer:
        attempt = tries.counted + 1
        logger.debug(
            "Attempt %d/%d for %s%s",
            attempt,
            self._max_attempts,
            request.endpoint,
            self._user_named(request),
        )
        headers = self._authentication.headers(request.email)
        return self._transport.send(request.path, request.body, headers)

    def _wait_before_next(
        self,
        answer: Answer,
        verdict: Verdict,
        tries: Tries,
        limiter: RateLimiter,
        sent_at: float,
    ) -> float | None:
        if verdict.retry == "after backoff":
            return wait_after_failure(tries, self._max_attempts, self._random_share())
        asked = retry_after_seconds(answer, utc_now())
        limiter.slow_down(sent_at, asked or 0.0)
        return wait_after_rate_limit(tries, asked, self._random_share())

    def _announce(self, request: Request, label: str, wait: float, tries: Tries) -> None:
        logger.warning(
            "Retryable error %s from %s. Retrying in %.2fs (attempt %d/%d)%s",
            label,
            request.endpoint,
            wait,
            max(tries.counted, 1),
            self._max_attempts,
            self._user_named(request),
        )

    def _user_named(self, request: Request) -> str:
        return f" for {request.email}" if self.names_users and request.email else ""

    def _warn_of_dropped_fields(self, endpoint: str, fields: Sequence[str]) -> None:
        new = self._dropped_fields.new(endpoint, fields)
        if new:
            logger.warning(
                "Iterable drops fields that the project does not know (%s): %s."
                " Add them in the project's settings, or let it take new fields",
                endpoint,
                ", ".join(new),
            )


def _stop_reason(answer: Answer, result: CallResult) -> StopReason | None:
    """Why no further call can succeed, if this failure says so."""
    if answer.stop_reason:
        return StopReason("stopped", answer.stop_reason, ExitCode.UNAVAILABLE)
    complaint = clock_complaint(answer, utc_now()) if result.code == REFUSED_JWT_CODE else ""
    if not complaint:
        return None
    return StopReason(
        "stopped",
        f"Iterable refused the token: {complaint}. Set the clock;"
        " if that does not help, check ITERABLE_JWT_SECRET",
        ExitCode.KEY_REFUSED,
    )


def _sleep(seconds: float) -> bool:
    """Wait where there is no run that could stop."""
    time.sleep(seconds)
    return False


def _advance(tries: Tries, verdict: Verdict, now: float) -> Tries:
    if verdict.retry == "after rate limit":
        return after_rate_limit(tries, now)
    return replace(tries, counted=tries.counted + 1)


def _label(result: CallResult) -> str:
    """What a retry is counted under: the status, or what happened in its place."""
    return str(result.status_code or result.error)


def _result(answer: Answer, verdict: Verdict, attempts: int) -> CallResult:
    return CallResult(
        success=verdict.error is None,
        response=verdict.response,
        status_code=answer.status,
        attempts=attempts,
        error=verdict.error,
    )


def _log_request(request: Request) -> None:
    endpoint, _, body, email, _ = request
    if body is None:
        logger.debug("Reading %s for email: %s", endpoint, email)
    elif email is None:
        logger.debug("Calling %s with %d bytes", endpoint, len(body))
    else:
        payload = body.decode()
        logger.debug(
            "Calling %s for email: %s. Payload: %s", endpoint, email, payload, extra=FILE_ONLY
        )


def _described(users: Sequence[PendingUser]) -> str:
    return users[0].email if len(users) == 1 else f"{len(users)} users"


def _log_failure(endpoint: str, whom: str, result: CallResult) -> None:
    if result.success or result.error == "not_attempted":
        return
    with _two_lines:
        problem = _problem(endpoint, result)
        logger.error("%s after %d attempt(s) for %s", problem, result.attempts, whom)
        if result.status_code is not None:
            logger.error("Response: %s", result.response)


def _problem(endpoint: str, result: CallResult) -> str:
    status = result.status_code
    if status is None:
        return f"{result.error} from {endpoint}: {result.response}"
    if status < 400:
        return f"{result.error} from {endpoint}: Status {status}"
    family = "4xx Client Error" if status < 500 else "5xx Server Error"
    return f"{family} from {endpoint}: Status {status}"


def _log_refused_payloads(
    endpoint: str, call: Call, users: Sequence[PendingUser], result: CallResult
) -> None:
    """What of a bulk call failed, user by user; a single call logs its payload when it begins."""
    if result.success or result.error == "not_attempted":
        return
    for user in users:
        logger.debug(
            "Failed %s call for email: %s. Payload: %s",
            endpoint,
            user.email,
            user.body(call).decode(),
            extra=FILE_ONLY,
        )
