"""Connections on which each request gets its own response, within the timeout.

Python's http.client skips only a 100 before the final response, limits each read but not the
whole exchange, and forgets what it read beyond the end of a response. Here

    a response after a 1xx      is the final one; the connection is not used again
    bytes beyond a response     close the connection: they belong to no request
    the whole exchange          ends `timeout` seconds after it began, however slowly bytes arrive
"""

from __future__ import annotations

import http.client
import io
import ssl
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    import socket

    from urllib3.poolmanager import ProxyManager

    _Connection = HTTPConnection
else:
    _Connection = object

_TLS_RECORD_BYTES = 16_384


class _ResponseStream(io.RawIOBase):
    """Reads from a socket until a deadline; after `stop`, reads nothing."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._stopped = False

    def readable(self) -> bool:
        """True: this is a stream to read from."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401  as in io
        """Wait for bytes until the deadline."""
        if self._stopped:
            return None
        self._sock.settimeout(_seconds_until(self._deadline))
        return self._raw.readinto(buffer)

    def stop(self) -> None:
        """Read nothing more from the socket."""
        self._stopped = True

    def close(self) -> None:
        """Release the socket, which is closed when its connection releases it too."""
        self._raw.close()
        super().close()


class _ResponseReader(io.BufferedReader):
    """A reader that knows, once closed, whether it read more than the response."""

    has_unread = False

    def __init__(self, stream: _ResponseStream) -> None:
        super().__init__(stream)
        self._stream = stream

    def close(self) -> None:
        """Look for buffered bytes, then close."""
        if not self.closed:
            self._stream.stop()
            self.has_unread = bool(self.peek(1))
        super().close()


class _Response(http.client.HTTPResponse):
    """A response, read from `sock` until `deadline`; interim responses before it are skipped."""

    def __init__(self, sock: socket.socket, deadline: float, **options: Any) -> None:  # noqa: ANN401
        super().__init__(sock, **options)
        raw = self.fp.detach()
        self.reader = _ResponseReader(_ResponseStream(raw, sock, deadline))
        self.fp = self.reader

    def begin(self) -> None:
        """Read status and headers of the final response."""
        super().begin()
        if self.status < 200:
            self._skip_interim_responses()
            # A server that sends one may send more, which would be taken for the next response.
            self.will_close = True

    def _skip_interim_responses(self) -> None:
        # After a 101 the server speaks another protocol: no other response follows.
        while self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # type: ignore[assignment]  # so that begin() runs again
            super().begin()


class _OwnResponses(_Connection):
    """The additions to urllib3's connections; a mixin that comes first in the bases."""

    _deadline = 0.0
    _last_response: _Response | None = None
    _held_back: list[bytes] | None = None

    def connect(self) -> None:
        """Connect within the timeout, proxy included; the request gets a new timeout."""
        self._last_response = None
        self._begin_exchange()
        super().connect()
        self._begin_exchange()

    def request(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        """Send headers and body of a request together, and start its timeout."""
        self._begin_exchange()
        self._held_back = []
        try:
            super().request(*arguments, **options)
        finally:
            parts, self._held_back = self._held_back, None
        self._send_all(b"".join(parts))

    def send(self, data: Any) -> None:  # noqa: ANN401  bytes, of all that http.client allows
        """Collect the parts of a request; send anything else, such as CONNECT to a proxy."""
        if self._held_back is None:
            super().send(data)
        else:
            self._held_back.append(data)

    def _send_all(self, data: bytes) -> None:
        if self.sock is None:
            self.connect()
        if isinstance(self.sock, ssl.SSLSocket):
            # Python applies the whole timeout to each record.
            for start in range(0, len(data), _TLS_RECORD_BYTES):
                self.sock.settimeout(_seconds_until(self._deadline))
                self.sock.sendall(data[start : start + _TLS_RECORD_BYTES])
        else:
            self.sock.sendall(data)

    def response_class(self, sock: socket.socket, **options: Any) -> _Response:  # type: ignore[override]  # noqa: ANN401
        """The factory that http.client calls to read a response, including a proxy's."""
        self._last_response = _Response(sock, self._deadline, **options)
        return self._last_response

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used again: it is open and has no unread bytes."""
        return super().is_connected and not self._has_unread()

    def _has_unread(self) -> bool:
        if self._last_response is not None and self._last_response.reader.has_unread:
            return True
        # Bytes that are already decrypted cannot be seen on the socket.
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def _begin_exchange(self) -> None:
        self._deadline = time.monotonic() + (self.timeout or 0)


class _PlainConnection(_OwnResponses, HTTPConnection):
    """HTTP."""


class _TLSConnection(_OwnResponses, HTTPSConnection):
    """HTTPS."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS = {"http": _PlainPool, "https": _TLSPool}


class OwnResponsesAdapter(HTTPAdapter):
    """requests' HTTPAdapter with such connections, direct or through a proxy.

    Args:
        connections: the size of the pool.
        tls: for all connections; decides which certificates are trusted. Not needed for http.
    """

    def __init__(self, connections: int, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        super().__init__(pool_connections=1, pool_maxsize=connections)

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


def _seconds_until(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("timed out")
    return remaining
