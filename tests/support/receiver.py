"""A receiver of notifications and pings on loopback."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "t0k3n-of-the-receiver"
CHECK = "5f3c9e1a-0b7d-4c52-8e65-3d2b1a0f9c8e"


class Received(NamedTuple):
    """A request: its path without the token, and its body."""

    path: str
    body: str


class Receiver(ThreadingHTTPServer):
    """Accepts everything, or answers with `status`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.status = 200

    @property
    def settings(self) -> dict[str, str]:
        """The variables that name this receiver, with a token in each address."""
        port = self.server_port
        return {
            "NOTIFY_URLS": f"json://user:{TOKEN}@127.0.0.1:{port}/notify/{TOKEN}",
            "HEALTHCHECK_URL": f"http://127.0.0.1:{port}/ping/{CHECK}",
            "NOTIFY_NAME": "shop",
        }

    @property
    def pings(self) -> list[str]:
        """What was pinged, in order: start, or an exit code."""
        paths = [one.path for one in self.received if one.path.startswith("/ping/")]
        return [path.removeprefix(f"/ping/{CHECK}/") for path in paths]

    @property
    def notifications(self) -> list[dict[str, Any]]:
        """The JSON of each notification."""
        return [json.loads(one.body) for one in self.received if one.path.startswith("/notify/")]

    @property
    def titles(self) -> list[str]:
        """The title of each notification."""
        return [one["title"] for one in self.notifications]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.received.append(Received(self.path, body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that is closed at the end of the test."""
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
