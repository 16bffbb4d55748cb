"""What is on the disk when: the order of a real process's writes, syncs, renames and sends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.runs import MAIN, ROOT, database_of, environment_for, run
from tests.support.tracing import events_of, traced

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.process import SandboxProcess
    from tests.support.tracing import Event

EMAILS = [f"user{number}@example.com" for number in range(3)]
WAL = "iterable_journal.db-wal"
FLUSHES_A_SECOND_APART = """
import sys
from dataclasses import replace
from pathlib import Path
from integration.journal.store import Journal
from integration.core.models import Retries
from tests.support.journals import AT, HEADER, OK
from tests.support.users import new_user, page_view
second = 0.0
with Journal(Path("iterable_journal.db"), clock=lambda: second) as journal:
    run = journal.begin(HEADER, [new_user(page_view(1))])
    journal.record([1], "users_update", OK, AT)
    for _ in range(14):
        journal.flush(run, Retries())
        second += 1
        print("another second", flush=True)
"""


def run_traced(folder: Path, variables: dict[str, str], *arguments: str) -> list[Event]:
    """Run the program and return its system calls."""
    return traced(folder, [sys.executable, str(MAIN), *arguments], variables)


def places(events: list[Event], kind: str, name: str) -> list[int]:
    """The positions of the calls of this kind on a file whose name ends like this."""
    return [
        place
        for place, event in enumerate(events)
        if event.kind == kind and event.name.endswith(name)
    ]


def is_synced(events: list[Event], name: str, before: int) -> bool:
    """Whether everything written to a file before this call was on the disk by then."""
    written = [place for place in places(events, "write", name) if place < before]
    return any(written[-1] < place < before for place in places(events, "sync", name))


def first_send(events: list[Event], sandbox: SandboxProcess) -> int:
    """The position of the first byte sent to the mock server."""
    port = sandbox.url.rpartition(":")[2].rstrip("/")
    return places(events, "send", f"->127.0.0.1:{port}]")[0]


def assert_users_are_on_the_disk(
    events: list[Event], sandbox: SandboxProcess, folder: Path
) -> None:
    """The journal was written, then synced with its folder, then the first call was made."""
    first = first_send(events, sandbox)
    assert is_synced(events, WAL, before=first)
    created = places(events, "write", WAL)[0]
    assert any(created < place < first for place in places(events, "sync", str(folder)))


def assert_is_safe_under_its_name(events: list[Event], pattern: str, folder: Path) -> None:
    """The content is synced before the file gets its name, and the folder after."""
    renamed = next(
        place
        for place, event in enumerate(events)
        if event.kind == "rename" and pattern in event.name
    )
    assert is_synced(events, f"{events[renamed].name}.part", before=renamed)
    assert any(place > renamed for place in places(events, "sync", str(folder)))


def test_the_users_of_a_run_are_on_the_disk_before_the_first_call(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """After a power cut, --resume is enough: for a new run, a resumed one and a retry."""
    variables = environment_for(
        tmp_path, sandbox, database_of(tmp_path / "customers.sqlite", EMAILS)
    )
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 401}])
    begun = run_traced(tmp_path, variables)
    sandbox.faults([{"endpoint": "events/track", "kind": "html"}])
    resumed = run_traced(tmp_path, variables, "--resume")
    retried = run_traced(tmp_path, variables, "--retry-failed")

    for events in (begun, resumed, retried):
        assert_users_are_on_the_disk(events, sandbox, tmp_path)
    assert "No users are pending." in run(tmp_path, variables, "--status").stdout


def test_csv_and_results_are_synced_before_they_are_renamed_and_their_folder_after(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """No power cut leaves an empty file under a final name, or loses a file."""
    out = tmp_path / "out"
    out.mkdir()
    variables = environment_for(
        tmp_path, sandbox, database_of(tmp_path / "customers.sqlite", EMAILS)
    )

    events = run_traced(tmp_path, variables, "--output-dir", str(out))

    assert_is_safe_under_its_name(events, "query_results_", out)
    assert_is_safe_under_its_name(events, "integration_results_", out)
    before_the_results = events[: places(events, "rename", ".json")[0]]
    assert_is_safe_under_its_name(before_the_results, "query_results_", out)


def test_the_end_of_a_run_is_on_the_disk_when_the_program_ends(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """It is written after the results file has been renamed into place."""
    variables = environment_for(
        tmp_path, sandbox, database_of(tmp_path / "customers.sqlite", EMAILS)
    )

    events = run_traced(tmp_path, variables)

    assert is_synced(events, WAL, before=len(events))
    assert places(events, "write", WAL)[-1] > places(events, "rename", ".json")[0]


def test_no_outcome_waits_five_seconds_for_the_disk(tmp_path: Path) -> None:
    """Not every flush is synced, but one of every five that are a second apart.

    This holds even when no other outcome follows.
    """
    program = [sys.executable, "-c", FLUSHES_A_SECOND_APART]

    events = traced(tmp_path, program, {"PYTHONPATH": str(ROOT)})

    seconds = [place for place, event in enumerate(events) if "another second" in event.text]
    synced = [is_synced(events, WAL, before=place) for place in seconds]
    assert len(synced) == 14
    assert all(any(synced[start : start + 5]) for start in range(10))
    assert not all(synced)


@pytest.mark.parametrize(
    ("required", "outcome"), [("0", pytest.skip.Exception), ("1", pytest.fail.Exception)]
)
def test_without_strace_a_test_is_skipped_unless_it_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    """The message says how to install it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("REQUIRE_STRACE", required)

    with pytest.raises(outcome, match="apt-get install strace"):
        traced(tmp_path, ["true"], {})


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('7 write(3</a/b>, "x", 1) = 1', ("write", "/a/b")),
        ("7 fdatasync(3</a/b>)       = 0", ("sync", "/a/b")),
        ('7 rename("/a/b.part", "/a/b") = 0', ("rename", "/a/b")),
        ('7 sendto(5<TCP:[127.0.0.1:3->127.0.0.1:4]>, "x", 1) = 1', ("send", "4]")),
    ],
)
def test_a_line_of_a_trace_is_parsed(line: str, event: tuple[str, str]) -> None:
    """The relevant kinds of calls, and their files."""
    (found,) = events_of([line])

    assert found.kind == event[0]
    assert found.name.endswith(event[1])


def test_a_sync_counts_when_it_is_finished_and_only_if_it_succeeded() -> None:
    """Another thread's call may come between its start and its end."""
    lines = [
        "7 fdatasync(3</a/wal> <unfinished ...>",
        '8 sendto(5<TCP:[127.0.0.1:3->127.0.0.1:4]>, "x", 1 <unfinished ...>',
        "7 <... fdatasync resumed>) = 0",
        "8 <... sendto resumed>) = 1",
        "7 fsync(3</a/wal>) = -1 EIO (Input/output error)",
    ]

    assert [event.kind for event in events_of(lines)] == ["send", "sync"]
