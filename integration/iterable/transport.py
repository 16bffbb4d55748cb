"""HTTP to one host through requests' connection pool.

No exception of requests or urllib3 leaves this module; an `HttpResponse` says what went wrong.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import replace
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson
import urllib3

from integration.core.redaction import SecretMask, proxy_secrets, proxy_users
from integration.iterable.http_connection import PoolAdapter
from integration.iterable.http_request import RequestWriter
from integration.iterable.responses import HttpResponse
from integration.iterable.route import route_to, tls_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.core.models import ErrorKind
    from integration.iterable.http_connection import ExchangePool, StartedExchange
    from integration.iterable.http_response import Response
    from integration.iterable.route import Route

PROGRAM = "iterable-integration"
MAX_REASON = 200
# 200 events may be a few MB; a few hundred KB of gzip may be a GB.
MAX_RESPONSE_BYTES = 16_000_000
_NO_RESPONSE = (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError)


class Transport:
    """Keep-alive connections to `base_url`, safe to use from `connections` threads at once.

    Requests are given as bytes to the connections of requests' HTTPAdapter, which sets up TLS and
    proxies. What a Session, an adapter and http.client do per request (cookies, hooks, redirects,
    reading the environment, parsing headers as those of an email) costs several times the request
    itself. The environment's proxy and CA settings are read once.

    Raises:
        RouteError: on creation, if one of these settings cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_seconds: float,
        connections: int,
        mask: SecretMask,
        user_agent: str = PROGRAM,
    ) -> None:
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        self._mask = mask
        self._user_agent = user_agent
        self._prepared: tuple[ExchangePool, RequestWriter] | None = None
        self._route = route_to(base_url)
        tls = tls_context(self._route) if urlsplit(base_url).scheme == "https" else None
        self._adapter = PoolAdapter(connections, tls)
        self._proxy_mask = SecretMask(proxy_secrets(os.environ) | proxy_users(os.environ))

    def send(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> HttpResponse:
        """POST a JSON body, or GET without one.

        The response contains no secrets, even if the server echoed them.
        """
        response = self._exchange(path, body, headers, MAX_RESPONSE_BYTES)
        if isinstance(response, HttpResponse):
            return response
        return self._response(response, self._masked_body(response))

    def fetch(
        self,
        target: str,
        headers: Mapping[str, str],
        max_bytes: int,
        stopping: Callable[[], bool] | None = None,
    ) -> HttpResponse:
        """GET a path and query, for the body exactly as it was sent, and the headers.

        Only the body of a success may contain secrets. `stopping`: see `read_response`.
        """
        return self._fetched(self._exchange(target, None, headers, max_bytes, stopping))

    def begin(self, target: str, headers: Mapping[str, str]) -> StartedExchange | None:
        """Send such a GET, for `finish`; None if that cannot be done at once."""
        try:
            pool, writer = self._pool_and_writer()
            request = writer.write(target, headers, None)
            return pool.begin(request, self._timeout_seconds)
        except _NO_RESPONSE:
            return None

    def finish(
        self, started: StartedExchange, max_bytes: int, stopping: Callable[[], bool] | None = None
    ) -> HttpResponse:
        """The response to the GET that `begin` sent, as `fetch` returns it."""
        try:
            response = started.finish(max_bytes, stopping)
        except _NO_RESPONSE as error:
            return self._no_response(error)
        return self._fetched(_checked(response, max_bytes))

    def _fetched(self, response: Response | HttpResponse) -> HttpResponse:
        if isinstance(response, HttpResponse):
            return response
        is_success = 200 <= response.status < 300
        body = response.content or b"" if is_success else self._masked_body(response)
        return replace(self._response(response, body), headers=response.headers)

    def _exchange(
        self,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
        max_bytes: int,
        stopping: Callable[[], bool] | None = None,
    ) -> Response | HttpResponse:
        """The response with its content, or what happened instead."""
        try:
            pool, writer = self._pool_and_writer()
            request = writer.write(target, headers, body)
            response = pool.exchange(request, self._timeout_seconds, max_bytes, stopping)
        except _NO_RESPONSE as error:
            return self._no_response(error)
        return _checked(response, max_bytes)

    def _response(self, response: Response, body: bytes) -> HttpResponse:
        return HttpResponse(
            response.status,
            body,
            response.headers.get("retry-after"),
            response.headers.get("date"),
            stop_reason=stop_reason_of_status(response.status, self._route),
        )

    def close(self) -> None:
        """Close all idle connections."""
        self._prepared = None
        self._adapter.close()

    def _pool_and_writer(self) -> tuple[ExchangePool, RequestWriter]:
        prepared = self._prepared
        if prepared is None:
            pool = self._adapter.pool_for(self._base_url, self._route)
            prepared = self._prepared = pool, self._writer_for(pool)
        return prepared

    def _writer_for(self, pool: ExchangePool) -> RequestWriter:
        headers = {"User-Agent": self._user_agent}
        # A proxy for https only opens tunnels: it gets its headers when a connection is made.
        through_proxy = pool.proxy is not None and pool.scheme == "http"
        if through_proxy:
            headers |= pool.proxy_headers
        return RequestWriter(self._base_url, headers, through_proxy=through_proxy)

    def _no_response(self, error: Exception) -> HttpResponse:
        kind, reason = explain(error, self._timeout_seconds)
        masked = self._proxy_mask(self._mask(reason))
        stop_reason = self._proxy_mask(self._mask(stop_reason_of_error(error, self._route)))
        return HttpResponse(None, error=kind, reason=masked[:MAX_REASON], stop_reason=stop_reason)

    def _masked_body(self, response: Response) -> bytes:
        text = self._mask(_plain(response.content or b"").decode("utf-8", "replace"))
        # A proxy's error page may repeat its login. Iterable's success must stay readable, and a
        # proxy's user name may be one of its words.
        if not (200 <= response.status < 300 and text.startswith("{")):
            text = self._proxy_mask(text)
        return text.encode()


def _checked(response: Response, max_bytes: int) -> Response | HttpResponse:
    """The response, unless its body is too long."""
    if response.content is not None:
        return response
    reason = f"the response is longer than {max_bytes // 1_000_000} MB"
    return HttpResponse(None, error="invalid_response", reason=reason)


def _plain(content: bytes) -> bytes:
    r"""JSON without unnecessary escapes.

    A server may write `=` as `\u003d` and `/` as `\/`: a secret that contains one of them would
    pass the mask and reappear when the JSON is decoded.
    """
    if b"\\" not in content:
        return content
    try:
        return orjson.dumps(orjson.loads(content))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return content


def explain(error: Exception, timeout_seconds: float) -> tuple[ErrorKind, str]:
    """The error and reason of a failed request for its result; secrets are not masked yet."""
    causes = _causes(error)
    if any(_is_timeout(cause) for cause in causes):
        return "timeout", f"no response within {timeout_seconds:g} s"
    if any(_is_not_http(cause) for cause in causes):
        return "invalid_response", f"the response is not HTTP: {causes[-1]!r}"
    return "connection_error", f"{type(causes[-1]).__name__}: {causes[-1]}"


def stop_reason_of_error(error: Exception, route: Route) -> str:
    """Why no call can succeed, and what to check; empty if another attempt may succeed."""
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"The certificate cannot be verified ({cause.verify_message}):"
                f" check {route.ca_variable}, which names the CA bundle to trust"
            )
    if any("Tunnel connection failed: 407" in str(cause) for cause in causes):
        return stop_reason_of_status(407, route)
    return ""


def stop_reason_of_status(status: int, route: Route) -> str:
    """The same for a response with this status: 407 always comes from a proxy."""
    if status != 407:
        return ""
    return f"The proxy requires a valid user and password: check {route.proxy_variable}"


def _is_timeout(cause: BaseException) -> bool:
    # urllib3 derives a refused connection from its timeout error.
    return isinstance(cause, (urllib3.exceptions.TimeoutError, TimeoutError)) and not isinstance(
        cause, urllib3.exceptions.NewConnectionError
    )


def _is_not_http(cause: BaseException) -> bool:
    if isinstance(cause, urllib3.exceptions.InvalidChunkLength):
        # An invalid length, unlike an empty one, is not the end of a connection.
        return bool(cause.length)
    # RemoteDisconnected is derived from a bad status line, but means a closed connection;
    # IncompleteRead means one that was closed in the middle.
    return isinstance(cause, (HTTPException, urllib3.exceptions.DecodeError)) and not isinstance(
        cause, (RemoteDisconnected, IncompleteRead)
    )


def _causes(error: BaseException) -> list[BaseException]:
    """The error and its causes, outermost first, found in its args and its `__cause__`."""
    found: list[BaseException] = []
    waiting: list[BaseException] = [error]
    while waiting and len(found) < 20:
        current = waiting.pop(0)
        if current in found:
            continue
        found.append(current)
        behind = [*current.args, getattr(current, "reason", None), current.__cause__]
        waiting.extend(cause for cause in behind if isinstance(cause, BaseException))
    return found
