"""One run as a real process against its own sandbox, and its cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import machine
from benchmarks.outcome import problems_at_iterable, problems_of_run
from benchmarks.wide import write_wide_query
from sandbox.options import DEFAULT_API_KEY, SandboxOptions
from sandbox.process import SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.cases import Case
    from benchmarks.sources import Source

ROOT = Path(__file__).resolve().parent.parent
MAIN = ROOT / "main.py"
STOPWATCH = Path(__file__).with_name("stopwatch.py")
LATENCY_SECONDS = 0.05
# The program's value for "no limit".
ANY_SHARE = 1_000_000
MAX_RUN_SECONDS = 1_800


class Command(NamedTuple):
    """A command line and its environment; PATH and LANG are added."""

    arguments: Sequence[str]
    variables: Mapping[str, str]


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
    if not case.is_program:
        return measure_command(
            lambda url: Command(
                [sys.executable, "-m", "benchmarks.plain_loop", url, str(users), *case.arguments],
                {"PYTHONPATH": str(ROOT)},
            ),
            users,
            source,
            folder,
            limited=case.limited,
        )
    with source.with_users(users, folder) as database:
        return measure_program(
            case.mode,
            users,
            source,
            database,
            folder,
            limited=case.limited,
            incremental=case.incremental,
            wide=case.wide,
        )


def measure_program(
    mode: str,
    users: int,
    source: Source,
    database: Mapping[str, str],
    folder: Path,
    *,
    limited: bool,
    incremental: bool = False,
    wide: bool = False,
) -> Figures:
    """Run the program once for the users of a database, and check its files too.

    An incremental run follows a run that is not measured, so that no user has changed.
    """
    query = {"QUERY_FILE": write_wide_query(folder)} if wide else {}

    def command_for(url: str, *options: str) -> Command:
        variables = _variables(mode, url, database, limited=limited) | query
        return Command([sys.executable, str(MAIN), *options], variables)

    figures = measure_command(
        partial(_incremental, command_for) if incremental else command_for,
        users,
        source,
        folder,
        limited=limited,
        first=command_for if incremental else None,
    )
    outcome = "unchanged" if incremental else "successful"
    problems = [*figures.problems, *problems_of_run(folder, users, outcome)]
    if incremental and figures.calls:
        problems.append(f"{figures.calls} calls for unchanged users")
    return replace(figures, problems=tuple(problems))


def _incremental(command_for: Callable[..., Command], url: str) -> Command:
    return command_for(url, "--incremental")


def measure_command(
    command_for: Callable[[str], Command],
    users: int,
    source: Source,
    folder: Path,
    *,
    limited: bool,
    first: Callable[[str], Command] | None = None,
) -> Figures:
    """Run a command that sends `users` users to a new sandbox, whose address it is given.

    `first` runs before, and is not measured.
    """
    options = SandboxOptions(limits=float(limited), latency=LATENCY_SECONDS)
    with SandboxProcess(options) as sandbox:
        if first:
            timed(first(sandbox.url), folder)
            _delete_results(folder)
        calls_before, journal_before = _calls(sandbox.stats()), _journal_bytes(folder)
        others = Others(source)
        used = timed(command_for(sandbox.url), folder)
        stats = sandbox.stats()
        calls = _calls(stats) - calls_before
        elsewhere = others.share(used["cpu_seconds"] + stats["cpu_seconds"], used["seconds"])
    return Figures(
        users=users,
        seconds=used["seconds"],
        start_seconds=stats["first_call_unix_time"] - used["started_unix_time"] if calls else 0.0,
        delivery_seconds=_delivery_seconds(stats, used["seconds"]) if calls else 0.0,
        cpu_seconds=used["cpu_seconds"],
        server_cpu_seconds=stats["cpu_seconds"],
        peak_bytes=used["peak_bytes"],
        journal_bytes=_journal_bytes(folder) - journal_before,
        calls=calls,
        refused_429=sum(answers.get("429", 0) for answers in stats["answers"].values()),
        busy_elsewhere=elsewhere,
        problems=(
            *(problems_at_iterable(stats, users)),
            *([f"exit code {used['exit_code']}"] if used["exit_code"] else ()),
        ),
    )


def _delivery_seconds(stats: Mapping[str, Any], run_seconds: float) -> float:
    """The time between the first and the last call, or the run's if it made fewer than two."""
    first, last = stats["first_call_unix_time"], stats["last_call_unix_time"]
    return last - first if first is not None and last > first else run_seconds


def _calls(stats: Mapping[str, Any]) -> int:
    return sum(stats["calls"].values())


def _journal_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("iterable_journal.db*"))


def _delete_results(folder: Path) -> None:
    for file in (*folder.glob("query_results_*.csv"), *folder.glob("integration_results_*.json")):
        file.unlink()


class Others:
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


def _variables(
    mode: str, url: str, database: Mapping[str, str], *, limited: bool
) -> dict[str, str]:
    """The program's whole configuration."""
    return {
        **database,
        "ITERABLE_API_KEY": DEFAULT_API_KEY,
        "ITERABLE_API_BASE_URL": url,
        "DELIVERY_MODE": mode,
        "RATE_LIMIT_SHARE": str(1 if limited else ANY_SHARE),
        "LOG_FILE": "run.log",
    }


def timed(command: Command, folder: Path, max_seconds: float = MAX_RUN_SECONDS) -> dict[str, Any]:
    """Run a command with its variables and no others; the stopwatch's report.

    Raises:
        subprocess.TimeoutExpired: it was stopped after `max_seconds`.
    """
    report = folder / "stopwatch.json"
    stopwatch = [sys.executable, "-I", "-S", str(STOPWATCH), str(report)]
    base = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
    with (folder / "console.txt").open("wb") as console:
        process = subprocess.Popen(
            [*stopwatch, *command.arguments],
            cwd=folder,
            env=base | dict(command.variables),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
        try:
            process.wait(max_seconds)
        except BaseException:
            # The stopwatch and the process that it measures are a separate process group.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    figures: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return figures
