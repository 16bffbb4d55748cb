"""A TCP proxy that stops forwarding on request but keeps all connections open."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_STEP_SECONDS = 0.05


class StallingProxy:
    """Forwards between its own loopback port and another port."""

    def __init__(self, target_port: int, host: str, sockets: ExitStack) -> None:
        self._target_port = target_port
        self._sockets = sockets
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = sockets.enter_context(socket.create_server((host, 0), family=family))
        self._stalled = threading.Event()
        self._closed = threading.Event()
        self.port: int = self._listener.getsockname()[1]

    def stall(self) -> None:
        """Forward nothing from now on, in either direction, on old or new connections."""
        self._stalled.set()

    def end(self) -> None:
        """Make `serve` return."""
        self._closed.set()

    def serve(self) -> None:
        """Forward until `end`."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._closed.is_set():
                for key, _ in selector.select(MAX_STEP_SECONDS):
                    if self._stalled.is_set():
                        self._closed.wait(MAX_STEP_SECONDS)
                    elif key.fileobj is self._listener:
                        self._accept(selector)
                    else:
                        self._forward(key, selector)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        client = self._sockets.enter_context(self._listener.accept()[0])
        target = socket.create_connection(("127.0.0.1", self._target_port))
        self._sockets.enter_context(target)
        selector.register(client, selectors.EVENT_READ, target)
        selector.register(target, selectors.EVENT_READ, client)

    def _forward(self, key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
        source, sink = key.fileobj, key.data
        assert isinstance(source, socket.socket)
        try:
            data = source.recv(1 << 16)
            sink.sendall(data)
        except OSError:
            data = b""
        if not data:
            selector.unregister(source)
            sink.close()


@contextmanager
def stalling_proxy(target_port: int, host: str = "127.0.0.1") -> Iterator[StallingProxy]:
    """A proxy in its own thread."""
    with ExitStack() as sockets:
        proxy = StallingProxy(target_port, host, sockets)
        thread = threading.Thread(target=proxy.serve)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.end()
            thread.join()
