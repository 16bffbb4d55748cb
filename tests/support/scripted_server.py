"""A raw socket server that writes what a test wants, byte for byte."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # Gets the connection and one whole request, and writes whatever it wants.
    Reply = Callable[[socket.socket, bytes], None]


class ScriptedServer:
    """Keeps connections alive and answers each request with `reply`."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.connections = 0
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """The loopback port."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Close all connections."""
        for connection in [self._listener, *self._open]:
            # Wakes the thread that is blocked in it.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._worker_loop, args=(connection,), daemon=True).start()

    def _worker_loop(self, connection: socket.socket) -> None:
        with suppress(OSError):
            while request := read_request(connection):
                self.requests.append(request)
                self._reply(connection, request)


@contextmanager
def scripted_server(reply: Reply) -> Iterator[ScriptedServer]:
    """A server that is closed at the end of the test."""
    server = ScriptedServer(reply)
    try:
        yield server
    finally:
        server.close()


def read_request(connection: socket.socket) -> bytes:
    """Read one request with its body; empty at the end of the connection."""
    request = b""
    while b"\r\n\r\n" not in request:
        part = connection.recv(65536)
        if not part:
            return b""
        request += part
    head, _, body = request.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower()[:15] == b"content-length:"),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def ok(body: bytes) -> bytes:
    """A response with status 200."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def body_of(request: bytes) -> bytes:
    """What the client sent after the headers."""
    return request.partition(b"\r\n\r\n")[2]
