"""The system calls with which a real process writes, syncs, renames and sends, in order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HOW_TO_GET_STRACE = "strace is not installed: apt-get install strace (Linux only)"
CALLS = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,sendto,sendmsg"
KINDS: dict[str, Kind] = {
    "write": "write",
    "pwrite64": "write",
    "fsync": "sync",
    "fdatasync": "sync",
    "rename": "rename",
    "renameat": "rename",
    "renameat2": "rename",
    "sendto": "send",
    "sendmsg": "send",
}
MAX_RUN_SECONDS = 120

Kind = Literal["write", "sync", "rename", "send"]


class Event(NamedTuple):
    """A system call; `name` is a file, a rename's new name, or a connection's endpoints."""

    kind: Kind
    name: str
    text: str


def missing_strace() -> NoReturn:
    """Skip the test, or fail it if REQUIRE_STRACE=1 says that it has to run."""
    if os.environ.get("REQUIRE_STRACE") == "1":
        pytest.fail(f"REQUIRE_STRACE=1, but {HOW_TO_GET_STRACE}")
    pytest.skip(HOW_TO_GET_STRACE)


def traced(folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> list[Event]:
    """Run a command in `folder` until it ends; without strace the test is skipped."""
    strace = shutil.which("strace")
    if strace is None:
        missing_strace()
    trace = folder / "trace"
    subprocess.run(
        [strace, "-f", "-yy", "-s", "64", "-e", f"trace={CALLS}", "-o", str(trace), *command],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | dict(environment),
        check=False,
        timeout=MAX_RUN_SECONDS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return events_of(trace.read_text(encoding="utf-8", errors="replace").splitlines())


def events_of(lines: Sequence[str]) -> list[Event]:
    """The calls of a trace: syncs and renames when they finish, the others when they start."""
    events = []
    begun: dict[tuple[str, str], str] = {}
    for line in lines:
        process, _, call = line.partition(" ")
        call = call.strip()
        if resumed := re.match(r"<\.\.\. (\w+) resumed>(.*)", call):
            call = begun.pop((process, resumed[1]), "") + resumed[2]
            if KINDS.get(resumed[1]) not in {"sync", "rename"}:
                continue
        elif unfinished := re.match(r"((\w+)\(.*) <unfinished \.\.\.>", call):
            begun[process, unfinished[2]] = call = unfinished[1]
            if KINDS.get(unfinished[2]) in {"sync", "rename"}:
                continue
        if event := _event(call):
            events.append(event)
    return events


def _event(call: str) -> Event | None:
    if not (match := re.match(r"(\w+)\((.*)", call)) or match[1] not in KINDS:
        return None
    kind = KINDS[match[1]]
    if kind in {"sync", "rename"} and not call.endswith("= 0"):
        return None
    if kind == "rename":
        return Event(kind, re.findall(r'"([^"]*)"', call)[-1], call)
    descriptor = re.match(r"\d+<(.*?)>[,)]", match[2])
    return Event(kind, descriptor[1], call) if descriptor else None
