"""A real proxy on a loopback port, which inspects TLS as a company's proxy does."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.scripted_server import read_request, scripted_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.scripted_server import ScriptedServer

# A name that no resolver knows (RFC 6761, section 6.4): only a proxy can reach it.
HOST = "iterable.invalid"
BASE_URL = f"https://{HOST}"
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate, and its key."""

    file: Path
    key: Path


def make_certificate(folder: Path, host: str = HOST) -> Certificate:
    """A new one for this host, created with the `openssl` command."""
    certificate = Certificate(folder / "certificate.pem", folder / "key.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    files = ["-keyout", str(certificate.key), "-out", str(certificate.file)]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    return certificate


def make_expired_certificate(folder: Path, host: str = HOST) -> Certificate:
    """One that ended yesterday."""
    certificate = make_certificate(folder, host)
    key, file = str(certificate.key), str(certificate.file)
    request = ["openssl", "x509", "-x509toreq", "-in", file, "-signkey", key]
    requested = subprocess.run(request, check=True, capture_output=True).stdout
    names = folder / "names.txt"
    names.write_text(f"subjectAltName=DNS:{host}\n")
    sign = ["openssl", "x509", "-req", "-signkey", key, "-days", "-1", "-extfile", str(names)]
    subprocess.run([*sign, "-out", file], input=requested, check=True, capture_output=True)
    return certificate


@contextmanager
def refusing_proxy(answer: bytes) -> Iterator[ScriptedServer]:
    """A proxy that gives every client the same answer."""
    with scripted_server(lambda connection, _: connection.sendall(answer)) as proxy:
        yield proxy


@contextmanager
def refusing_tls_proxy(certificate: Certificate, answer: bytes) -> Iterator[str]:
    """The same for one client, which has to use TLS to reach it; yields its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)

    def serve() -> None:
        connection, _ = server.accept()
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as inside:
            read_request(inside)
            inside.sendall(answer)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://localhost:{server.getsockname()[1]}"
        thread.join(30)


@contextmanager
def tunnelling_proxy(
    certificate: Certificate, answer: Callable[[bytes], bytes]
) -> Iterator[ScriptedServer]:
    """A proxy that opens tunnels and answers in them as `HOST`, with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)

    def reply(connection: socket.socket, request: bytes) -> None:
        connection.sendall(TUNNEL if request.startswith(b"CONNECT ") else b"")
        with context.wrap_socket(connection, server_side=True) as inside:
            while inner := read_request(inside):
                inside.sendall(answer(inner))

    with scripted_server(reply) as proxy:
        yield proxy


def forward_to(url: str) -> Callable[[bytes], bytes]:
    """Answer as the server at this address does."""
    host, _, port = url.removeprefix("http://").partition(":")

    def answer(request: bytes) -> bytes:
        with socket.create_connection((host, int(port)), timeout=30) as server:
            server.sendall(request)
            response = http.client.HTTPResponse(server)
            response.begin()
            body = response.read()
        return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (response.status, len(body), body)

    return answer
