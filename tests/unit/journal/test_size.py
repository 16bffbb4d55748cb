"""How many bytes a user costs on the disk, in real files of a realistic list."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from benchmarks.people import people
from integration.core.models import CALLS, CallResult, PageView, Retries
from integration.delivery.new_users import new_users
from integration.journal.queries import count_outcomes
from integration.journal.store import Journal
from tests.support.journals import HEADER

if TYPE_CHECKING:
    from pathlib import Path

    from integration.core.models import Mode

USERS = 5_000
NOON = datetime(2026, 1, 13, 12, tzinfo=UTC)
SINGLE = CallResult(
    success=True,
    response={"msg": "", "code": "Success", "params": None},
    status_code=200,
    attempts=1,
    error=None,
)
BULK = replace(SINGLE, response={"successCount": 1000, "failCount": 0})


def page_views() -> list[PageView]:
    """The rows of Query 2 for these users."""
    return [
        PageView(
            one.id,
            one.email,
            one.first_name,
            one.last_name,
            "pro",
            one.candidate,
            one.page,
            one.device,
            one.browser,
            one.location,
            str(one.viewed),
        )
        for one in people(USERS)
    ]


def run_once(path: Path, views: list[PageView], mode: Mode, run_id: str) -> int:
    """The bytes of the journal after an incremental run that delivered all pending users."""
    with Journal(path) as journal:
        header = replace(HEADER, run_id=run_id, incremental=True)
        run = journal.begin(header, new_users(list(map(tuple, views))))
        pending = [user.position for user in journal.pending(run)]
        step, result = (1000, BULK) if mode == "bulk" else (1, SINGLE)
        for start in range(0, len(pending), step):
            for number, call in enumerate(CALLS):
                at = NOON + timedelta(microseconds=2001 * start + number)
                positions = pending[start : start + step]
                journal.record(positions, call, result, at.isoformat(timespec="microseconds"))
            if journal.buffered >= 1000:
                journal.flush(run, Retries())
        journal.flush(run, Retries())
        journal.finish(run, "completed", None, NOON.isoformat())
        assert count_outcomes(journal, run).delivered == USERS
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return path.stat().st_size


@pytest.mark.parametrize(("mode", "limit"), [("single", 600), ("bulk", 200)])
def test_a_user_costs_few_bytes_and_an_unchanged_one_hardly_any(
    tmp_path: Path, mode: Mode, limit: int
) -> None:
    """A million users every day for a month are a few gigabytes, not hundreds."""
    views = page_views()

    first = run_once(tmp_path / "journal.db", views, mode, "first")
    second = run_once(tmp_path / "journal.db", views, mode, "second")
    changed = [views[0]._replace(page="blog"), *views[1:]]
    third = run_once(tmp_path / "journal.db", changed, mode, "third")

    assert first / USERS < limit
    assert (second - first) / USERS < 60
    assert (third - second) / USERS < 60
