"""One run as a real process against its own sandbox, and its cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine
from benchmarks.outcome import problems_at_iterable, problems_of_run
from sandbox.options import DEFAULT_API_KEY, SandboxOptions
from sandbox.process import SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.cases import Case
    from benchmarks.sources import Source

ROOT = Path(__file__).resolve().parent.parent
MAIN = ROOT / "main.py"
STOPWATCH = Path(__file__).with_name("stopwatch.py")
LATENCY_SECONDS = 0.05
# The program's value for "no limit".
ANY_SHARE = 1_000_000
MAX_RUN_SECONDS = 1_800


@dataclass(frozen=True)
class Figures:
    """The cost of a run of `users` users.

    `start_seconds` is the time from the process's start to its first write call, and
    `delivery_seconds` that from the first to the last one, as the sandbox saw them arrive; both are
    0 if there was none. `seconds` is the process from its start to its exit. `journal_bytes` is the
    growth of the journal's file. `busy_elsewhere` is the share of the machine used by processes
    other than the program, its database and the sandbox; None where the system does not report it.
    """

    users: int
    seconds: float
    start_seconds: float
    delivery_seconds: float
    cpu_seconds: float
    server_cpu_seconds: float
    peak_bytes: int
    journal_bytes: int
    calls: int
    refused_429: int
    busy_elsewhere: float | None
    problems: tuple[str, ...]

    @property
    def delivery_rate(self) -> float:
        """Users per second of delivery, or 0 if no call was made."""
        return self.users / self.delivery_seconds if self.delivery_seconds else 0.0

    @property
    def run_rate(self) -> float:
        """Users per second of the whole run."""
        return self.users / self.seconds

    @property
    def cpu_per_user(self) -> float:
        """Seconds of CPU time of the program, user and system, per user."""
        return self.cpu_seconds / self.users


def measure(case: Case, users: int, source: Source, folder: Path) -> Figures:
    """Run a case once in an empty folder and check that no user was lost."""
    options = SandboxOptions(limits=float(case.limited), latency=LATENCY_SECONDS)
    with ExitStack() as cleanup:
        if case.is_program:
            database = cleanup.enter_context(source.with_users(users, folder))
        sandbox = cleanup.enter_context(SandboxProcess(options))
        if case.is_program:
            variables = _variables(case, sandbox.url, database)
            if case.incremental:
                _timed([str(MAIN)], variables, folder)
                _delete_results(folder)
            calls_before = _calls(sandbox.stats())
            journal_before = _journal_bytes(folder)
            others = _Others(source)
            arguments = ["--incremental"] if case.incremental else []
            used = _timed([str(MAIN), *arguments], variables, folder)
        else:
            calls_before = journal_before = 0
            others = _Others(source)
            loop = ["-m", "benchmarks.plain_loop", sandbox.url, str(users), *case.arguments]
            used = _timed(loop, {"PYTHONPATH": str(ROOT)}, folder)
        stats = sandbox.stats()
        calls = _calls(stats) - calls_before
        elsewhere = others.share(used["cpu_seconds"] + stats["cpu_seconds"], used["seconds"])
    return Figures(
        users=users,
        seconds=used["seconds"],
        start_seconds=stats["first_call_unix_time"] - used["started_unix_time"] if calls else 0.0,
        delivery_seconds=(
            stats["last_call_unix_time"] - stats["first_call_unix_time"] if calls else 0.0
        ),
        cpu_seconds=used["cpu_seconds"],
        server_cpu_seconds=stats["cpu_seconds"],
        peak_bytes=used["peak_bytes"],
        journal_bytes=_journal_bytes(folder) - journal_before,
        calls=calls,
        refused_429=sum(answers.get("429", 0) for answers in stats["answers"].values()),
        busy_elsewhere=elsewhere,
        problems=(
            *(problems_at_iterable(stats, users)),
            *(problems_of_run(folder, users, case.outcome) if case.is_program else ()),
            *([f"{calls} calls for unchanged users"] if case.incremental and calls else ()),
            *([f"exit code {used['exit_code']}"] if used["exit_code"] else ()),
        ),
    )


def _calls(stats: Mapping[str, Any]) -> int:
    return sum(stats["calls"].values())


def _journal_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("iterable_journal.db*"))


def _delete_results(folder: Path) -> None:
    for file in (*folder.glob("query_results_*.csv"), *folder.glob("integration_results_*.json")):
        file.unlink()


class _Others:
    """Measures what other processes on the machine use, from its construction on."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._busy = machine.busy_seconds()
        self._database = source.cpu_seconds()

    def share(self, our_seconds: float, seconds: float) -> float | None:
        """Their share of the machine's CPU time; `our_seconds` are the program's and sandbox's."""
        busy = machine.busy_seconds()
        if busy is None or self._busy is None:
            return None
        database = self._source.cpu_seconds() - self._database
        theirs = busy - self._busy - our_seconds - database
        return max(theirs, 0.0) / (seconds * machine.usable_cores())


def _variables(case: Case, url: str, database: Mapping[str, str]) -> dict[str, str]:
    """The program's whole configuration."""
    return {
        **database,
        "ITERABLE_API_KEY": DEFAULT_API_KEY,
        "ITERABLE_API_BASE_URL": url,
        "DELIVERY_MODE": case.mode,
        "RATE_LIMIT_SHARE": str(1 if case.limited else ANY_SHARE),
        "LOG_FILE": "run.log",
    }


def _timed(arguments: Sequence[str], variables: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """Run Python with these arguments and no other variables; the stopwatch's report."""
    report = folder / "stopwatch.json"
    command = [sys.executable, "-I", "-S", str(STOPWATCH), str(report), sys.executable, *arguments]
    base = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
    with (folder / "console.txt").open("wb") as console:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=base | dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
        try:
            process.wait(MAX_RUN_SECONDS)
        except BaseException:
            # The stopwatch and the process that it measures are a separate process group.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    figures: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return figures
