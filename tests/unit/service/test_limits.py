"""Requests with an endless or slow head, over real connections."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from integration.service import limits
from integration.service.server import listening, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


class StopOnRequest:
    """Ends a server."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.request = self._event.set
        self.requested = self._event.is_set


async def application(scope: dict[str, Any], _receive: object, send: Any) -> None:
    """Answers with an empty body."""
    assert scope["type"] == "http"
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def port() -> Iterator[int]:
    """That of a server."""
    stop, ready = StopOnRequest(), threading.Event()
    with listening("127.0.0.1", 0) as listener:
        arguments = (application, listener, stop, ready.set)
        thread = threading.Thread(target=serve, args=arguments)
        thread.start()
        try:
            assert ready.wait(30)
            yield listener.getsockname()[1]
        finally:
            stop.request()
            thread.join()


@contextmanager
def client(port: int) -> Iterator[socket.socket]:
    """A connection."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        yield connection


def test_a_head_without_an_end_is_refused(port: int) -> None:
    """It cannot fill the memory."""
    with client(port) as connection, suppress(ConnectionError):
        connection.sendall(HEAD + b"X-Long: ")
        for _ in range(2 * limits.MAX_HEAD_BYTES // 1000):
            connection.sendall(b"a" * 1000)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("begin", [b"", b"G", HEAD, HEAD + b"\r\n" + b"GET"])
def test_a_head_that_takes_too_long_ends_the_connection(
    port: int, begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is the first on the connection or not; a byte now and then does not help."""
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.3)
    with client(port) as connection, suppress(ConnectionError):
        connection.sendall(begin)
        connection.settimeout(3)
        received = b"".join(iter(lambda: connection.recv(1000), b""))
        assert received.count(b"200 OK") == begin.count(b"\r\n\r\n")


def test_usual_requests_are_answered_one_after_the_other(port: int) -> None:
    """Each head counts for itself, and the time for one ends with it."""
    with client(port) as connection:
        for _ in range(5):
            connection.sendall(HEAD + b"X-Long: " + b"a" * (limits.MAX_HEAD_BYTES // 2))
            connection.sendall(b"\r\n\r\n")
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
