"""GET requests to a source: paced, retried, redirected within its origin only.

The decisions are those of calls to Iterable: `retry`, `rate_limit`, classification by status.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

import orjson

from integration.core.clock import utc_now
from integration.core.redaction import SecretMask
from integration.ingest.errors import SourceError, SourceRefused, SourceUnavailable
from integration.iterable.pause import Pause
from integration.iterable.rate_limit import RateLimiter
from integration.iterable.responses import retry_after_seconds, retry_of_status
from integration.iterable.retry import RetryState, after_attempt, after_wait, wait_seconds
from integration.iterable.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from integration.iterable.responses import HttpResponse
    from integration.iterable.retry import Retry

logger = logging.getLogger(__name__)

MAX_PAGE_BYTES = 64_000_000
MAX_REDIRECTS = 5
MAX_BODY_TEXT = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS = {"http": 80, "https": 443}


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


class Decision(NamedTuple):
    """What to do about a response; see `retry.Decision`."""

    retry: Retry
    retry_after_seconds: float | None = None


def decide(http: HttpResponse, now: datetime) -> Decision:
    """Decide whether a GET may be retried, from its response alone."""
    if http.status is None:
        is_final = http.error == "invalid_response" or bool(http.stop_reason)
        return Decision("no" if is_final else "after backoff")
    if 200 <= http.status < 300:
        return Decision("no")
    if http.status != 429:
        return Decision(retry_of_status(http.status))
    return Decision("after rate limit", retry_after_seconds(http, _json_of(http.body), now))


def _json_of(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


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

    def address(self, target: str) -> str:
        """The URL of a path and query, without secrets."""
        return self._mask(f"{self.origin}{target}")

    def contains_secret(self, text: str) -> bool:
        """Whether a text contains the secret of the source."""
        return self._mask(text) != text

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
        self._transport.close()

    def _attempt_until_final(
        self, target: str, headers: Mapping[str, str]
    ) -> tuple[HttpResponse, RetryState]:
        """Send the request until its outcome is final."""
        state = RetryState()
        http: HttpResponse | None = None
        while True:
            sent_at = self._limiter.wait_for_turn(state.deadline)
            if self._pause.stopping():
                raise StoppedReading(f"{self._name}: the run stops")
            if http is not None and sent_at > state.deadline:
                return http, state
            http = self._transport.fetch(target, self._headers(headers), self._max_bytes)
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
            return SourceUnavailable(
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


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, so that equal origins are equal texts.

    Raises:
        ValueError: the URL has no host, or a port that is none.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    scheme = parts.scheme.lower()
    if not host or scheme not in _DEFAULT_PORTS:
        raise ValueError("the URL has no http origin")
    host = f"[{host}]" if ":" in host else host
    port = parts.port or _DEFAULT_PORTS[scheme]
    return f"{scheme}://{host}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")


def path_and_query(url: str) -> str:
    """What a request for a URL asks its origin for."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
