"""A load generator in a process of its own: `python -m benchmarks.window_client`.

It reads a `Plan` as JSON from standard input, asks for its paths over keep-alive connections, and
prints a `Report` as JSON. Its sockets are plain streams: the service has to share the machine with
as little else as possible.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNK = 1 << 16


@dataclass(frozen=True)
class Plan:
    """What to ask for.

    Attributes:
        paths: each connection asks for all of them in turn, and begins at another one.
        seconds: how long to ask; no limit with `requests`.
        requests: how many requests to make at most, or 0.
        pause_seconds: from an answer to the next request on its connection.
        is_download: read one path of any length, and count its lines.
    """

    port: int
    paths: list[str]
    connections: int = 1
    seconds: float = 0.0
    requests: int = 0
    pause_seconds: float = 0.0
    is_download: bool = False


@dataclass
class Report:
    """What was answered.

    Attributes:
        latencies: seconds from each request to the last byte of its answer.
        statuses: how many answers had which status.
        lines: line ends of a download.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    received_bytes: int = 0
    lines: int = 0
    cpu_seconds: float = 0.0

    def count_status(self, status: str) -> None:
        """Count an answer."""
        self.statuses[status] = self.statuses.get(status, 0) + 1


def main() -> None:
    """Carry out the plan."""
    plan = Plan(**json.load(sys.stdin))
    report = Report()
    started = time.perf_counter()
    if plan.is_download:
        _download(plan, report)
    else:
        asyncio.run(_ask_all(plan, report))
    report.seconds = time.perf_counter() - started
    report.cpu_seconds = time.process_time()
    json.dump(asdict(report), sys.stdout)


async def _ask_all(plan: Plan, report: Report) -> None:
    until = time.perf_counter() + (plan.seconds or float("inf"))
    distance = max(1, len(plan.paths) // plan.connections)
    await asyncio.gather(
        *(_ask(plan, report, until, number * distance) for number in range(plan.connections))
    )


async def _ask(plan: Plan, report: Report, until: float, first: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", plan.port)
    for path in _in_turn(plan.paths, first):
        started = time.perf_counter()
        if started >= until or 0 < plan.requests <= len(report.latencies):
            break
        writer.write(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        found = LENGTH.search(head)
        if found is None:
            raise RuntimeError(f"{path}: an answer without a length")
        await reader.readexactly(int(found[1]))
        report.latencies.append(time.perf_counter() - started)
        report.count_status(head[9:12].decode())
        report.received_bytes += len(head) + int(found[1])
        if plan.pause_seconds:
            await asyncio.sleep(plan.pause_seconds)
    writer.close()


def _in_turn(paths: list[str], first: int) -> Iterator[str]:
    while True:
        yield paths[first % len(paths)]
        first += 1


def _download(plan: Plan, report: Report) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", plan.port)
    started = time.perf_counter()
    connection.request("GET", plan.paths[0])
    response = connection.getresponse()
    while chunk := response.read1(CHUNK):
        report.received_bytes += len(chunk)
        report.lines += chunk.count(b"\n")
    connection.close()
    report.latencies.append(time.perf_counter() - started)
    report.count_status(str(response.status))


if __name__ == "__main__":
    main()
