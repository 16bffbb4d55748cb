"""Connections on which each request gets its own response, within the timeout.

urllib3's connections, kept alive in its pools. Requests are given to them as bytes, and the
whole exchange ends `timeout` seconds after it began, however slowly bytes pass.
"""

from __future__ import annotations

import errno
import ssl
import time
from typing import TYPE_CHECKING, Any, cast

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from integration.iterable.http_response import StreamedResponse, read_response
from integration.iterable.receiving import seconds_until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from urllib3.poolmanager import ProxyManager

    from integration.iterable.http_response import Response
    from integration.iterable.route import Route

    _Connection = HTTPConnection
    _Pool = HTTPConnectionPool
else:
    _Connection = _Pool = object

_TLS_RECORD_BYTES = 16_384
# A server may respond and close before it has read the whole request. EPROTOTYPE is macOS's.
_CLOSED_EARLY = {errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE}


class _OwnResponses(_Connection):
    """The additions to urllib3's connections; a mixin that comes first in the bases."""

    _deadline = 0.0

    def connect(self) -> None:
        """Connect within the timeout, proxy included."""
        self._begin_exchange()
        super().connect()

    def start(self, request: bytes) -> None:
        """Send a request, with a new timeout."""
        self._begin_exchange()
        try:
            self._send_all(request)
        except OSError as error:
            if error.errno not in _CLOSED_EARLY:
                raise

    def finish(self, max_bytes: int, stopping: Callable[[], bool] | None) -> Response:
        """Read the response to the request that was sent."""
        return read_response(self.sock, self._deadline, max_bytes, stopping)

    def extend(self) -> None:
        """Have the timeout begin now: the response was not waited for since its request."""
        self._begin_exchange()

    def _send_all(self, data: bytes) -> None:
        # Python applies the whole timeout to each record of TLS.
        size = _TLS_RECORD_BYTES if isinstance(self.sock, ssl.SSLSocket) else len(data)
        for start in range(0, len(data), size):
            self.sock.settimeout(seconds_until(self._deadline))
            self.sock.sendall(data[start : start + size])

    def response_class(self, sock: socket.socket, **options: Any) -> StreamedResponse:  # type: ignore[override]  # noqa: ANN401
        """The factory that http.client calls to read a proxy's response."""
        return StreamedResponse(sock, self._deadline, **options)

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used again: it is open and has no unread bytes."""
        # Bytes that are already decrypted cannot be seen on the socket.
        return super().is_connected and not (
            isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
        )

    def _begin_exchange(self) -> None:
        self._deadline = time.monotonic() + (self.timeout or 0)


class _PlainConnection(_OwnResponses, HTTPConnection):
    """HTTP."""


class _TLSConnection(_OwnResponses, HTTPSConnection):
    """HTTPS."""


class ExchangePool(_Pool):
    """The additions to urllib3's pools; a mixin that comes first in the bases."""

    def exchange(
        self,
        request: bytes,
        timeout_seconds: float,
        max_bytes: int,
        stopping: Callable[[], bool] | None = None,
    ) -> Response:
        """Send a request on an idle or a new connection, and read its response.

        The timeout applies to connecting, and then to the exchange. `stopping`: see
        `read_response`.
        """
        connection = self._taken(timeout_seconds)
        reusable = False
        try:
            if connection.is_closed:
                self._connect(connection)
            connection.start(request)
            response = connection.finish(max_bytes, stopping)
            reusable = response.reusable
        finally:
            self.give_back(connection, reusable=reusable)
        return response

    def begin(self, request: bytes, timeout_seconds: float) -> StartedExchange | None:
        """Send a request if there is an idle connection, to read its response later."""
        connection = self._taken(timeout_seconds)
        is_started = False
        try:
            if not connection.is_closed:
                connection.start(request)
                is_started = True
        finally:
            if not is_started:
                self.give_back(connection, reusable=False)
        return StartedExchange(self, connection) if is_started else None

    def _taken(self, timeout_seconds: float) -> _OwnResponses:
        connection = cast("_OwnResponses", self._get_conn())
        connection.timeout = timeout_seconds
        return connection

    def give_back(self, connection: _OwnResponses, *, reusable: bool) -> None:
        """Keep a connection for other requests, closed if it cannot be used again."""
        if not reusable:
            connection.close()
        self._put_conn(connection)

    def _connect(self, connection: _OwnResponses) -> None:
        if self.proxy is not None:
            self._prepare_proxy(connection)  # connects if it needs a tunnel
        if connection.is_closed:
            connection.connect()


class StartedExchange:
    """A request whose response was not read yet; to be finished or dropped, once."""

    def __init__(self, pool: ExchangePool, connection: _OwnResponses) -> None:
        self._pool = pool
        self._connection = connection

    def finish(self, max_bytes: int, stopping: Callable[[], bool] | None) -> Response:
        """Read the response, with a new timeout."""
        reusable = False
        try:
            self._connection.extend()
            response = self._connection.finish(max_bytes, stopping)
            reusable = response.reusable
        finally:
            self._pool.give_back(self._connection, reusable=reusable)
        return response

    def drop(self) -> None:
        """Close the connection."""
        self._pool.give_back(self._connection, reusable=False)


class _PlainPool(ExchangePool, HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(ExchangePool, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS = {"http": _PlainPool, "https": _TLSPool}


class PoolAdapter(HTTPAdapter):
    """requests' HTTPAdapter, which sets up TLS and proxies, with such pools.

    Args:
        connections: the size of the pool.
        tls: for all connections; decides which certificates are trusted. Not needed for http.
    """

    def __init__(self, connections: int, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        super().__init__(pool_connections=1, pool_maxsize=connections)

    def pool_for(self, url: str, route: Route) -> ExchangePool:
        """The pool of connections to this address."""
        request = PreparedRequest()
        request.url = url
        pool = self.get_connection_with_tls_context(
            request, verify=True, proxies=dict(route.proxies)
        )
        return cast("ExchangePool", pool)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        """Create the pool manager for direct connections."""
        super().init_poolmanager(*arguments, **options, ssl_context=self._tls)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:  # noqa: ANN401
        """Create the pool manager for connections through a proxy."""
        contexts = {"ssl_context": self._tls, "proxy_ssl_context": self._tls}
        manager: ProxyManager = super().proxy_manager_for(proxy, **options, **contexts)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, *_: object) -> None:
        """Do not have each connection load CA certificates: the context has them."""
