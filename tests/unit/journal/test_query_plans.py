"""SQLite goes straight to the rows that it needs: no table of users is read from its start."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from integration.core.models import CALLS, Retries
from integration.journal.backlog import defer_to_newer_runs, undelivered, unfinished, unsendable
from integration.journal.pruning import prune
from integration.journal.queries import count_outcomes, delivered_users
from integration.journal.store import Journal
from tests.support.journals import AT, FAILED, HEADER, OK
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

NOW = datetime.fromisoformat(HEADER.started_at).astimezone(UTC) + timedelta(days=40)
# A run's part of a table is found by its primary key. What is small, or made for one query, may
# be read whole.
SCAN = re.compile(r"SCAN (?!runs|r$|e$|found|copied|c$|twice|json_each|outcome_counts|CONSTANT)")


class ExplainedJournal(Journal):
    """A journal that keeps the plan of each statement."""

    plans: dict[str, list[str]]

    def execute(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()):  # type: ignore[no-untyped-def]  # noqa: ANN201
        """Explain the statement, then run it."""
        self._explain(sql, parameters)
        return super().execute(sql, parameters)

    def one(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()):  # type: ignore[no-untyped-def]  # noqa: ANN201
        """Explain the query, then run it."""
        self._explain(sql, parameters)
        return super().one(sql, parameters)

    def all(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()):  # type: ignore[no-untyped-def]  # noqa: ANN201
        """Explain the query, then run it."""
        self._explain(sql, parameters)
        return super().all(sql, parameters)

    def _explain(self, sql: str, parameters: Sequence[object] | Mapping[str, object]) -> None:
        if re.match("SELECT|INSERT|UPDATE|DELETE", sql):
            steps = super().all(f"EXPLAIN QUERY PLAN {sql}", parameters)
            self.plans.setdefault(sql, []).extend(step[3] for step in steps)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[ExplainedJournal]:
    """A new journal."""
    ExplainedJournal.plans = {}
    with ExplainedJournal(tmp_path / "journal.db") as opened:
        yield opened


def deliver(journal: Journal, run: int, failed: Iterable[int] = ()) -> None:
    """Make all calls of a run's pending users."""
    for user in journal.pending(run):
        for call in user.calls:
            result = FAILED if user.position in failed else OK
            journal.record([user.position], call, result, AT)
    journal.flush(run, Retries())


def whole_life(journal: Journal) -> None:
    """Full, incremental, resumed and retried runs; export, verification, status and pruning."""
    views = [page_view(number, "nowhere" if number == 9 else None) for number in range(1, 50)]
    first = journal.begin(HEADER, map(new_user, views))
    journal.record(range(1, 9), CALLS[0], OK, AT)
    journal.flush(first, Retries())
    journal.finish(first, "interrupted", "interrupted by SIGTERM", AT)
    some = replace(HEADER, run_id="some", kind="limited", incremental=True)
    second = journal.begin(some, map(new_user, [views[0], *views[:30]]))
    deliver(journal, second, failed=[3, 4])
    journal.finish(second, "completed", None, AT)
    backlog = unfinished(journal, HEADER.project)
    assert backlog
    journal.resume(first)
    defer_to_newer_runs(journal, backlog, AT)
    deliver(journal, first)
    journal.finish(first, "completed", None, AT)
    source = undelivered(journal, None)
    assert source
    retry = journal.begin_retry(replace(HEADER, run_id="retry", kind="retry"), source)
    deliver(journal, retry)
    journal.finish(retry, "completed", None, AT)
    assert unsendable(journal, None)
    for limit in (None, 5):
        assert list(delivered_users(journal, first, limit))
    for run in (first, second, retry):
        assert sum(len(group.rows) for group in journal.outcomes(run)) == (
            count_outcomes(journal, run).total_users
        )
        assert journal.pending_users(run) == len(list(journal.pending(run)))
    assert list(journal.rejected(first))
    journal.begin(replace(HEADER, run_id="last", started_at=NOW.isoformat()), [])
    assert prune(journal, NOW, None)


def test_no_statement_reads_a_table_of_users_from_its_start(journal: ExplainedJournal) -> None:
    """A journal has many runs of up to a million users each."""
    whole_life(journal)

    scans = {
        sql: [step for step in steps if SCAN.search(step)] for sql, steps in journal.plans.items()
    }
    assert len(scans) > 30
    assert not {sql: steps for sql, steps in scans.items() if steps}


def test_what_is_read_page_by_page_is_not_sorted_each_time(journal: ExplainedJournal) -> None:
    """A page costs as much as it has users, wherever it begins."""
    whole_life(journal)

    paged = {sql: steps for sql, steps in journal.plans.items() if ":limit" in sql}
    assert len(paged) >= 3
    for sql, steps in paged.items():
        assert "loaded_users" not in sql
        assert not [step for step in steps if "TEMP B-TREE" in step], sql
