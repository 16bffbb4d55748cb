"""Requests with an endless or slow head, over real connections."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from integration.service import limits
from integration.service.access import Access
from integration.service.gate import Gate
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


def test_an_answer_that_is_cut_off_at_the_end_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Without a traceback."""

    async def stalled(*_: object) -> None:
        await asyncio.sleep(30)

    async def cancelled() -> None:
        headers = [(b"authorization", b"Bearer token-of-a-test")]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
        gate = Gate(stalled, Access("token-of-a-test"), lambda _: None)
        task = asyncio.create_task(gate(scope, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    asyncio.run(cancelled())

    (line,) = [one for one in caplog.records if one.levelname == "WARNING"]
    assert "cut off" in line.getMessage()
    assert line.exc_info is None


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
