"""Runs in a journal with pages of three users, against a model that has no pages."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.core.models import CALLS, Counts, Retries
from integration.delivery.new_users import new_users
from integration.journal import backlog, loading, outcomes, ranges
from integration.journal.backlog import undelivered
from integration.journal.queries import count_outcomes, delivered_users, last_sent
from integration.journal.schema import SECOND_ROW, CallStatus, counts_of
from integration.journal.store import Journal
from tests.support.journals import AT, FAILED, HEADER, OK, assert_whole
from tests.support.users import page_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.core.models import Call, PageView

PAGE_SIZE = 3
CUSTOMERS = range(1, 9)
NO_AT = "not sent: the email has no @"
Statuses = dict["Call", CallStatus | None]


class Answer(NamedTuple):
    """The outcome of a call for some users, as a worker reports it."""

    positions: set[int]
    call: Call
    success: bool


@dataclass(frozen=True)
class Plan:
    """A run: its rows, whether it is incremental, and the answers, some in one flush."""

    rows: list[PageView]
    incremental: bool
    flushes: list[list[Answer]]
    retried: bool


def row(customer: int, version: int, has_email: bool) -> PageView:
    """A row of a customer, whose data changes by versions."""
    view = page_view(customer)._replace(first_name=str(version))
    return view if has_email else view._replace(email="nowhere")


answers = st.builds(
    Answer,
    st.sets(st.integers(1, 12)),
    st.sampled_from(CALLS),
    st.sampled_from([True, True, False]),
)
rows = st.lists(
    st.builds(
        row, st.sampled_from(CUSTOMERS), st.integers(1, 2), st.sampled_from([True] * 5 + [False])
    ),
    max_size=12,
)
# Most lists are those of the day before, of each customer once.
lists = rows | st.just([row(customer, 1, has_email=True) for customer in CUSTOMERS])
plans = st.builds(
    Plan,
    lists,
    st.booleans(),
    st.lists(st.lists(answers, max_size=3), max_size=3)
    | st.just([[Answer(set(range(1, 13)), call, success=True)] for call in CALLS]),
    st.booleans(),
)


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Iterator[None]:
    """Pages of three users, wherever the journal counts them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (backlog, loading, outcomes):
            patch.setattr(module, "PAGE_SIZE", PAGE_SIZE)
        patch.setattr(ranges, "MAX_GAP", 1)
        yield


class Model:
    """What the journal should have."""

    def __init__(self) -> None:
        self.last: dict[int | str, PageView | None] = {}
        self.rows: list[PageView] = []
        self.statuses: list[Statuses] = []
        self.reasons: list[str | None] = []

    def load(self, plan: Plan) -> None:
        """The rows of a new run, with the outcomes that are known before the first call."""
        self.rows, self.statuses, self.reasons = plan.rows, [], []
        seen: set[int | str] = set()
        for view in plan.rows:
            status, reason = None, None
            if view.id in seen:
                status, reason = CallStatus.REJECTED, SECOND_ROW
            elif view.email == "nowhere":
                status, reason = CallStatus.REJECTED, NO_AT
            elif plan.incremental and self.last.get(view.id) == view:
                status = CallStatus.UNCHANGED
            seen.add(view.id)
            self.statuses.append(dict.fromkeys(CALLS, status))
            self.reasons.append(reason)

    def pending(self) -> list[tuple[int, PageView, tuple[Call, ...]]]:
        """Position, row and open calls of the users that are to be sent."""
        found = []
        for position, (view, statuses) in enumerate(zip(self.rows, self.statuses, strict=True), 1):
            calls = tuple(call for call in CALLS if statuses[call] in {None, CallStatus.FAILED})
            if calls:
                found.append((position, view, calls))
        return found

    def answer(self, answer: Answer) -> list[int]:
        """Apply an answer to the users that need the call, and return their positions."""
        chosen = [
            position
            for position, _, calls in self.pending()
            if position in answer.positions and answer.call in calls
        ]
        for position in chosen:
            status = CallStatus.DELIVERED if answer.success else CallStatus.FAILED
            self.statuses[position - 1][answer.call] = status
        return chosen

    def finish(self) -> None:
        """Remember what each user was last sent."""
        for view, statuses in zip(self.rows, self.statuses, strict=True):
            found = set(statuses.values())
            if not found & {CallStatus.UNCHANGED, CallStatus.REJECTED}:
                self.last[view.id] = view if found == {CallStatus.DELIVERED} else None

    def retry(self) -> None:
        """Continue with the users that are pending, numbered from 1."""
        positions = [position for position, _, _ in self.pending()]
        self.rows = [self.rows[position - 1] for position in positions]
        kept = [self.statuses[position - 1] for position in positions]
        self.statuses = [
            {
                call: CallStatus.DELIVERED if one[call] == CallStatus.DELIVERED else None
                for call in CALLS
            }
            for one in kept
        ]
        self.reasons = [None] * len(positions)

    def counts(self) -> Counts:
        """The outcomes of the run."""
        groups = Counter(tuple(one[call] for call in CALLS) for one in self.statuses)
        return counts_of(
            [(profile, event, users) for (profile, event), users in groups.items()], len(self.rows)
        )


def compare(journal: Journal, run: int, model: Model) -> None:
    """Everything that can be read of a run."""
    assert_whole(journal, run)
    assert stored_rows(journal, run) == [list(view) for view in model.rows]
    assert [(user.position, json.loads(user.row), user.calls) for user in journal.pending(run)] == [
        (position, list(view), calls) for position, view, calls in model.pending()
    ]
    assert journal.pending_users(run) == len(model.pending())
    assert count_outcomes(journal, run) == model.counts()
    assert list(journal.rejected(run)) == [
        (list(view), reason)
        for view, reason in zip(model.rows, model.reasons, strict=True)
        if reason
    ]
    succeeded = {CallStatus.DELIVERED, CallStatus.UNCHANGED}
    whole = [set(one.values()) <= succeeded for one in model.statuses]
    groups = list(journal.outcomes(run))
    assert [group.success for group in groups for _ in group.rows] == whole
    assert [success_of(group.users_update) for group in groups for _ in group.rows] == [
        one["users_update"] in succeeded for one in model.statuses
    ]
    assert [success_of(group.events_track) for group in groups for _ in group.rows] == [
        one["events_track"] in succeeded for one in model.statuses
    ]
    assert [json.loads(found) for found, *_ in delivered_users(journal, run, None)] == [
        list(view) for view, is_whole in zip(model.rows, whole, strict=True) if is_whole
    ]


def stored_rows(journal: Journal, run: int) -> list[Any]:
    """All rows of a run."""
    return [row for rows in journal.rows(run) for row in rows]


def success_of(result: str) -> bool:
    """Whether a result in the results file is a success."""
    return bool(orjson.loads(result)["success"])


def play(journal: Journal, run: int, model: Model, flushes: list[list[Answer]]) -> None:
    """Record the answers, and end the run."""
    for given_answers in flushes:
        for answer in given_answers:
            positions = model.answer(answer)
            journal.record(positions, answer.call, OK if answer.success else FAILED, AT)
        journal.flush(run, Retries())
        compare(journal, run, model)
    journal.finish(run, "completed", None, AT)
    model.finish()
    known = last_sent(journal, HEADER.project, list(CUSTOMERS))
    assert set(known) == set(model.last)
    assert {customer for customer in known if known[customer] is None} == {
        customer for customer in model.last if model.last[customer] is None
    }


@settings(max_examples=200)
@given(st.lists(plans, min_size=1, max_size=4))
def test_the_journal_has_of_each_run_what_happened_to_it(given_plans: list[Plan]) -> None:
    """Full, incremental and retried runs, with second rows and bad emails on any page."""
    model = Model()
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.db") as journal:
        for number, plan in enumerate(given_plans):
            header = replace(HEADER, run_id=f"run-{number}", incremental=plan.incremental)
            run = journal.begin(header, new_users(list(map(tuple, plan.rows))))
            model.load(plan)
            compare(journal, run, model)
            play(journal, run, model, plan.flushes)
            source = undelivered(journal, HEADER.project)
            if plan.retried and source and source.run.number == run:
                header = replace(HEADER, run_id=f"retry-{number}", kind="retry")
                run = journal.begin_retry(header, source)
                model.retry()
                compare(journal, run, model)
                play(journal, run, model, plan.flushes[::-1])
