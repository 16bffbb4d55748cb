"""The Iterable client: calls for one user or many, retried until their outcome is known.

No exception leaves a call: every outcome is a `CallResult` for each user.
"""

from __future__ import annotations

import logging
import random
import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import orjson

from integration.config.settings import DEFAULT_BASE_URL
from integration.config.values import checked_api_key, checked_base_url
from integration.core.clock import unix_seconds, utc_now
from integration.core.models import BULK_ENDPOINTS, CALLS, NOT_ATTEMPTED, Call, CallResult, Retries
from integration.core.redaction import SecretMask
from integration.iterable.authentication import authentication_of
from integration.iterable.bulk import BulkRefusedError, filtered_out_fields, split_bulk_result
from integration.iterable.call_log import CallLog
from integration.iterable.counters import (
    BlockedUsers,
    ConsecutiveFailures,
    DroppedFields,
    RetryCounter,
)
from integration.iterable.narrowing import BulkBudget, send_in_pieces
from integration.iterable.pause import Pause
from integration.iterable.payloads import undeliverable_reason
from integration.iterable.rate_limit import published_limiters
from integration.iterable.request import (
    bulk_request,
    events_request,
    fields_request,
    profile_request,
    single_request,
)
from integration.iterable.responses import classify
from integration.iterable.retry import RetryState, after_attempt, after_wait, wait_seconds
from integration.iterable.transport import PROGRAM, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import Self

    from integration.core.models import ErrorKind, PendingUser
    from integration.iterable.bulk import ResultGroup
    from integration.iterable.rate_limit import RateLimiter
    from integration.iterable.request import Request
    from integration.iterable.responses import HttpResponse

__all__ = ["IterableClient", "Pause"]

logger = logging.getLogger(__name__)


class IterableClient:
    """Iterable's calls over one connection pool; safe to share between threads.

        with IterableClient(api_key) as client:
            result = client.update_user("ada@example.com", {"plan_type": "pro"})

    Args:
        api_key: a server-side key, or a JWT-enabled one if `jwt_secret` is given.
        base_url: the data centre's address; plain http for loopback addresses only.
        jwt_secret: the secret of a JWT-enabled key.
        timeout_seconds: to connect, and then for the whole response.
        connections: the size of the pool; one per thread.
        rate_limit_share: the share of Iterable's published limits to use.
        max_attempts: the maximum number of attempts when a failure may be temporary.
        user_agent: the User-Agent header.
        pause: how to wait and when to stop.
        jitter: returns numbers from 0 to 1.
        transport: sends the requests, instead of HTTP to `base_url`.
        limiters: the rate limiter of each endpoint, instead of the published limits.

    Raises:
        ValueError: the key, the address, the secret, or the environment's proxy or CA bundle
            cannot be used; the message contains no secret.
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
        jitter: Callable[[], float] = random.random,
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
        self._pause = pause or Pause()
        self._limiters = limiters or published_limiters(rate_limit_share, self._pause.stopping)
        self._max_attempts = max_attempts
        self._jitter = jitter
        self._log = CallLog(logger, max_attempts)
        self._retries = RetryCounter()
        self._failures = ConsecutiveFailures()
        self._blocked_users = BlockedUsers()
        self._dropped_fields = DroppedFields()
        self._bulk_budgets = {call: BulkBudget(call) for call in CALLS}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def names_users(self) -> bool:
        """Whether log lines of attempts and retries name their user, for concurrent calls."""
        return self._log.names_users

    @names_users.setter
    def names_users(self, value: bool) -> None:
        self._log.names_users = value

    def update_user(self, email: str, data_fields: Mapping[str, object]) -> CallResult:
        """Set these fields of the user's profile, which is created if there is none.

        Returns:
            The outcome; the error is `invalid_record`, with the reason, if it cannot be sent.
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
            email: of the user.
            event_name: the name of the event in the project.
            data_fields: the event's data.
            event_id: an existing event with this id is updated. Without it, each call creates
                an event, and its retries update that event.
            created_at: the time of the event, with a time zone or in unix seconds; by default
                the time when Iterable receives it.

        Returns:
            The outcome; the error is `invalid_record`, with the reason, if it cannot be sent.

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
        result = self._send_single(call, user.email, user.body(call))
        self._blocked_users.record(result, user)
        return result

    def send_many(self, call: Call, users: Sequence[PendingUser]) -> Iterator[ResultGroup]:
        """Make the bulk call for these users, split into smaller ones where necessary.

        Yields:
            Groups of users with the same result. A group without a result needs single calls,
            because bulk calls to tell its users apart would cost more. Each user is in one group.

        Raises:
            BulkRefusedError: the key does not allow bulk calls. Groups that were yielded before
                have their result; for the other users this call changed nothing.
        """
        endpoint = BULK_ENDPOINTS[call]
        send_once = partial(self._send_bulk_once, call)
        for group in send_in_pieces(users, send_once, self._bulk_budgets[call]):
            if group.result is not None:
                self._log.bulk_failure(endpoint, call, group.users, group.result)
            yield group

    def read_user(self, email: str) -> CallResult:
        """Read a profile into `response`, which is `{}` if there is none."""
        return self._call(profile_request(email))

    def read_fields(self) -> CallResult:
        """Read the names and types of the project's profile fields into `response`."""
        return self._call(fields_request())

    def read_events(self, email: str) -> CallResult:
        """Read a user's newest events, at most 200, into `response`."""
        return self._call(events_request(email))

    def retries(self) -> Retries:
        """The retries so far."""
        return self._retries.snapshot()

    def consecutive_failures(self) -> int:
        """The number of calls that exhausted their attempts since the last definite response.

        Counted when the response arrives: before a call is logged and reported, calls that
        started later may have finished.
        """
        return self._failures.count

    def last_failure(self) -> ErrorKind | None:
        """The error of the last of these calls."""
        return self._failures.last_error

    def consecutive_blocked_users(self) -> int:
        """The number of users blocked on the way to Iterable since the last success."""
        return len(self._blocked_users)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _send_item(self, call: Call, item: dict[str, object]) -> CallResult:
        reason = undeliverable_reason(item["email"])
        try:
            body = orjson.dumps(item)
        except orjson.JSONEncodeError as error:
            reason = reason or f"not sent: it cannot be written as JSON: {error}"
        # A lone surrogate can be neither sent nor written to a log.
        email = str(item["email"]).encode("utf-8", "backslashreplace").decode()
        if reason is None:
            return self._send_single(call, email, body)
        logger.error("%s: %s", email, reason)
        return replace(NOT_ATTEMPTED, response=reason, error="invalid_record")

    def _send_single(self, call: Call, email: str, body: bytes) -> CallResult:
        request = single_request(call, email, body)
        result = self._call(request)
        self._log.failure(request.endpoint, email, result)
        return result

    def _send_bulk_once(self, call: Call, users: Sequence[PendingUser]) -> list[ResultGroup]:
        request = bulk_request(call, users)
        result = self._call(request)
        if result.key_refused:
            raise BulkRefusedError
        self._blocked_users.record(result, None)
        new_fields = self._dropped_fields.add(request.endpoint, filtered_out_fields(result))
        if new_fields:
            self._log.dropped_fields(request.endpoint, new_fields)
        return split_bulk_result(call, users, result)

    def _call(self, request: Request) -> CallResult:
        """Make one call, with its retries."""
        self._log.start(request)
        result = self._attempt_until_final(request)
        if result.error != "not_attempted":
            self._failures.record(result)
        return result

    def _attempt_until_final(self, request: Request) -> CallResult:
        """Send the request until its outcome is final or the run stops."""
        limiter = self._limiters[request.endpoint]
        state, result, label, wait = RetryState(), NOT_ATTEMPTED, "", 0.0
        while True:
            sent_at = limiter.wait_for_turn(state.deadline)
            if sent_at > state.deadline or self._pause.stopping():
                return result
            if result is not NOT_ATTEMPTED:
                self._retries.add(label, wait)

            outcome = classify(self._send(request, state), request.expected, utc_now())
            state = after_attempt(state, outcome.retry, limiter.now())
            result = outcome.result(state.attempts)
            next_wait = wait_seconds(outcome, state, self._max_attempts, self._jitter())

            if outcome.stop_reason is not None:
                self._pause.request_stop(outcome.stop_reason)
            if outcome.retry == "after rate limit":
                limiter.slow_down(sent_at, outcome.retry_after_seconds or 0.0)
            if next_wait is None or limiter.now() + next_wait > state.deadline:
                return result

            label, wait = outcome.label, next_wait
            self._log.retry(request, label, wait, state)
            if self._pause.wait(wait):
                return result
            state = after_wait(state, wait)

    def _send(self, request: Request, state: RetryState) -> HttpResponse:
        self._log.attempt(request, state)
        headers = self._authentication.headers(request.email)
        return self._transport.send(request.path, request.body, headers)
