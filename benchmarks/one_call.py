"""The CPU time of one call, by the layer of requests that is used, without latency.

python -m benchmarks.one_call

    requests.post       a new connection and a new session for each call
    Session.post        keep-alive; cookies, hooks, redirects and the environment each time
    the same, no env    `trust_env = False`
    Transport.send      the program's: only the connection pool of requests' HTTPAdapter
"""

from __future__ import annotations

import sys
import time
from statistics import median
from typing import TYPE_CHECKING

import requests

from benchmarks.report import aligned
from integration.core.redaction import SecretMask
from integration.iterable.transport import Transport
from sandbox.options import DEFAULT_API_KEY
from sandbox.process import SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 500
ROUNDS = 5
PATH = "/api/users/update"
BODY = b'{"email":"a@example.com","dataFields":{"first_name":"Ada","plan_type":"pro"}}'
KEY = {"Api-Key": DEFAULT_API_KEY}
HEADERS = KEY | {"Content-Type": "application/json"}


def main(calls: int = CALLS) -> int:
    """Measure each client in turn, several times, and print the medians."""
    with SandboxProcess() as sandbox, requests.Session() as session, requests.Session() as bare:
        bare.trust_env = False
        url = sandbox.url + PATH
        mask = SecretMask([DEFAULT_API_KEY])
        transport = Transport(sandbox.url, timeout_seconds=10, connections=1, mask=mask)
        ways: dict[str, Callable[[], object]] = {
            "requests.post": lambda: requests.post(url, BODY, headers=HEADERS, timeout=10),
            "Session.post": lambda: session.post(url, BODY, headers=HEADERS, timeout=10),
            "the same, no env": lambda: bare.post(url, BODY, headers=HEADERS, timeout=10),
            "Transport.send": lambda: transport.send(PATH, BODY, KEY),
        }
        rounds = [{name: _seconds(way, calls) for name, way in ways.items()} for _ in range(ROUNDS)]
        transport.close()
    medians = {name: median(one[name] for one in rounds) / calls for name in ways}
    rows = [("way", "CPU us/call", "ratio")]
    for name, seconds in medians.items():
        ratio = seconds / medians["Transport.send"]
        rows.append((name, f"{seconds * 1e6:.0f}", f"{ratio:.1f}"))
    print("\n".join(aligned(rows)))
    return 0


def _seconds(way: Callable[[], object], calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        way()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
