"""The program as a real process, and the files it leaves."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from db_connection import DatabaseSettings
    from sandbox.process import SandboxProcess

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "main.py"
MAX_RUN_SECONDS = 120
SECONDS_BETWEEN_LOOKS = 0.01
# Nearly the longest pause that the program accepts from Iterable. Meanwhile the run makes no
# call, and a stop ends the pause immediately: there is time to look and to act.
PAUSE = {"kind": "status", "status": 429, "headers": {"Retry-After": "55"}}


@dataclass(frozen=True)
class Customer:
    """A pro customer with one recent view, for a database made by `database_of`."""

    email: str | None
    first_name: str | None = "Ada"
    last_name: str | None = "Lovelace"
    candidate: str | None = "yes"
    browser: str | None = "Chrome"
    location: str | None = "London"


@dataclass(frozen=True)
class RunResult:
    """A finished run of the program in `folder`."""

    folder: Path
    exit_code: int
    stdout: str
    stderr: str

    @property
    def log(self) -> str:
        """The log file."""
        return (self.folder / "run.log").read_text(encoding="utf-8")

    @property
    def results(self) -> dict[str, Any]:
        """The only results file."""
        (path,) = self.folder.glob("integration_results_*.json")
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return results

    @property
    def records(self) -> dict[str | None, dict[str, Any]]:
        """The results file's records by email."""
        return {record["email"]: record for record in self.results["records"]}

    @property
    def csv_rows(self) -> list[dict[str, str]]:
        """The only CSV, as its reader sees it."""
        (path,) = self.folder.glob("query_results_*.csv")
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def messages(self) -> list[str]:
        """The log's messages of INFO and above, in order."""
        lines = [line.split(" - ", 3) for line in self.log.splitlines()]
        return [line[3] for line in lines if len(line) == 4 and line[2] != "DEBUG"]


def environment_for(
    folder: Path, sandbox: SandboxProcess | None, database: DatabaseSettings | Path | None
) -> dict[str, str]:
    """A complete configuration; without a sandbox or database, ports that nothing listens on."""
    values = {
        "ITERABLE_API_KEY": "sandbox-key",
        "ITERABLE_API_BASE_URL": sandbox.url if sandbox else "http://127.0.0.1:9",
        "LOG_FILE": "run.log",
    }
    if isinstance(database, Path):
        return values | {"DB_ENGINE": "sqlite", "DB_NAME": str(database)}
    return values | {
        "DB_HOST": ",".join(database.hosts) if database else "127.0.0.1",
        "DB_PORT": str(database.port if database else 9),
        "DB_USER": database.user if database else "none",
        "DB_PASSWORD": database.password if database else "",
        "DB_NAME": database.name if database else "nothing",
    }


def start(
    folder: Path, environment: Mapping[str, str], *arguments: str, **options: Any
) -> subprocess.Popen[str]:
    """Start the program in `folder` with only these variables set."""
    inherited = {name: os.environ[name] for name in os.environ if name.startswith("COVERAGE_")}
    base = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONWARNINGS": "error"}
    return subprocess.Popen(
        [sys.executable, str(MAIN), *arguments],
        cwd=folder,
        env=base | inherited | dict(environment),
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )


def finish(folder: Path, process: subprocess.Popen[str]) -> RunResult:
    """Wait for a started program to end."""
    stdout, stderr = process.communicate(timeout=MAX_RUN_SECONDS)
    return RunResult(folder, process.returncode, stdout, stderr)


def wait_until(
    process: subprocess.Popen[str],
    condition: Callable[[], bool],
    seconds_between_looks: float = SECONDS_BETWEEN_LOOKS,
) -> None:
    """Wait for something that happens while the program runs; fails the test if it ends first."""
    give_up = time.monotonic() + MAX_RUN_SECONDS
    while not condition():
        try:
            # Reads what the process prints, which would stop at a full pipe.
            stdout, stderr = process.communicate(timeout=seconds_between_looks)
        except subprocess.TimeoutExpired:
            if time.monotonic() < give_up:
                continue
            process.kill()
            pytest.fail(f"not within {MAX_RUN_SECONDS} s: {process.communicate()}")
        # The condition may have come true at the very end.
        if condition():
            return
        pytest.fail(
            f"the program ended before, with exit code {process.returncode}: {stderr}{stdout}"
        )


def pause_at(sandbox: SandboxProcess, email: str) -> Callable[[], bool]:
    """Let a run pause at this user's event; returns a check of whether it has got there."""
    sandbox.faults([{"endpoint": "events/track", "email": email, **PAUSE}])
    return lambda: is_script_over(sandbox)


def is_script_over(sandbox: SandboxProcess) -> bool:
    """Whether all faults of the mock server's script have been used."""
    return bool(sandbox.stats()["faults_pending"] == 0)


@contextmanager
def suspended(sandbox: SandboxProcess) -> Iterator[None]:
    """Suspend the mock server: no client gets an answer, not even one that reads its record."""
    assert sandbox.pid is not None
    os.kill(sandbox.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(sandbox.pid, signal.SIGCONT)


def has_logged(folder: Path, text: str) -> bool:
    """Whether the log in `folder` contains this text yet."""
    log = folder / "run.log"
    return log.exists() and text in log.read_text(encoding="utf-8")


def run(folder: Path, environment: Mapping[str, str], *arguments: str) -> RunResult:
    """Run the program in `folder` to its end."""
    return finish(folder, start(folder, environment, *arguments))


def database_of(path: Path, customers: Iterable[Customer | str | None]) -> Path:
    """An SQLite database in which Query 2 finds exactly these customers, in this order.

    Its tables have no constraints: customers' own databases may not have them either.
    """
    viewed = datetime.now(UTC) - timedelta(hours=3)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "CREATE TABLE customers (id, email, first_name, last_name, plan_type, candidate);"
            "CREATE TABLE page_views (id, user_id, page, device, browser, location, event_time);"
        )
        for number, given in enumerate(customers, start=1):
            customer = given if isinstance(given, Customer) else Customer(given)
            connection.execute(
                "INSERT INTO customers VALUES (?, ?, ?, ?, 'pro', ?)",
                (
                    number,
                    customer.email,
                    customer.first_name,
                    customer.last_name,
                    customer.candidate,
                ),
            )
            connection.execute(
                "INSERT INTO page_views VALUES (?, ?, 'pricing', 'desktop', ?, ?, ?)",
                (
                    number,
                    number,
                    customer.browser,
                    customer.location,
                    f"{viewed + timedelta(seconds=number):%Y-%m-%d %H:%M:%S}",
                ),
            )
    return path
