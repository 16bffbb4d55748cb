"""Receiving bytes from a connection until a deadline, or until the run stops."""

from __future__ import annotations

import ssl
import time
from http.client import IncompleteRead
from typing import TYPE_CHECKING

from urllib3.util.wait import wait_for_read

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

# How long a stop of the run may go unnoticed during a wait.
_STOP_SECONDS = 0.25


def receive(sock: socket.socket, deadline: float, limit: int) -> bytes:
    """What there is to receive, at most so many bytes."""
    sock.settimeout(seconds_until(deadline))
    return sock.recv(limit)


def receive_into(
    sock: socket.socket,
    deadline: float,
    stopping: Callable[[], bool] | None,
    place: memoryview,
) -> None:
    """Receive as much as the place holds, in as few calls as possible.

    Raises:
        IncompleteRead: the connection ended before.
    """
    filled = 0
    while filled < len(place):
        if stopping is not None:
            wait_for_bytes(sock, deadline, stopping)
        sock.settimeout(seconds_until(deadline))
        size = sock.recv_into(place[filled:])
        if not size:
            raise IncompleteRead(b"", len(place) - filled)
        filled += size


def wait_for_bytes(sock: socket.socket, deadline: float, stopping: Callable[[], bool]) -> None:
    """Wait until there is something to receive, or the deadline has passed.

    Raises:
        ConnectionAbortedError: the wait was stopped.
    """
    # Bytes that are already decrypted cannot be seen on the socket.
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return
    while (remaining := deadline - time.monotonic()) > 0:
        if wait_for_read(sock, timeout=min(remaining, _STOP_SECONDS)):
            return
        if stopping():
            raise ConnectionAbortedError("the run stops")


def seconds_until(deadline: float) -> float:
    """The remaining time.

    Raises:
        TimeoutError: there is none.
    """
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("timed out")
    return remaining
