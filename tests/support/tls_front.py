"""TLS in front of a server on a loopback port."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tests.support.scripted_server import read_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.proxy import Certificate

MAX_SECONDS = 120


@contextmanager
def tls_front(port: int, certificate: Certificate) -> Iterator[int]:
    """Forward requests that come inside TLS, one for each connection; yields the port with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    def serve(client: socket.socket) -> None:
        client.settimeout(MAX_SECONDS)
        with suppress(OSError), context.wrap_socket(client, server_side=True) as inside:
            _forward(inside, port)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        listener.close()


def _forward(client: ssl.SSLSocket, port: int) -> None:
    request = read_request(client)
    with socket.create_connection(("127.0.0.1", port), timeout=MAX_SECONDS) as server:
        server.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        while data := server.recv(1 << 16):
            client.sendall(data)
