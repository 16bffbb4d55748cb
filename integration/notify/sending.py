"""Sending a notification in a process of its own, which is killed when its time is over.

Apprise waits for threads of its own when a program ends, and name servers and receivers may never
answer: nothing less than a process can be ended at any moment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.notify.decision import Notification

_PROGRAM = Path(__file__).with_name("apprise_process.py")
_TEXTS = {
    "refused": "was not accepted by its service, or the service cannot be reached",
    "unknown": "is not an address that Apprise knows",
}
_NO_ANSWER = "was not sent in time"


class Sending:
    """A notification on its way.

    Args:
        urls: the addresses of Apprise.
        notification: what to tell.
    """

    def __init__(self, urls: Sequence[str], notification: Notification) -> None:
        self._urls = urls
        self._outcomes: dict[int, str] = {}
        # Isolated: neither variables of Python nor this folder change what is imported.
        self._process = subprocess.Popen(  # noqa: S603  this Python and a file of its own
            [sys.executable, "-I", "-W", "ignore", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        message = json.dumps(
            {
                "urls": urls,
                "title": notification.title,
                "body": notification.body,
                "kind": notification.kind,
            }
        )
        self._reader = threading.Thread(target=self._talk, args=(message,), daemon=True)
        self._reader.start()

    @property
    def is_done(self) -> bool:
        """Whether all outcomes are known."""
        return not self._reader.is_alive()

    def end(self) -> None:
        """End the process, also if it waits for an answer."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    @property
    def is_told(self) -> bool:
        """Whether at least one service has accepted the notification."""
        return "sent" in self._outcomes.values()

    @property
    def problems(self) -> list[str]:
        """A text for each address to which nothing was sent, without the address."""
        if not self._outcomes and self._process.returncode == 1:
            return ["the package apprise cannot be used"]
        texts = []
        for position, url in enumerate(self._urls):
            outcome = self._outcomes.get(position, "")
            if outcome != "sent":
                name = f"address {position + 1} ({url.partition(':')[0]})"
                texts.append(f"{name} {_TEXTS.get(outcome, _NO_ANSWER)}")
        return texts

    def _talk(self, message: str) -> None:
        assert self._process.stdin
        assert self._process.stdout
        _write(self._process.stdin, message)
        with self._process.stdout as lines:
            for line in lines:
                position, _, outcome = line.decode().strip().partition(" ")
                self._outcomes[int(position)] = outcome
        self._process.wait()


def _write(stdin: IO[bytes], message: str) -> None:
    with suppress(BrokenPipeError):  # it has ended: the package is not installed
        stdin.write(message.encode())
        stdin.flush()
    with suppress(BrokenPipeError):
        stdin.close()
