"""`python -m sandbox` and the process that wraps it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from sandbox import SandboxOptions, SandboxProcess
from sandbox.__main__ import build_parser
from sandbox.faults import FAULT_KINDS
from sandbox.misbehaviour import MISBEHAVIOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[3]
READY = "Iterable sandbox listening on http://127.0.0.1:"


def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the command line until it ends."""
    command = [sys.executable, "-m", "sandbox", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )


def is_listening(url: str) -> bool:
    """Return whether a server answers."""
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname or "", address.port or 0), timeout=1).close()
    except OSError:
        return False
    return True


def test_options_reach_the_server() -> None:
    """Each option becomes an argument of the command line."""
    options = SandboxOptions(
        api_key="another-key",
        forbid_bulk=True,
        retry_after=True,
        limits=0.2,
        project_fields=("name", "plan"),
        disallowed_events=("page_view",),
    )
    with SandboxProcess(options) as sandbox:
        headers = {"Api-Key": "another-key"}
        body = {"email": "ada@example.com", "dataFields": {"name": "Ada", "age": 5}}
        url = sandbox.url + "/api/"
        assert requests.post(f"{url}users/update", json=body, headers=headers, timeout=30).ok
        bulk = requests.post(f"{url}users/bulkUpdate", json={}, headers=headers, timeout=30)
        assert bulk.status_code == 403
        stored = sandbox.state()["users"]["ada@example.com"]["dataFields"]
        assert stored == {"name": "Ada"}


def test_every_option_survives_the_command_line() -> None:
    """Every field of the options is unchanged after conversion to arguments and back."""
    options = SandboxOptions(
        api_key="another-key",
        jwt_secret="s" * 32,
        jwt_bulk_status=401,
        forbid_bulk=True,
        limits=0.2,
        burst_seconds=0.3,
        retry_after=True,
        rate_limit_reset=True,
        latency=0.5,
        project_fields=("name", "plan"),
        disallowed_events=("page_view",),
    )
    defaults = asdict(SandboxOptions())
    assert [name for name, value in asdict(options).items() if value == defaults[name]] == []
    for meant in (options, SandboxOptions()):
        parsed = vars(build_parser().parse_args(meant.to_arguments()))
        del parsed["port"], parsed["stop_with_stdin"]
        assert SandboxOptions(**parsed) == meant


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_immediately_and_quietly(number: signal.Signals) -> None:
    """Exit code 0 and no traceback, even with an open connection and a hanging call."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port=0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith(READY)
        address = urlsplit(line.split()[-1])
        with socket.create_connection(("127.0.0.1", address.port or 0)) as connection:
            connection.sendall(b"POST /api/users/update HTTP/1.1\r\n")
            process.send_signal(number)
            assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


def test_it_ends_with_the_program_that_started_it() -> None:
    """Even if that is killed and cannot clean up."""
    program = (
        "import time; from sandbox import SandboxProcess; "
        "s = SandboxProcess(); s.start(); print(s.url, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        url = parent.stdout.readline().strip()
        assert is_listening(url)
        parent.kill()
    deadline = time.monotonic() + 30
    while is_listening(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_listening(url)


def test_it_can_be_stopped_twice() -> None:
    """The first stop returns the exit code, the second nothing."""
    sandbox = SandboxProcess()
    sandbox.start()
    assert sandbox.pid
    assert sandbox.stop() == 0
    assert sandbox.stop() is None
    assert sandbox.pid is None
    assert not is_listening(sandbox.url)


def test_one_that_does_not_answer_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A suspended process cannot react; it must not outlive the test run."""
    monkeypatch.setattr("sandbox.process._STOP_SECONDS", 0.1)
    sandbox = SandboxProcess()
    sandbox.start()
    assert sandbox._process
    sandbox._process.send_signal(signal.SIGSTOP)
    assert sandbox.stop() == -signal.SIGKILL


def test_a_port_in_use_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    """The message names the port; the wrapper raises."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match="did not start"):
            SandboxProcess(port=port).start()
    assert capfd.readouterr().err == f"Cannot listen on port {port}: Address already in use\n"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--port=99999", "--port: 99999 is not a whole number from 0 to 65535"),
        ("--latency=soon", "--latency: Input should be a valid number"),
        ("--jwt-bulk-status=500", "--jwt-bulk-status: Input should be 401 or 403"),
        ("--limits=-1", "--limits: Input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_option_is_explained(argument: str, message: str) -> None:
    """Exit code 2, and a line that says what was expected."""
    result = run([argument])
    assert result.returncode == 2
    assert message in result.stderr


def test_the_help_explains_everything() -> None:
    """--help contains examples, addresses, faults and paths."""
    result = run(["--help"])
    assert result.returncode == 0
    named = [*(m.prefix for m in MISBEHAVIOURS), *FAULT_KINDS, "examples:", "/_sandbox/state"]
    assert [word for word in named if word not in result.stdout] == []
