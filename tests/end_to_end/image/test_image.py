"""What the image promises, seen in a container of it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.config.arguments import __version__
from sandbox.options import SandboxOptions
from sandbox.private_mysql import free_port
from sandbox.process import SandboxProcess
from tests.support.image import first_process
from tests.support.runs import Customer, database_of

if TYPE_CHECKING:
    import subprocess

    from tests.support.image import Image

MAX_BYTES = 200_000_000
MAX_STOP_SECONDS = 5
MAX_WAIT_SECONDS = 60


def stopped(process: subprocess.Popen[str]) -> tuple[int, float, str]:
    """The exit code after a SIGTERM, how many seconds it took, and what was printed."""
    started = time.monotonic()
    os.kill(first_process(process), signal.SIGTERM)
    output, _ = process.communicate(timeout=MAX_WAIT_SECONDS)
    return process.returncode, time.monotonic() - started, output


def test_it_is_small(image: Image) -> None:
    """Base included."""
    assert image.size < MAX_BYTES


def test_it_says_what_it_is(image: Image) -> None:
    """User, stop signal, volumes, health check, labels."""
    settings = image.settings
    assert settings["User"] == "10001:10001"
    assert settings["StopSignal"] == "SIGTERM"
    assert set(settings["Volumes"]) == {"/state", "/output"}
    assert settings["Healthcheck"]["Test"] == ["CMD", "healthy", "serve"]
    assert settings["Cmd"] == ["serve"]
    assert settings["Labels"]["org.opencontainers.image.revision"] == "tested"
    assert settings["Labels"]["org.opencontainers.image.version"] == __version__


def test_it_has_the_program_and_nothing_of_the_checkout(image: Image) -> None:
    """No history, tests, settings or installer."""
    assert {path.name for path in (image.root / "app").iterdir()} == {
        *("LICENSE", "requirements.txt", "database_setup.sql", "phase2_queries.sql"),
        *("main.py", "cli.py", "db_connection.py", "iterable_client.py", "logger_config.py"),
        *("integration", "sandbox", "__pycache__"),
    }
    assert not list((image.root / "opt/venv").glob("**/site-packages/pip"))


@pytest.mark.parametrize("command", ["deliver", "ingest", "serve"])
def test_each_command_explains_itself(image: Image, tmp_path: Path, command: str) -> None:
    """The image has all packages that it imports."""
    code, output = image.run(tmp_path, command, "--help")

    assert code == 0, output
    assert output.startswith("usage: ")


def test_it_runs_as_its_user_and_cannot_write(image: Image, tmp_path: Path) -> None:
    """Except in the volumes and in /tmp."""
    code, output = image.run(
        tmp_path,
        *("sh", "-c", "id -u; grep CapEff /proc/self/status; touch /state/a /output/b /tmp/c"),
    )
    assert (code, output.split()) == (0, ["10001", "CapEff:", "0000000000000000"])

    code, output = image.run(tmp_path, "touch", "/app/a")
    assert code == 1
    assert "Read-only file system" in output


def test_it_delivers_the_demo(image: Image, tmp_path: Path) -> None:
    """With a read-only root; the files are in the volume and belong to the user."""
    code, output = image.run(tmp_path, "deliver", "--demo", "--output-dir", "/output")

    assert code == 0, output
    (results,) = (tmp_path / "output").glob("integration_results_*.json")
    assert len(json.loads(results.read_text(encoding="utf-8"))["records"]) == 3
    assert results.stat().st_uid == 10001


def test_the_window_answers_and_ends_in_order(image: Image, tmp_path: Path) -> None:
    """The default command; the health check passes, without a database, too."""
    database_of(tmp_path / "shop.db", [Customer("ada@example.com")])
    (tmp_path / "state").mkdir()
    (tmp_path / "shop.db").rename(tmp_path / "state/shop.db")
    port = str(free_port())
    environment = {"DB_ENGINE": "sqlite", "DB_NAME": "/state/shop.db", "SERVICE_PORT": port}
    assert image.run(tmp_path, "healthy", "serve", environment=environment)[0] == 1

    process = image.start(tmp_path, environment=environment)
    try:
        answer = live(process, port)
        healthy = image.run(tmp_path, "healthy", "serve", environment=environment)
    finally:
        code, seconds, output = stopped(process)

    assert answer["status"] == "live"
    assert healthy[0] == 0, healthy[1]
    assert code == 143, output
    assert seconds < MAX_STOP_SECONDS


def live(process: subprocess.Popen[str], port: str) -> dict[str, str]:
    """What /live answers, once it does."""
    give_up = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=5) as response:
                return dict(json.load(response))
        except OSError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < give_up
            time.sleep(0.1)


def test_a_delivery_ends_in_order(image: Image, tmp_path: Path) -> None:
    """Process 1 gets the signal: 143 within five seconds, and a whole journal to resume from."""
    customers = [Customer(f"user{number}@example.com") for number in range(2000)]
    database_of(tmp_path / "shop.db", customers)
    (tmp_path / "state").mkdir()
    (tmp_path / "shop.db").rename(tmp_path / "state/shop.db")
    with SandboxProcess(SandboxOptions(latency=0.05)) as sandbox:
        environment = {
            "DB_ENGINE": "sqlite",
            "DB_NAME": "/state/shop.db",
            "ITERABLE_API_KEY": "sandbox-key",
            "ITERABLE_API_BASE_URL": sandbox.url,
            "DELIVERY_MODE": "single",
            "MAX_WORKERS": "4",
        }
        process = image.start(tmp_path, "deliver", environment=environment)
        while len(sandbox.state()["users"]) < 20:
            assert process.poll() is None
            time.sleep(0.05)
        code, seconds, output = stopped(process)
        status = image.run(tmp_path, "deliver", "--status", environment=environment)

    assert code == 143, output
    assert seconds < MAX_STOP_SECONDS
    with closing(sqlite3.connect(tmp_path / "state/iterable_journal.db")) as journal:
        assert journal.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert "was interrupted" in status[1]
    assert "--resume" in status[1]


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.2, 0.4])
def test_a_signal_during_the_start_is_not_lost(
    image: Image, tmp_path: Path, seconds: float
) -> None:
    """The kernel discards signals to process 1 that have no handler."""
    environment = {"DB_ENGINE": "sqlite", "DB_NAME": "/state/none.db", "SERVICE_PORT": "0"}
    process = image.start(tmp_path, "serve", environment=environment)
    wait_until_python_runs(process)
    time.sleep(seconds)

    code, duration, output = stopped(process)

    assert code == 143, output
    assert duration < MAX_STOP_SECONDS


def wait_until_python_runs(process: subprocess.Popen[str]) -> None:
    """Until the shell has become Python, and Python reads the program's own modules."""
    number = first_process(process)
    give_up = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < give_up:
        if b"cli.py" in Path(f"/proc/{number}/cmdline").read_bytes():
            time.sleep(0.1)  # Python itself, before the first line of the program
            return
        time.sleep(0.01)
    pytest.fail("it does not start")
