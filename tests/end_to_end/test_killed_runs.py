"""Large runs that are killed repeatedly, or whose calls fail occasionally, lose no user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from sandbox.process import SandboxProcess
from tests.support.fault_matrix import (
    MANY_USERS,
    NO_FAULT,
    calls_in_doubt,
    evidence,
    kill_when,
    repeats,
    scripted,
    still_open,
    unfinished_business,
    violations,
    wanted_of,
)
from tests.support.runs import (
    PAUSE,
    Customer,
    RunResult,
    database_of,
    environment_for,
    finish,
    is_script_over,
    run,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.fault_matrix import Evidence, Wanted

KILLS = 5
MAX_RETRIES = 6
# Wide enough that 2,000 users are 15 bulk calls of at most 4 MB, and as many for events.
WIDE = 60_000_000 // MANY_USERS
# Long enough for earlier answers to be no longer in doubt.
SHORT_PAUSE = {**PAUSE, "headers": {"Retry-After": "2"}}
FAILURES = {
    "status:503": 0.05,
    "status:429": 0.02,
    "reset_before": 0.02,
    "reset_after": 0.02,
    "garbage": 0.01,
    "html": 0.01,
}


class Case(NamedTuple):
    """The delivery mode, and the faults for the calls of a process that is to be killed.

    The last of them makes it pause: it is killed then, and a late kill still finds it there,
    with enough users left for the next process. The time between kills must exceed the time that
    calls stay in doubt, or the bound is meaningless.
    """

    mode: str
    workers: int
    location: str
    latency_seconds: float
    until_the_kill: list[dict[str, Any]]


CASES = [
    Case(
        "single",
        16,
        "London",
        0.05,
        [{**NO_FAULT, "times": 2 * MANY_USERS // (KILLS + 2)}, PAUSE],
    ),
    # The first user's calls, two batches', and after a while one or two that are in doubt.
    Case(
        "bulk",
        2,
        "x" * WIDE,
        0.1,
        [{**NO_FAULT, "times": 6}, {**SHORT_PAUSE, "times": 2}, NO_FAULT, PAUSE],
    ),
]


@pytest.fixture(autouse=True)
def without_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes run at full speed; other tests measure their coverage."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(name="iterable")
def iterable_fixture() -> Iterator[SandboxProcess]:
    """A mock server private to this test."""
    with SandboxProcess() as sandbox:
        yield sandbox


class Setup(NamedTuple):
    """A folder with a database of many users, and the program's settings."""

    folder: Path
    environment: dict[str, str]
    wanted: dict[str, Wanted]


def set_up(folder: Path, sandbox: SandboxProcess, case: Case) -> Setup:
    """Create the users and the settings."""
    emails = (f"user{number}@example.com" for number in range(MANY_USERS))
    people = (Customer(email, location=case.location) for email in emails)
    database = database_of(folder / "customers.sqlite", people)
    environment = environment_for(folder, sandbox, database) | {
        "DELIVERY_MODE": case.mode,
        "MAX_WORKERS": str(case.workers),
        "RATE_LIMIT_SHARE": "10000",
    }
    return Setup(folder, environment, wanted_of(database))


def items_in_doubt(sandbox: SandboxProcess, case: Case) -> int:
    """How many items were in flight at a kill, or answered too recently to be recorded.

    The mock server's own record of calls is counted, so the bound is not a guess.
    """
    return sum(call["items"] or 1 for call in calls_in_doubt(sandbox, case.latency_seconds))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.mode)
def test_five_kills_repeat_only_the_calls_in_flight_and_end_in_one_results_file(
    tmp_path: Path, iterable: SandboxProcess, case: Case
) -> None:
    """Killed midway and resumed five times: each user once, all in one results file."""
    setup = set_up(tmp_path, iterable, case)
    iterable.configure(latency=case.latency_seconds)
    bound = 0
    for kill in range(KILLS):
        iterable.faults(case.until_the_kill)
        process = start(tmp_path, setup.environment, *(["--resume"] if kill else []))
        assert kill_when(process, lambda: is_script_over(iterable))
        finish(tmp_path, process)
        bound += items_in_doubt(iterable, case)
        assert violations(setup.wanted, evidence(tmp_path, iterable)) == []

    ran = run(tmp_path, setup.environment, "--resume")

    found = evidence(tmp_path, iterable)
    assert ran.exit_code == 0
    assert violations(setup.wanted, found) + unfinished_business(setup.wanted, found) == []
    assert (len(found.users), len(found.events)) == (MANY_USERS, MANY_USERS)
    assert len(ran.results["records"]) == ran.results["successful"] == MANY_USERS
    # There are twice as many deliveries as users.
    assert repeats(found.users) + repeats(found.events) <= bound < 2 * MANY_USERS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.mode)
def test_with_every_eighth_call_failing_all_are_accounted_for_and_retries_deliver_them(
    tmp_path: Path, iterable: SandboxProcess, case: Case
) -> None:
    """503, 429, resets before and after, garbage, HTML, throughout: no duplicates, none lost."""
    setup = set_up(tmp_path, iterable, case)
    setup.environment["MAX_WORKERS"] = "64"
    # Each occurs at least once: there are few bulk calls.
    iterable.faults([scripted(label) for label in FAILURES])
    iterable.rates(FAILURES, seed=7)

    ran = run(tmp_path, setup.environment)
    found = look(setup, iterable, ran)
    for _ in range(MAX_RETRIES):
        if not still_open(setup.wanted, found):
            break
        found = look(setup, iterable, run(tmp_path, setup.environment, "--retry-failed"))

    assert unfinished_business(setup.wanted, found) == []
    assert len(found.events) == MANY_USERS
    assert set(iterable.stats()["faults"]) == set(FAILURES)
    first, *retries = sorted(found.results, key=lambda result: str(result["started_at"]))
    assert first["total_users"] == MANY_USERS
    assert [result["total_users"] for result in retries] == pending_before(first, retries)


def look(setup: Setup, sandbox: SandboxProcess, ran: RunResult) -> Evidence:
    """Check what must hold after every run."""
    found = evidence(setup.folder, sandbox)
    assert violations(setup.wanted, found) == []
    assert ran.exit_code == (1 if still_open(setup.wanted, found) else 0)
    return found


def pending_before(first: dict[str, Any], retries: list[dict[str, Any]]) -> list[int]:
    """How many users the run before each retry left pending."""
    runs = [first, *retries][:-1]
    return [result["total_users"] - result["successful"] for result in runs]
