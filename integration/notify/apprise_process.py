"""A process of its own that sends a notification through Apprise; see `sending`.

Reads a JSON object with `urls`, `title`, `body` and `kind` from stdin. For each address it prints a
line as soon as that is known: its position, and `sent`, `refused` or `unknown`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading

import apprise


def main() -> None:
    """Send to all addresses at the same time, and end without waiting for threads of libraries."""
    # What failed is told by `sending`; these lines would contain addresses.
    logging.disable()
    message = json.load(sys.stdin)
    threads = [
        threading.Thread(target=_send, args=(position, url, message))
        for position, url in enumerate(message["urls"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)


def _send(position: int, url: str, message: dict[str, str]) -> None:
    outcome = "refused"
    try:
        outcome = _outcome(url, message)
    finally:
        os.write(1, f"{position} {outcome}\n".encode())


def _outcome(url: str, message: dict[str, str]) -> str:
    sender = apprise.Apprise()
    if not sender.add(url):
        return "unknown"
    kind = apprise.NotifyType(message["kind"])
    return "sent" if sender.notify(message["body"], message["title"], kind) else "refused"


if __name__ == "__main__":
    main()
