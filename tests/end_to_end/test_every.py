"""`main.py --every` as a process."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from sandbox.process import SandboxProcess
from tests.support.runs import Customer, database_of, environment_for, finish, start, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_it_delivers_again_until_a_signal_arrives(tmp_path: Path) -> None:
    """Each run has its own results file; the signal ends the wait between two of them."""
    database = database_of(tmp_path / "shop.db", [Customer("ada@example.com")])
    with SandboxProcess() as sandbox:
        environment = environment_for(tmp_path, sandbox, database)
        process = start(tmp_path, environment, "--incremental", "--every", "0.5")
        wait_until(process, lambda: len(list(tmp_path.glob("integration_results_*.json"))) > 1)
        process.send_signal(signal.SIGTERM)
        done = finish(tmp_path, process)
        users = sandbox.state()["users"]

    assert done.exit_code == 143, done.stderr
    assert list(users) == ["ada@example.com"]


def test_a_wrong_setting_is_reported_at_once(tmp_path: Path) -> None:
    """With the exit code of the delivery."""
    done = finish(tmp_path, start(tmp_path, {"DB_ENGINE": "sqlite"}, "--every", "3600"))

    assert done.exit_code == 78
    assert "Missing required environment variables" in done.stderr
