"""Two runs started together on one journal."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from sandbox.options import SandboxOptions
from sandbox.process import SandboxProcess
from tests.fault_matrix import calls_seen, evidence, unfinished_business, violations, wanted_of
from tests.runs import Ran, database_of, environment_for, finish, run, start

if TYPE_CHECKING:
    from pathlib import Path

USERS = 60


class Timed(NamedTuple):
    """A finished run and the seconds from its start to its end."""

    ran: Ran
    seconds: float


def timed_run(folder: Path, environment: dict[str, str]) -> Timed:
    """Run the program and look at the clock."""
    began = time.monotonic()
    ran = finish(folder, start(folder, environment))
    return Timed(ran, time.monotonic() - began)


def test_of_two_runs_started_together_one_delivers_and_the_other_leaves_at_once(
    tmp_path: Path,
) -> None:
    """One exits 0; the other 75 long before, with one line, having sent nothing."""
    with SandboxProcess(SandboxOptions(latency=0.05)) as sandbox:
        emails = [f"user{number}@example.com" for number in range(USERS)]
        database = database_of(tmp_path / "customers.sqlite", emails)
        # One worker: the run that delivers lasts six seconds at least.
        environment = environment_for(tmp_path, sandbox, database) | {"MAX_WORKERS": "1"}

        with ThreadPoolExecutor(2) as two:
            pair = list(two.map(lambda _: timed_run(tmp_path, environment), range(2)))

        delivering, leaving = sorted(pair, key=lambda timed: timed.ran.exit_code)
        assert (delivering.ran.exit_code, leaving.ran.exit_code) == (0, 75)
        assert leaving.seconds < delivering.seconds / 2
        (line,) = leaving.ran.stderr.splitlines()
        assert "Another run holds" in line
        assert calls_seen(sandbox) == 2 * USERS
        found, wanted = evidence(tmp_path, sandbox), wanted_of(database)
        assert violations(wanted, found) + unfinished_business(wanted, found) == []
        assert len(found.journal) == len(found.results) == 1


def test_after_a_kill_the_lock_is_free_at_once(tmp_path: Path) -> None:
    """The lock dies with its process: --resume needs no waiting and no cleaning up."""
    with SandboxProcess(SandboxOptions(latency=0.05)) as sandbox:
        database = database_of(tmp_path / "customers.sqlite", ["a@example.com", "b@example.com"])
        environment = environment_for(tmp_path, sandbox, database)
        process = start(tmp_path, environment)
        while not calls_seen(sandbox):
            time.sleep(0.01)
        process.kill()
        finish(tmp_path, process)

        assert run(tmp_path, environment, "--resume").exit_code == 0
