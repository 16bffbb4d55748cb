"""A TCP server that speaks just enough of MySQL's protocol to misbehave in it.

Packets: https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
"""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_TEST_SECONDS = 60
# Long password, protocol 4.1, secure connection, plugin authentication, LOCAL INFILE and more,
# but no TLS.
CAPABILITIES = 0x0000_0001 | 0x0000_0080 | 0x0000_0200 | 0x0000_8000 | 0x0008_0000 | 0x0000_2008
OK = b"\x00\x00\x00\x02\x00\x00\x00"
EOF = b"\xfe\x00\x00\x02\x00"
COM_QUERY = 0x03
LOCAL_INFILE = b"\xfb"
# One column of text named "a".
COLUMN = (
    b"\x03def\x00\x00\x00\x01a\x00\x0c" + b"\x2d\x00" + bytes([255, 0, 0, 0]) + b"\xfd" + bytes(5)
)
GREETING = (
    b"\x0a8.0.99-fake\x00"
    + (7).to_bytes(4, "little")  # the connection id
    + b"12345678\x00"
    + CAPABILITIES.to_bytes(4, "little")[:2]
    + b"\x2d\x02\x00"  # utf8mb4, autocommit
    + CAPABILITIES.to_bytes(4, "little")[2:]
    + b"\x15"
    + bytes(10)
    + b"123456789012\x00mysql_native_password\x00"
)


@dataclass
class Peer:
    """One client of the fake server."""

    connection: socket.socket
    sequence: int = 0

    def send(self, payload: bytes) -> None:
        """Send one packet."""
        self.connection.sendall(len(payload).to_bytes(3, "little") + bytes([self.sequence]))
        self.connection.sendall(payload)
        self.sequence = self.sequence + 1 & 0xFF

    def receive(self) -> bytes:
        """Receive one packet; raises OSError when the client has disconnected."""
        header = self._exactly(4)
        self.sequence = header[3] + 1 & 0xFF
        return self._exactly(int.from_bytes(header[:3], "little"))

    def _exactly(self, number: int) -> bytes:
        data = b""
        while len(data) < number:
            more = self.connection.recv(number - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data

    def sign_in(self) -> None:
        """Accept any credentials."""
        self.send(GREETING)
        self.receive()
        self.send(OK)

    def send_no_rows(self) -> None:
        """Answer a query with an empty result."""
        for packet in (b"\x01", COLUMN, EOF, EOF):
            self.send(packet)

    def ask_for_file(self, path: str) -> bytes:
        """Answer a query by requesting a file of the client's machine; returns what it sends."""
        self.send(LOCAL_INFILE + path.encode())
        content = b""
        while packet := self.receive():
            content += packet
        return content


@dataclass
class FakeMySQL:
    """Serves one client after another, each with `serve`."""

    listener: socket.socket
    serve: Callable[[Peer], None]
    peers: list[Peer] = field(default_factory=list)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.listener.getsockname()[1])

    def run(self) -> None:
        """Serve until `end`."""
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.peers.append(Peer(connection))
                with connection, suppress(OSError):
                    self.serve(self.peers[-1])

    def end(self) -> None:
        """Disconnect every client."""
        for each in [self.listener, *(peer.connection for peer in self.peers)]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def fake_mysql(host: str, port: int, serve: Callable[[Peer], None]) -> Iterator[FakeMySQL]:
    """A fake server in its own thread; port 0 picks a free port."""
    with socket.create_server((host, port)) as listener:
        server = FakeMySQL(listener, serve)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server.end()
            thread.join(MAX_TEST_SECONDS)
