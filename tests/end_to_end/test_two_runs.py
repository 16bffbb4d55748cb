"""Two runs started simultaneously on one journal."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from tests.support.fault_matrix import (
    calls_seen,
    evidence,
    unfinished_business,
    violations,
    wanted_of,
)
from tests.support.runs import (
    database_of,
    environment_for,
    finish,
    pause_at,
    run,
    start,
    suspended,
    wait_until,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.process import SandboxProcess

USERS = 60


def test_of_two_simultaneous_runs_one_delivers_and_the_other_exits_immediately(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """One exits 0; the other 75 before the first is half done, with one line, nothing sent."""
    emails = [f"user{number}@example.com" for number in range(USERS)]
    database = database_of(tmp_path / "customers.sqlite", emails)
    environment = environment_for(tmp_path, sandbox, database) | {
        "RATE_LIMIT_SHARE": "10000",
        "REQUEST_TIMEOUT": "60",
    }
    with ThreadPoolExecutor(2) as two:
        # The delivering run waits for its first answer until the other has exited.
        with suspended(sandbox):
            processes = [start(tmp_path, environment) for _ in range(2)]
            ending = {two.submit(finish, tmp_path, process): process for process in processes}
            (ended, *_), _ = wait(ending, return_when=FIRST_COMPLETED)
            leaving_process = ending[ended]
            others_code = [p.poll() for p in processes if p is not leaving_process]
        leaving = ended.result()
        (delivering,) = [ran.result() for ran in ending if ran is not ended]

    assert (leaving.exit_code, others_code) == (75, [None])
    assert delivering.exit_code == 0
    (line,) = leaving.stderr.splitlines()
    assert "Another run holds" in line
    assert calls_seen(sandbox) == 2 * USERS
    found, wanted = evidence(tmp_path, sandbox), wanted_of(database)
    assert violations(wanted, found) + unfinished_business(wanted, found) == []
    assert len(found.journal) == len(found.results) == 1


def test_after_a_kill_the_lock_is_free_immediately(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """The lock is released with its process: --resume needs no waiting and no cleanup."""
    database = database_of(tmp_path / "customers.sqlite", ["a@example.com", "b@example.com"])
    environment = environment_for(tmp_path, sandbox, database)
    has_paused = pause_at(sandbox, "a@example.com")
    process = start(tmp_path, environment)
    wait_until(process, has_paused)
    process.kill()
    finish(tmp_path, process)

    assert run(tmp_path, environment, "--resume").exit_code == 0
