"""The units in `deploy/systemd`: valid, tightly restricted, and not too tight for the program."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.support.runs import MAIN, ROOT
from tests.support.tracing import missing_strace

if TYPE_CHECKING:
    from pathlib import Path

UNITS = ROOT / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
INSTALLED = "/opt/iterable-integration"
# From 0 (nothing is allowed) to 100; a unit without restrictions has 96.
MAX_EXPOSURE = "15"
PR_SET_MDWE = 65  # linux/prctl.h, since 6.3
MAX_SECONDS = 120
HOW_TO_GET_SYSTEMD = "systemd-analyze is not installed: apt-get install systemd (Linux only)"
# SQLite gives new files to the owner of the database, if the process is root's.
ONLY_AS_ROOT = {"fchown"}


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it if REQUIRE_SYSTEMD=1 says that it has to run."""
    if os.environ.get("REQUIRE_SYSTEMD") == "1":
        pytest.fail(f"REQUIRE_SYSTEMD=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module", autouse=True)
def analyze() -> str:
    """The path of systemd-analyze."""
    return shutil.which("systemd-analyze") or missing(HOW_TO_GET_SYSTEMD)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that prints text."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=MAX_SECONDS)


def test_the_units_are_valid(analyze: str, tmp_path: Path) -> None:
    """With the paths of this checkout, since the commands must exist."""
    for unit in UNITS.iterdir():
        text = unit.read_text(encoding="utf-8").replace(
            f"{INSTALLED}/.venv/bin/python", sys.executable
        )
        (tmp_path / unit.name).write_text(text.replace(INSTALLED, str(ROOT)), encoding="utf-8")
    verified = run(analyze, "verify", *map(str, tmp_path.iterdir()))
    assert verified.stderr == ""
    assert verified.returncode == 0


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_is_restricted(analyze: str, name: str) -> None:
    """As `systemd-analyze security` counts it."""
    arguments = ("security", "--offline=true", f"--threshold={MAX_EXPOSURE}", "--no-pager")
    judged = run(analyze, *arguments, str(UNITS / name))
    assert judged.returncode == 0, judged.stdout


def call_groups(analyze: str, group: str) -> set[str]:
    """The system calls of a group of systemd's, with those of the groups in it."""
    calls: set[str] = set()
    for line in run(analyze, "syscall-filter", group).stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            calls |= call_groups(analyze, name)
        elif name and not name.startswith("#"):
            calls.add(name)
    return calls


def test_the_demo_needs_no_system_call_that_the_units_forbid(analyze: str, tmp_path: Path) -> None:
    """The units allow `@system-service` without `@privileged` and `@resources`."""
    strace = shutil.which("strace") or missing_strace()
    trace = tmp_path / "trace.txt"
    command = [sys.executable, str(MAIN), "--demo", "--output-dir", str(tmp_path / "output")]
    traced = run(strace, "-f", "-qq", "-o", str(trace), *command)
    assert traced.returncode == 0, traced.stderr
    used = set(re.findall(r"^\d+ +([a-z]\w*)\(", trace.read_text("utf-8", "replace"), re.MULTILINE))
    assert {"execve", "connect", "fsync"} <= used
    assert used <= call_groups(analyze, "@system-service")
    denied = call_groups(analyze, "@privileged") | call_groups(analyze, "@resources")
    assert used & denied <= (ONLY_AS_ROOT if os.geteuid() == 0 else set())


def deny_write_execute() -> None:
    """What `MemoryDenyWriteExecute=yes` does: no page of memory becomes executable later."""
    if ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0) != 0:
        raise OSError("this kernel does not know PR_SET_MDWE")


def test_the_demo_runs_with_write_execute_denied(tmp_path: Path) -> None:
    """No library of the program makes code at run time."""
    if ctypes.CDLL(None).prctl(PR_SET_MDWE + 1, 0, 0, 0, 0) < 0:
        missing("the kernel is older than 6.3")
    command = [sys.executable, str(MAIN), "--demo", "--output-dir", str(tmp_path / "output")]
    ran = subprocess.run(
        command,
        preexec_fn=deny_write_execute,
        capture_output=True,
        text=True,
        check=False,
        timeout=MAX_SECONDS,
    )
    assert ran.returncode == 0, ran.stderr
