"""Every fault, in both modes, with kills at random moments and resumes, as real processes."""

from __future__ import annotations

import copy
import os
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.faults import FAULT_KINDS
from tests.support.fault_matrix import (
    COMBINATIONS,
    FAULTS,
    MODES,
    Combination,
    Evidence,
    JournalRun,
    Wanted,
    unfinished_business,
    violations,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEEDS = range(ceil(COMBINATIONS / len(FAULTS) / len(MODES)))
SIDE_BY_SIDE = 3


@pytest.fixture(autouse=True)
def without_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the many processes run at full speed; other tests measure their coverage."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_user_is_lost_or_duplicated_whatever_fails_and_whenever_it_is_killed(
    tmp_path: Path, fault: str, mode: str
) -> None:
    """After every process the accounts add up, with no false claims or duplicates.

    In the end everything is delivered. A seed decides users, workers, kills and failing calls.
    """
    combinations = [Combination(fault, mode, seed) for seed in SEEDS]
    folders = [tmp_path / str(combination.seed) for combination in combinations]
    for folder in folders:
        folder.mkdir()

    with ThreadPoolExecutor(SIDE_BY_SIDE) as players:
        played = list(players.map(Combination.play, combinations, folders))

    problems = {
        combination: found
        for combination, (found, _) in zip(combinations, played, strict=True)
        if found
    }
    assert problems == {}
    assert sum(kills for _, kills in played) > 0


def test_the_matrix_has_every_fault_of_the_sandbox_and_at_least_a_hundred_combinations() -> None:
    """A fault added to the sandbox is in the matrix from then on."""
    assert {fault.partition(":")[0] for fault in FAULTS} == set(FAULT_KINDS)
    assert len(FAULTS) * len(MODES) * len(SEEDS) >= min(COMBINATIONS, 100)


ADA = "ada@example.com"
WANTED = {ADA: Wanted({"plan_type": "pro"}, {"page": "pricing"}, 1_700_000_000)}
EVENT = {
    "email": ADA,
    "eventName": "page_view",
    "dataFields": {"page": "pricing"},
    "createdAt": 1_700_000_000,
    "updates": 1,
}
GOOD_CALL = {"success": True, "error": None}
BAD_CALL = {"success": False, "error": "server_error"}
RESULTS: dict[str, Any] = {
    "run_id": "r1",
    "total_users": 1,
    "successful": 1,
    "partial_failures": 0,
    "total_failures": 0,
    "not_attempted": 0,
    "unchanged": 0,
    "records": [
        {
            "email": ADA,
            "users_update": GOOD_CALL,
            "events_track": GOOD_CALL,
            "overall_success": True,
        }
    ],
}


def good_evidence() -> Evidence:
    """One user, delivered and recorded."""
    return Evidence(
        users={ADA: {"dataFields": {"plan_type": "pro"}, "updates": 1}},
        events={"e-1": copy.deepcopy(EVENT)},
        results=[copy.deepcopy(RESULTS)],
        journal=[JournalRun("r1", "completed", 1, [(ADA, True, True)])],
    )


def problems_of(found: Evidence) -> list[str]:
    """Violations at any moment, and what is missing in the end."""
    return violations(WANTED, found) + unfinished_business(WANTED, found)


def test_the_check_finds_nothing_wrong_with_a_good_record() -> None:
    """One user, one profile, one event, one results file."""
    assert problems_of(good_evidence()) == []


@pytest.mark.parametrize(
    ("doctor", "complaint"),
    [
        (lambda e: e.users.clear(), "lost: ada@example.com has no profile"),
        (lambda e: e.users.clear(), "results r1 says that ada@example.com has a profile"),
        (lambda e: e.events.clear(), "lost: ada@example.com has no event"),
        (lambda e: e.events.clear(), "journal r1 says that ada@example.com has an event"),
        (lambda e: e.events.update({"e-2": EVENT}), "twice: ada@example.com has 2 events"),
        (lambda e: e.users[ADA]["dataFields"].update(plan_type="free"), "profile: ada@"),
        (lambda e: e.users.update({"eve@example.com": {"dataFields": {}}}), "profile: eve@"),
        (lambda e: e.events["e-1"]["dataFields"].update(page="blog"), "event: that of ada@"),
        (lambda e: e.events["e-1"].update(createdAt=1_800_000_000), "event: that of ada@"),
        (lambda e: e.results[0].update(successful=0), "accounting: {'successful': 0"),
        (lambda e: e.results[0].update(total_users=2), "accounting: "),
        (lambda e: e.results[0]["records"].clear(), "accounting: "),
        (lambda e: e.results[0]["records"].append(RESULTS["records"][0]), "accounting: "),
        (lambda e: e.results[0].update(successful=0, unchanged=2), "accounting: "),
        (
            lambda e: e.results[0]["records"][0].update(events_track=BAD_CALL),
            "but the records say {'contradictory': 1}",
        ),
        (
            lambda e: e.results[0]["records"][0].update(overall_success=False),
            "not recorded as delivered: ada@example.com",
        ),
        (lambda e: e.results.clear(), "run r1 (completed) has 0 results files"),
        (lambda e: e.results.append(RESULTS), "run r1 (completed) has 2 results files"),
        (lambda e: e.journal[0].users.clear(), "journal: run r1 has 0 of 1 users"),
        (
            lambda e: e.journal.append(JournalRun("r2", "running", 0, [])),
            "run r2 (running) has 0 results files",
        ),
    ],
)
def test_the_check_finds_what_is_wrong_with_a_doctored_record(
    doctor: Callable[[Evidence], object], complaint: str
) -> None:
    """Each part of the invariant can fail."""
    found = good_evidence()

    doctor(found)

    assert any(complaint in problem for problem in problems_of(found)), problems_of(found)
