"""Serving the window with uvicorn until a signal arrives."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from integration.config.converting import ConfigurationError
from integration.core.hosts import address_text
from integration.service.limits import LimitedProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.core.shutdown import Stop
    from integration.service.gate import Gate

SECONDS_TO_FINISH = 5
BACKLOG = 2048


class Server(uvicorn.Server):
    """A server that the program's own signal handling ends.

    Args:
        config: uvicorn's.
        stop: when to end.
        announce: called when connections are accepted.
    """

    def __init__(self, config: uvicorn.Config, stop: Stop, announce: Callable[[], object]) -> None:
        super().__init__(config)
        self._stop = stop
        self._announce = announce

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the program."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        self._announce()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        return await super().on_tick(counter) or self._stop.requested()


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that accepts connections.

    Raises:
        ConfigurationError: the address is in use, or not one of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        # asyncio and socket append the address to the text of the error.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror
        raise ConfigurationError(
            f"Cannot listen on {address_text(host, port)} ({reason}): choose"
            " another address with --host and --port, or SERVICE_HOST and SERVICE_PORT"
        ) from error
    with listener:
        # Inherited by its connections; asyncio sets it only if a socket names its protocol. Without
        # it, the end of an answer waits 40 ms for the client's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def serve(app: Gate, listener: socket.socket, stop: Stop, announce: Callable[[], object]) -> None:
    """Answer requests until the program is to stop; those in progress are finished."""
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    server = Server(config, stop, announce)
    asyncio.run(server.serve(sockets=[listener]))
