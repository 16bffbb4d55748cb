"""`cli.py serve` as a process, asked by the load generator, and what both cost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.ingest_runs import CLI
from benchmarks.machine import process_seconds
from benchmarks.measure import ROOT, Others
from benchmarks.window_client import Plan, Report
from benchmarks.window_figures import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.sources import Source

CONNECTIONS = 8
START_SECONDS = 60
STOP_SECONDS = 30
_PLACE = re.compile(r"The window is at http://\S+?:(\d+)/")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Service:
    """A running window, and the database that it reads."""

    pid: int
    port: int
    source: Source

    @property
    def peak_bytes(self) -> int:
        """The largest resident memory so far, or 0 where Linux does not report it."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        except OSError:
            return 0
        found = _PEAK.search(status)
        return int(found[1]) * 1024 if found else 0

    def plan(self, *paths: str, **options: float) -> Plan:
        """A plan for this service."""
        return Plan(self.port, list(paths), **options)  # type: ignore[arg-type]

    def measure(self, plan: Plan) -> tuple[Sample, Report]:
        """Carry out a plan in a process of its own."""
        others, started = Others(self.source), time.monotonic()
        service, server = process_seconds(self.pid), self.source.cpu_seconds()
        report = Report(**run_module("benchmarks.window_client", asdict(plan)))
        service = process_seconds(self.pid) - service
        server = self.source.cpu_seconds() - server
        # The client's start and end too, in which others may be at work.
        elapsed = time.monotonic() - started
        too_slow = report.statuses.get("503", 0)
        return Sample(
            count=len(report.latencies),
            seconds=report.seconds,
            latencies=tuple(report.latencies),
            too_slow=too_slow,
            received_bytes=report.received_bytes,
            service_cpu_seconds=service,
            server_cpu_seconds=server,
            peak_bytes=self.peak_bytes,
            load_average=os.getloadavg()[0],
            busy_elsewhere=others.share(service + report.cpu_seconds, elapsed),
            problems=tuple(
                f"{number} answers with status {status}"
                for status, number in report.statuses.items()
                if status not in {"200", "503"}
            ),
        ), report

    def sample(self, *paths: str, **options: float) -> Sample:
        """Ask for paths."""
        return self.measure(self.plan(*paths, **options))[0]


def run_module(module: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Run a module of the benchmarks with a plan; its report."""
    done = subprocess.run(
        [sys.executable, "-m", module],
        input=json.dumps(plan),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module}: {done.stderr.strip()}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@contextmanager
def serving(
    source: Source, database: Mapping[str, str], folder: Path, journal: Path
) -> Iterator[Service]:
    """Start the window in a folder, which has its sources; it ends with the block."""
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "LANG": "C.UTF-8",
        "DB_ENGINE": "mysql",
        "LOG_FILE": "serve.log",
        "JOURNAL_FILE": str(journal),
        **database,
    }
    output = folder / "serve.txt"
    with output.open("wb") as console:
        process = subprocess.Popen(
            [sys.executable, str(CLI), "serve", "--port", "0"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
    try:
        yield Service(process.pid, _port_of(process, output), source)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port_of(process: subprocess.Popen[bytes], output: Path) -> int:
    """The port, once the service accepts connections."""
    give_up = time.monotonic() + START_SECONDS
    while True:
        # Before the limit is checked: the whole machine may have been paused.
        is_late = process.poll() is not None or time.monotonic() >= give_up
        found = _PLACE.search(output.read_text(encoding="utf-8"))
        if found:
            return int(found[1])
        if is_late:
            break
        time.sleep(0.05)
    raise RuntimeError(f"cli.py serve does not start: {output.read_text(encoding='utf-8')}")
