"""Pings of HEALTHCHECK_URL, as healthchecks.io and compatible services take them.

`URL/start` when a run starts, `URL/CODE` with its exit code when it ends; 0 is success. Source:
https://healthchecks.io/docs/http_api/. A thread sends them, so that a service that does not answer
delays nothing.
"""

from __future__ import annotations

import queue
import threading
from typing import Final
from urllib.parse import urlsplit, urlunsplit

START: Final = "start"
# To connect, and for each part of the answer.
TIMEOUT_SECONDS = 4.0
_END: Final = None


class Pinger:
    """Sends pings in their order.

    Args:
        url: the address of the check.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._queue: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._problem: str | None = None
        self._is_done = threading.Event()
        # The process ends even if this thread waits for a name server.
        threading.Thread(target=self._send_all, name="pings", daemon=True).start()

    def ping(self, what: str, text: str = "") -> None:
        """Send `URL/what` soon, with a text that the service shows."""
        self._queue.put((what, text))

    def end(self) -> None:
        """There will be no more pings."""
        self._queue.put(_END)

    @property
    def is_done(self) -> bool:
        """Whether all pings have been sent, or could not be."""
        return self._is_done.is_set()

    @property
    def problem(self) -> str | None:
        """Why a ping did not arrive, without the address; None if all did."""
        return self._problem if self.is_done else "no answer"

    def _send_all(self) -> None:
        try:
            while (one := self._queue.get()) is not _END:
                self._problem = _send(ping_url(self._url, one[0]), one[1]) or self._problem
        finally:
            self._is_done.set()


def ping_url(url: str, what: str) -> str:
    """The address of a ping; a query (`?create=1`) stays at the end."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{what}"))


def _send(url: str, text: str) -> str | None:
    """Why the ping did not arrive, or None. The texts of exceptions contain the address."""
    import requests  # noqa: PLC0415  in this thread: it takes longer than what the run starts with

    try:
        with requests.post(
            url, data=text.encode(errors="replace"), timeout=TIMEOUT_SECONDS, stream=True
        ) as response:
            return None if response.ok else f"status {response.status_code}"
    except Exception as error:  # noqa: BLE001  whatever it is, its traceback has the address
        return type(error).__name__
