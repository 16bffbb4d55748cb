"""What happens to each request before and after its endpoint: access, headers, log, metrics.

An ASGI application around another one (https://asgi.readthedocs.io/en/latest/specs/www.html).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from integration.service.access import CHALLENGES, request_id
from integration.service.problems import problem_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from integration.service.access import Access

logger = logging.getLogger(__name__)

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# As ASGI has them.
_ADDED = [
    (name.lower().encode(), value.encode("latin-1")) for name, value in SECURITY_HEADERS.items()
]
_CACHE_CONTROL = b"cache-control"
_READ_HEADERS = {b"host", b"authorization", b"x-request-id"}
NO_ROUTE = "(no such path)"


def completed(headers: list[tuple[bytes, bytes]], number: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with the request's id and those for safety."""
    added = [(b"x-request-id", number.encode()), *_ADDED]
    if not any(name == _CACHE_CONTROL for name, _ in headers):
        added.append((_CACHE_CONTROL, b"no-store"))
    return [*headers, *added]


class Handled(NamedTuple):
    """A request that was answered.

    Attributes:
        method: GET, or what else came.
        route: the path of the endpoint, with its parameters' names instead of their values.
        status: of the answer.
        seconds: from the request to the last byte.
    """

    method: str
    route: str
    status: int
    seconds: float


class Gate:
    """Answers requests that may not pass, and completes the answers to the others.

    Args:
        app: the service.
        access: who may read.
        observe: called after each request.
    """

    def __init__(self, app: ASGIApp, access: Access, observe: Callable[[Handled], object]) -> None:
        self._app = app
        self._access = access
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; other kinds of connections go to the service as they are."""
        if scope["type"] == "http":
            await self._handle(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _READ_HEADERS
        }
        state = scope.setdefault("state", {})
        state["started"] = started = time.perf_counter()
        state["request_id"] = number = request_id(headers)
        status = 500

        async def complete(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = completed(message["headers"], number)
            await send(message)

        try:
            app = self._refusal(scope, headers) or self._app
            await app(scope, receive, complete)
        except asyncio.CancelledError:
            # The server is ending, and the client was too slow.
            logger.warning("The end of the window cut off an answer (request %s)", number)
        except Exception:
            # The answer, a problem with status 500, was sent before.
            logger.exception("Unexpected error (request %s)", number)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> ASGIApp | None:
        if not self._access.serves_host(headers.get("host")):
            text = "Without SERVICE_TOKEN, this service answers to localhost and 127.0.0.1 only"
            return problem_response(scope["state"], 421, text)
        if not self._access.allows(scope["path"], headers.get("authorization")):
            text = "Send the token of SERVICE_TOKEN as Bearer token, or as password in a browser"
            response = problem_response(scope["state"], 401, text)
            for challenge in CHALLENGES:
                response.headers.append("WWW-Authenticate", challenge)
            return response
        return None

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        # Paths and queries have emails; the route has not.
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        handled = Handled(scope["method"], route, status, seconds)
        self._observe(handled)
        logger.info(
            "%s %s %d %.1f ms (request %s)",
            *handled[:3],
            seconds * 1000,
            scope["state"]["request_id"],
        )
