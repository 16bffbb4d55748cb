"""GET requests to a source: paced, retried, redirected within its origin only.

The decisions are those of calls to Iterable: `retry`, `rate_limit`, classification by status.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin

from integration.core.clock import utc_now
from integration.core.redaction import SecretMask
from integration.ingest.errors import SourceError, SourceLimited, SourceRefused, SourceUnavailable
from integration.ingest.kinds.http_addresses import origin_of, path_and_query
from integration.ingest.kinds.http_decision import decide
from integration.iterable.pause import Pause
from integration.iterable.rate_limit import RateLimiter
from integration.iterable.responses import retry_of_status
from integration.iterable.retry import RetryState, after_attempt, after_wait, wait_seconds
from integration.iterable.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.iterable.http_connection import StartedExchange
    from integration.iterable.responses import HttpResponse

logger = logging.getLogger(__name__)

MAX_PAGE_BYTES = 64_000_000
MAX_REDIRECTS = 5
MAX_BODY_TEXT = 200
# A request that has to wait longer for its turn is not sent in advance.
MAX_TURN_SECONDS = 0.005
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class StoppedReading(SourceError):  # noqa: N818  # not a failure of the source
    """The run stops: nothing more is to be read."""


class StatusError(SourceError):
    """The source answered with a status that is no success.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Credentials(NamedTuple):
    """The header that carries the secret of a source.

    Attributes:
        secret: the part of the value that appears nowhere else.
        variable: where the operator sets it.
    """

    header: str
    value: str
    secret: str
    variable: str

    def __repr__(self) -> str:
        return f"Credentials({self.header!r}, variable={self.variable!r})"


class Answer(NamedTuple):
    """The answer to a request that succeeded.

    Attributes:
        target: the path and query that answered, after redirects.
        headers: to be looked up in lower case.
        retries: how many requests were repeated.
        seconds_waited: the time spent waiting for that.
    """

    target: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    retries: int
    seconds_waited: float


class _Started(NamedTuple):
    """A request that was sent before its answer is wanted."""

    target: str
    sent_at: float
    exchange: StartedExchange


class SourceClient:
    """Requests to the origin of one URL. Credentials are sent there and nowhere else.

    Args:
        name: of the source, for messages.
        url: of the source; its origin is where all requests go.
        credentials: the header of each request.
        timeout_seconds: to connect, and then for the whole response.
        max_attempts: the maximum number of attempts when a failure may be temporary.
        requests_per_second: the pace.
        pause: how to wait, and whether the run is to stop.
        jitter: returns numbers from 0 to 1.
        max_bytes: the maximum length of a body.

    Raises:
        ValueError: the environment's proxy or CA bundle cannot be used.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        credentials: Credentials | None = None,
        timeout_seconds: float = 10,
        max_attempts: int = 3,
        requests_per_second: float = 10,
        pause: Pause | None = None,
        jitter: Callable[[], float] = random.random,
        max_bytes: int = MAX_PAGE_BYTES,
    ) -> None:
        self._name = name
        self.origin = origin_of(url)
        self._credentials = credentials
        self._mask = SecretMask([credentials.secret] if credentials else [])
        self._pause = pause or Pause()
        self._transport = Transport(
            self.origin, timeout_seconds=timeout_seconds, connections=1, mask=self._mask
        )
        self._limiter = RateLimiter(requests_per_second, stopping=self._pause.stopping)
        self._max_attempts = max_attempts
        self._jitter = jitter
        self._max_bytes = max_bytes
        self._started: _Started | None = None

    def address(self, target: str) -> str:
        """The URL of a path and query, without secrets."""
        return self._mask(f"{self.origin}{target}")

    def contains_secret(self, text: str) -> bool:
        """Whether a text contains the secret of the source."""
        return self._mask(text) != text

    def begin(self, target: str) -> None:
        """Send the request of the next `get` now, if there is an open connection and no wait.

        Until then its answer is on the way. A failure is left to `get`.
        """
        self.cancel()
        latest = self._limiter.now() + MAX_TURN_SECONDS
        if self._pause.stopping() or (sent_at := self._limiter.wait_for_turn(latest)) > latest:
            return
        if exchange := self._transport.begin(target, self._headers({})):
            self._started = _Started(target, sent_at, exchange)

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET a path and query, following redirects within the origin.

        Raises:
            SourceError: there was no answer that can be used.
        """
        state = RetryState()
        waited = 0.0
        retries = 0
        for _ in range(MAX_REDIRECTS + 1):
            http, state = self._attempt_until_final(target, headers or {})
            waited += state.seconds_waited
            retries += state.attempts - 1
            if http.status not in _REDIRECTS:
                break
            target = self.target_of(http.headers.get("location", ""), target)
        else:
            raise SourceError(f"{self._name}: {self.address(target)} redirects again and again")
        if http.status is None or not 200 <= http.status < 300:
            raise self._failure(target, http, state)
        return Answer(target, http.status, http.headers, http.body, retries, waited)

    def target_of(self, location: str, base: str) -> str:
        """The path and query of an address that the source sent, relative to `base`.

        Raises:
            SourceError: it is none, or is elsewhere: credentials must not travel there.
        """
        try:
            url = urljoin(f"{self.origin}{base}", location.strip())
            target, origin = path_and_query(url), origin_of(url)
        except ValueError:
            raise SourceError(f"{self._name} sent an address that is none") from None
        if not location.strip() or origin != self.origin:
            raise SourceError(
                f"{self._name} at {self.origin} sends to {self._mask(origin)}, where the"
                " credentials must not go: set the source's url to that address if it is right"
            )
        if not target.isascii() or not target.isprintable() or " " in target:
            raise SourceError(f"{self._name} sent an address with unusual characters")
        return target

    def close(self) -> None:
        """Close the connections."""
        self.cancel()
        self._transport.close()

    def cancel(self) -> None:
        """Do not wait for the answer to the request that `begin` has sent, if there is one."""
        started, self._started = self._started, None
        if started is not None:
            started.exchange.drop()

    def _attempt_until_final(
        self, target: str, headers: Mapping[str, str]
    ) -> tuple[HttpResponse, RetryState]:
        """Send the request until its outcome is final."""
        state = RetryState()
        http: HttpResponse | None = None
        while True:
            started = self._taken_started(target, headers)
            sent_at = started.sent_at if started else self._limiter.wait_for_turn(state.deadline)
            self._refuse_stopping(started)
            if http is not None and sent_at > state.deadline:
                return http, state
            http = self._response(target, headers, started)
            if http.status is None:
                self._refuse_stopping()
            decision = decide(http, utc_now())
            state = after_attempt(state, decision.retry, self._limiter.now())
            wait = wait_seconds(decision, state, self._max_attempts, self._jitter())
            if decision.retry == "after rate limit":
                self._limiter.slow_down(sent_at, decision.retry_after_seconds or 0.0)
            if wait is None or self._limiter.now() + wait > state.deadline:
                return http, state
            self._log_retry(http, state, wait)
            if self._pause.wait(wait):
                raise StoppedReading(f"{self._name}: the run stops")
            state = after_wait(state, wait)

    def _taken_started(self, target: str, headers: Mapping[str, str]) -> _Started | None:
        """The request that `begin` has sent, if it is this one."""
        started = self._started
        if started is None or started.target != target or headers:
            self.cancel()
            return None
        self._started = None
        return started

    def _response(
        self, target: str, headers: Mapping[str, str], started: _Started | None
    ) -> HttpResponse:
        stopping = self._pause.stopping
        if started is not None:
            return self._transport.finish(started.exchange, self._max_bytes, stopping)
        return self._transport.fetch(target, self._headers(headers), self._max_bytes, stopping)

    def _refuse_stopping(self, started: _Started | None = None) -> None:
        if self._pause.stopping():
            if started is not None:
                started.exchange.drop()
            raise StoppedReading(f"{self._name}: the run stops")

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        own = {self._credentials.header: self._credentials.value} if self._credentials else {}
        return {"Accept": "*/*", **headers, **own}

    def _log_retry(self, http: HttpResponse, state: RetryState, wait: float) -> None:
        logger.warning(
            "Retryable error %s from source %s. Retrying in %.2fs (attempt %d/%d)",
            http.status or http.error,
            self._name,
            wait,
            max(state.counted_attempts, 1),
            self._max_attempts,
        )

    def _failure(self, target: str, http: HttpResponse, state: RetryState) -> SourceError:
        """The error for a request without success: refused, unavailable, or neither."""
        where = f"{self._name}: {self.address(target)}"
        if http.stop_reason:
            return SourceUnavailable(f"{where} cannot be reached. {http.stop_reason}")
        if http.status in {401, 403}:
            return SourceRefused(f"{where} refused access (status {http.status}): {self._advice()}")
        if http.error == "invalid_response":
            return SourceError(f"{where}: {http.reason}")
        if http.status == 429:
            return SourceLimited(
                f"{where} limits the rate and asks for longer waits than 60 s:"
                " lower requests_per_second, or run later"
            )
        if http.status is not None and retry_of_status(http.status) == "no":
            text = " ".join(http.body.decode("utf-8", "replace").split())[:MAX_BODY_TEXT]
            return StatusError(f"{where} answered with status {http.status}: {text}", http.status)
        reason, advice = f"status {http.status}", "Run again later"
        if http.status is None:
            reason = str(http.reason)
            advice = "Check that it is up and that the source's url is right, then run again"
        return SourceUnavailable(f"{where}: {reason} ({state.attempts} attempts). {advice}")

    def _advice(self) -> str:
        if self._credentials is None:
            return "give the source an auth"
        return f"check {self._credentials.variable}, and header and prefix of the source's auth"
