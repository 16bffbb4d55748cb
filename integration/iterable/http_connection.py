"""Connections on which each request gets its own answer, and gets it in time.

Python's http.client skips only a 100 before the real answer, bounds each read but not the
whole, and forgets what it read beyond the end of an answer. Here

    an answer after a 1xx       is the real one; the connection is not used again
    bytes beyond an answer      end the connection: they are nobody's
    the whole exchange          ends `timeout` seconds after it began, however it drips
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


class _AnswerStream(io.RawIOBase):
    """The bytes of a socket until a moment; after `stop`, as if none were there."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._stopped = False

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401  as io has it
        """Wait for bytes no longer than until the deadline."""
        if self._stopped:
            return None
        self._sock.settimeout(_seconds_until(self._deadline))
        return self._raw.readinto(buffer)

    def stop(self) -> None:
        """Nothing more is wanted."""
        self._stopped = True

    def close(self) -> None:
        """Let go of the socket, which is closed when its connection lets go of it too."""
        self._raw.close()
        super().close()


class _AnswerReader(io.BufferedReader):
    """Knows at its end whether more had been read than was wanted."""

    has_rest = False

    def __init__(self, stream: _AnswerStream) -> None:
        super().__init__(stream)
        self._stream = stream

    def close(self) -> None:
        """Look at what is left, then let go."""
        if not self.closed:
            self._stream.stop()
            self.has_rest = bool(self.peek(1))
        super().close()


class _Response(http.client.HTTPResponse):
    """One answer, read from `sock` until `deadline`; interim ones before it are skipped."""

    def __init__(self, sock: socket.socket, deadline: float, **options: Any) -> None:  # noqa: ANN401
        super().__init__(sock, **options)
        raw = self.fp.detach()
        self.reader = _AnswerReader(_AnswerStream(raw, sock, deadline))
        self.fp = self.reader

    def begin(self) -> None:
        """Read status and headers of the real answer."""
        super().begin()
        if self.status < 200:
            self._skip_interim_answers()
            # Whoever sends them may send more, which would be the next call's answer.
            self.will_close = True

    def _skip_interim_answers(self) -> None:
        # After a 101 the other side speaks another protocol: nothing comes after it.
        while self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # type: ignore[assignment]  # what "not begun" means
            super().begin()


class _OwnAnswers(_Connection):
    """What is added to urllib3's connections: it stands before them in the bases."""

    _deadline = 0.0
    _answer: _Response | None = None
    _held_back: list[bytes] | None = None

    def connect(self) -> None:
        """Connect within the timeout, a proxy's answer included; the request has its own."""
        self._answer = None
        self._begin_exchange()
        super().connect()
        self._begin_exchange()

    def request(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        """Send a request, headers and body at once; now the time for its answer runs."""
        self._begin_exchange()
        self._held_back = []
        try:
            super().request(*arguments, **options)
        finally:
            parts, self._held_back = self._held_back, None
        self._send_all(b"".join(parts))

    def send(self, data: Any) -> None:  # noqa: ANN401  bytes, of all that http.client allows
        """Send what is no part of a request: words to a proxy."""
        if self._held_back is None:
            super().send(data)
        else:
            self._held_back.append(data)

    def _send_all(self, data: bytes) -> None:
        if self.sock is None:
            self.connect()
        if isinstance(self.sock, ssl.SSLSocket):
            # Python gives each record the whole timeout.
            for start in range(0, len(data), _TLS_RECORD_BYTES):
                self.sock.settimeout(_seconds_until(self._deadline))
                self.sock.sendall(data[start : start + _TLS_RECORD_BYTES])
        else:
            self.sock.sendall(data)

    def response_class(self, sock: socket.socket, **options: Any) -> _Response:  # type: ignore[override]  # noqa: ANN401
        """What http.client calls to read an answer, a proxy's included."""
        self._answer = _Response(sock, self._deadline, **options)
        return self._answer

    @property
    def is_connected(self) -> bool:
        """Whether it can be used again: it is open, and nothing is left to read."""
        return super().is_connected and not self._has_unread()

    def _has_unread(self) -> bool:
        if self._answer is not None and self._answer.reader.has_rest:
            return True
        # What was decrypted already is not seen by looking at the socket.
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def _begin_exchange(self) -> None:
        self._deadline = time.monotonic() + (self.timeout or 0)


class _PlainConnection(_OwnAnswers, HTTPConnection):
    """HTTP."""


class _TLSConnection(_OwnAnswers, HTTPSConnection):
    """HTTPS."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS = {"http": _PlainPool, "https": _TLSPool}


class OwnAnswersAdapter(HTTPAdapter):
    """requests' HTTPAdapter over such connections, with a proxy or without."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        """As the base does, for direct connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:  # noqa: ANN401
        """As the base does, for connections through a proxy."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


def _seconds_until(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
