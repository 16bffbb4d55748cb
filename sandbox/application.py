"""A request value in, a reply value out: keys, limits, faults and the project, in that order."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from sandbox.answers import BATCH_TOO_LARGE, SUCCESS, Answer, bad_json, envelope, not_found
from sandbox.credentials import key_refusal, token_refusal
from sandbox.endpoints import (
    PUBLISHED_LIMITS,
    SINGLE_WRITES,
    WRITES,
    Endpoint,
    Read,
    read_at,
)
from sandbox.faults import Faults
from sandbox.limits import RateLimits
from sandbox.project import Project
from sandbox.record import Call, Record
from sandbox.validation import MAX_BODY_BYTES
from sandbox.wire import Reply, reply_with, spoiled_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.faults import Fault
    from sandbox.options import SandboxOptions

_NOT_JSON = object()


@dataclass(slots=True)
class Request:
    """An HTTP request. `body_bytes` is its length even if the body was not kept.

    `headers` has the few headers that a server here may need, with names in lower case.
    """

    method: str
    path: str
    query: str
    api_key: str
    authorization: str
    content_type: str
    body: bytes
    body_bytes: int
    keep_alive: bool
    headers: dict[bytes, bytes] = field(default_factory=dict)


class Application:
    """An Iterable project behind its API."""

    def __init__(
        self,
        options: SandboxOptions,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self.project = Project(options)
        self.record = Record()
        self.faults = Faults()
        self._limits = _limits_of(options)
        self._clock = clock
        self._wall_clock = wall_clock

    def configure(self, options: SandboxOptions) -> None:
        """Switch to other options; limits start with full buckets."""
        self.options = options
        self.project.configure(options)
        self._limits = _limits_of(options)

    def reset(self) -> None:
        """Forget users, events, records and faults; the options stay."""
        self.project = Project(self.options)
        self.record = Record()
        self.faults = Faults()
        self._limits = _limits_of(self.options)

    def connection_opened(self) -> None:
        """Count a connection."""
        self.record.connections_opened += 1

    def handle(self, request: Request) -> Reply:
        """Answer a request to the API, or fail it as the faults say."""
        if request.method == "POST" and request.path in WRITES:
            return self._write(request, WRITES[request.path])
        read = read_at(request.path, request.query) if request.method == "GET" else None
        if read is None:
            return reply_with(not_found(request.path), keep_alive=request.keep_alive)
        return self._read(request, read)

    def _write(self, request: Request, endpoint: Endpoint) -> Reply:
        refusal = self._refusal(request, endpoint)
        is_single = endpoint in SINGLE_WRITES
        content = _json_of(request) if is_single or refusal is None else None
        email = _email_in(content) if is_single else None
        if refusal is None and self.options.jwt_secret:
            refusal = self._token_refusal(request, email)
        fault = None if refusal else self.faults.next_for(endpoint, email, is_write=True)
        answer = refusal or SUCCESS
        if refusal is None and (fault is None or fault.is_applied):
            answer = self._apply(request, endpoint, content)
        call = self._call(request, endpoint, email)
        return self._finish(request, call._replace(items=_item_count(content)), answer, fault)

    def _apply(self, request: Request, endpoint: Endpoint, content: object) -> Answer:
        if request.body_bytes > MAX_BODY_BYTES:
            return BATCH_TOO_LARGE
        if content is _NOT_JSON:
            return bad_json(request.path)
        return self.project.write(endpoint, content, int(self._wall_clock()))

    def _read(self, request: Request, read: Read) -> Reply:
        refusal = self._refusal(request, read.endpoint)
        fault = None if refusal else self.faults.next_for(read.endpoint, read.email.lower())
        answer = refusal or self.project.read(read.endpoint, read.email, read.limit)
        call = self._call(request, read.endpoint, read.email)
        return self._finish(request, call, answer, fault)

    def _refusal(self, request: Request, endpoint: Endpoint) -> Answer | None:
        refusal = key_refusal(self.options, endpoint, request.api_key, request.path)
        if refusal:
            return refusal
        seconds = self._limits.seconds_to_wait(endpoint.value, self._clock())
        return rate_limited(self.options, endpoint, seconds) if seconds else None

    def _token_refusal(self, request: Request, email: str | None) -> Answer | None:
        secret, now = self.options.jwt_secret, self._wall_clock()
        return token_refusal(secret, request.authorization, email, now)

    def _call(self, request: Request, endpoint: Endpoint, email: str | None) -> Call:
        return Call(
            endpoint=endpoint.value,
            email=email,
            items=None,
            status=None,
            fault=None,
            headers_ok=_headers_ok(request, self.options),
            monotonic_time=self._clock(),
            unix_time=self._wall_clock(),
        )

    def _finish(self, request: Request, call: Call, answer: Answer, fault: Fault | None) -> Reply:
        """Make the reply, apply the fault, if any, and record the call."""
        delay = self.options.latency
        reply = reply_with(answer, keep_alive=request.keep_alive, delay_seconds=delay)
        status: int | None = answer.status
        if fault:
            secrets = (request.api_key, request.authorization)
            reply, status = spoiled_reply(fault, answer, secrets, reply)
        label = fault.label if fault else None
        self.record.note(
            call._replace(status=status, fault=label), is_write=request.method == "POST"
        )
        return reply


def rate_limited(options: SandboxOptions, endpoint: Endpoint, seconds: float) -> Answer:
    """Answer a call beyond its limit, `seconds` before it would have been within the limit."""
    whole_seconds = math.ceil(seconds)
    headers = (("Retry-After", str(whole_seconds)),) if options.retry_after else ()
    params = None
    if options.rate_limit_reset:
        limit = PUBLISHED_LIMITS[endpoint.value] * options.limits
        params = {
            "rateLimitLimit": limit,
            "rateLimitRemaining": 0,
            "rateLimitReset": whole_seconds,
        }
    return envelope(429, "RateLimitExceeded", "Exceeded rate limit.", params, headers)


def _limits_of(options: SandboxOptions) -> RateLimits:
    return RateLimits(PUBLISHED_LIMITS, options.limits, options.burst_seconds)


def _json_of(request: Request) -> object:
    if request.body_bytes > MAX_BODY_BYTES:
        return _NOT_JSON
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return _NOT_JSON


def _email_in(content: object) -> str | None:
    """Return the address that a single call is about, in lower case."""
    email = content.get("email") if isinstance(content, dict) else None
    return email.lower() if isinstance(email, str) else None


def _item_count(content: object) -> int | None:
    """Return how many records a call holds; None if they were not read."""
    if not isinstance(content, dict):
        return None
    items = content.get("users", content.get("events"))
    return len(items) if isinstance(items, list) else 1


def _headers_ok(request: Request, options: SandboxOptions) -> bool:
    """Return whether the key is only in its header, and the content type is JSON."""
    return (
        request.api_key == options.api_key
        and request.content_type.partition(";")[0].strip() == "application/json"
        and options.api_key not in request.query
    )
