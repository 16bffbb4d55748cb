"""How a run is stopped early, with real signals to a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.core.shutdown import (
    INTERRUPTIONS,
    Interrupted,
    Stop,
    StopReason,
    wait_in_main_thread,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
MAX_WAIT_SECONDS = 30
RULE = StopReason("stopped", "Iterable refused the key", ExitCode.KEY_REFUSED)
OTHER = StopReason("stopped", "Iterable is unreachable", ExitCode.UNAVAILABLE)

# Waits are short: a signal that arrives just before a long one would be handled after it.
PREAMBLE = """
import itertools, os, select, sys, threading, time
from integration.core.exit_codes import ExitCode
from integration.core.shutdown import Interrupted, SignalWatch, Stop, StopReason

stop = Stop()
# A clock that jumps: each signal comes ten seconds after the one before.
signals = SignalWatch(stop, itertools.count(0, 10).__next__)
rule = StopReason("stopped", "Iterable refused the key", ExitCode.KEY_REFUSED)
"""
BEFORE_THE_FIRST_CALL = """
try:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
except Interrupted as interruption:
    print(interruption, flush=True)
    sys.exit(interruption.reason.exit_code)
"""
WHILE_CALLS_ARE_UNDER_WAY = """
signals.let_calls_finish()
woken = []
worker = threading.Thread(target=lambda: woken.append(stop.wait(30)))
worker.start()
print("ready", flush=True)
while worker.is_alive():
    worker.join(0.01)
print(woken, flush=True)
print(stop.reason.text, flush=True)
while not select.select([sys.stdin], [], [], 0.01)[0]:
    pass
print("files are written", flush=True)
sys.exit(stop.reason.exit_code)
"""
# Prints a line when it receives a signal: two pending ones are handled in numerical order.
AFTER_A_RULE_STOPPED_IT = f"""
hear = stop.request
def hear_aloud(reason):
    hear(reason)
    os.write(1, f"heard {{reason.text}}\\n".encode())  # print may be what is interrupted
hear(rule)
stop.request = hear_aloud
{WHILE_CALLS_ARE_UNDER_WAY}
"""


TWO_AT_ONCE = """
signals = SignalWatch(stop, lambda: 0.0)
signals.let_calls_finish()
print("ready", flush=True)
while not stop.requested():
    time.sleep(0.01)
print(stop.reason.text, flush=True)
while not select.select([sys.stdin], [], [], 0.01)[0]:
    pass
print("files are written", flush=True)
sys.exit(stop.reason.exit_code)
"""
SWALLOWED = """
class Swallowing:
    def __del__(self):
        print("ready", flush=True)
        while True:
            time.sleep(0.01)  # the signal's exception is raised here, and dropped by Python

sys.unraisablehook = lambda _: None
thing = Swallowing()
del thing
try:
    signals.let_calls_finish()
except Interrupted as interruption:
    sys.exit(interruption.reason.exit_code)
sys.exit(0)
"""


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs this code, up to its line "ready"."""
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # A process that hangs fails the test instead of blocking it.
    guard = threading.Timer(MAX_WAIT_SECONDS, process.kill)
    guard.start()
    with process:
        try:
            read_until(process, "ready")
            yield process
        finally:
            guard.cancel()
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """The process's lines up to this one."""
    assert process.stdout is not None
    lines: list[str] = []
    while text not in lines:
        line = process.stdout.readline()
        assert line, f"{text!r} never came after {lines}"
        lines.append(line.rstrip("\n"))
    return lines


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Let the process write its files; returns its exit code and the rest of its output."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.close()
    printed = process.stdout.read(), process.stderr.read()
    return (process.wait(), *printed)


class TestStop:
    """The run's single stop request."""

    def test_nothing_stops_without_a_request(self) -> None:
        """Without a request a wait takes its full time."""
        stop = Stop()
        assert not stop.requested()
        assert not stop.wait(0)

    def test_the_first_reason_stays(self) -> None:
        """A later reason is not why the run stopped."""
        stop = Stop()
        stop.request(RULE)
        stop.request(OTHER)
        assert stop.reason is RULE
        assert stop.requested()

    def test_a_request_ends_a_wait(self) -> None:
        """A stop does not wait for a backoff of a minute."""
        stop = Stop()
        threading.Timer(0.01, stop.request, [RULE]).start()
        assert stop.wait(MAX_WAIT_SECONDS)

    def test_an_interruption_is_not_an_ordinary_exception(self) -> None:
        """`except Exception` in a library must not swallow Ctrl-C."""
        interruption = Interrupted(INTERRUPTIONS[signal.SIGINT])
        assert not isinstance(interruption, Exception)
        assert str(interruption) == "interrupted by SIGINT (Ctrl-C)"


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
class TestSignals:
    """The exit code follows the shell's convention: 128 plus the signal's number."""

    def test_before_the_first_call_the_run_is_interrupted(
        self, number: signal.Signals, exit_code: int
    ) -> None:
        """Nothing was sent: there is nothing to wait for."""
        with running(BEFORE_THE_FIRST_CALL) as process:
            os.kill(process.pid, number)
            code, stdout, stderr = finish(process)
        assert (code, stderr) == (exit_code, "")
        assert stdout.startswith(f"interrupted by {number.name}")

    def test_the_first_signal_lets_calls_finish(
        self, number: signal.Signals, exit_code: int
    ) -> None:
        """Waits end, calls finish, files are written."""
        with running(WHILE_CALLS_ARE_UNDER_WAY) as process:
            os.kill(process.pid, number)
            read_until(process, "[True]")
            code, stdout, stderr = finish(process)
        assert (code, stderr) == (exit_code, "")
        reason = INTERRUPTIONS[number]
        assert reason.status == "interrupted"
        assert stdout == f"{reason.text}\nfiles are written\n"

    def test_the_second_signal_ends_the_process_immediately(
        self, number: signal.Signals, exit_code: int
    ) -> None:
        """A second request must not wait; the journal survives it like a kill."""
        first = next(other for other in INTERRUPTIONS if other is not number)
        with running(WHILE_CALLS_ARE_UNDER_WAY) as process:
            os.kill(process.pid, first)
            read_until(process, INTERRUPTIONS[first].text)
            os.kill(process.pid, number)
            assert process.wait() == exit_code
            assert process.stdout is not None
            assert process.stdout.read() == ""

    def test_two_simultaneous_signals_count_as_one(
        self, number: signal.Signals, exit_code: int
    ) -> None:
        """GNU timeout signals its child, and then the child's process group."""
        with running(TWO_AT_ONCE) as process:
            os.kill(process.pid, number)
            read_until(process, INTERRUPTIONS[number].text)
            os.kill(process.pid, number)
            assert finish(process) == (exit_code, "files are written\n", "")

    def test_a_signal_whose_exception_is_lost_interrupts_before_the_first_call(
        self, number: signal.Signals, exit_code: int
    ) -> None:
        """An exception in a destructor is lost, but the request is not."""
        with running(SWALLOWED) as process:
            os.kill(process.pid, number)
            assert finish(process) == (exit_code, "", "")

    def test_the_first_signal_after_an_automatic_stop_still_lets_files_be_written(
        self, number: signal.Signals, exit_code: int
    ) -> None:
        """The run is already stopping, but for its own reason, which is kept."""
        with running(AFTER_A_RULE_STOPPED_IT) as process:
            read_until(process, RULE.text)
            os.kill(process.pid, number)
            read_until(process, f"heard {INTERRUPTIONS[number].text}")
            assert finish(process) == (77, "files are written\n", "")

    def test_the_second_signal_after_an_automatic_stop_ends_the_process_immediately(
        self, number: signal.Signals, exit_code: int
    ) -> None:
        """Two signals are two signals, whatever stopped the run."""
        first = next(other for other in INTERRUPTIONS if other is not number)
        with running(AFTER_A_RULE_STOPPED_IT) as process:
            read_until(process, RULE.text)
            os.kill(process.pid, first)
            read_until(process, f"heard {INTERRUPTIONS[first].text}")
            os.kill(process.pid, number)
            assert process.wait() == exit_code


class TestWaitInMainThread:
    """The wait of the thread that receives signals."""

    def test_it_ends_when_the_time_is_over(self) -> None:
        """No stop was requested."""
        assert wait_in_main_thread(Stop(), 0.05) is False

    def test_it_ends_when_a_stop_is_requested(self) -> None:
        """Long before the time is over."""
        stop = Stop()
        asking = threading.Timer(0.05, stop.request, [INTERRUPTIONS[signal.SIGTERM]])
        asking.start()

        assert wait_in_main_thread(stop, 60) is True
        asking.join()
