"""In any sequence of runs, no user is lost and no older data overwrites newer data."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from integration.core.clock import to_iso
from integration.core.models import CALLS, Retries, RunKind
from integration.delivery.new_users import delivered_user, email_of
from integration.delivery.run_files import RunFiles
from integration.delivery.start_run import RunPlan, StillPendingError, resume_run, retry_run
from integration.journal import backlog, loading, outcomes
from integration.journal.pruning import prune
from integration.journal.queries import (
    count_outcomes,
    recent_runs,
    record_last_sent_of_crashed_runs,
)
from integration.journal.store import Journal
from tests.support.journals import AT, FAILED, HEADER, OK, pending_users
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.core.models import Call, PendingUser

CUSTOMERS = range(1, 6)
# The outcome of one call: delivered, rejected, or applied by Iterable with the answer lost.
fates = st.sampled_from(["ok", "ok", "failed", "lost"])
customers = st.sets(st.sampled_from(CUSTOMERS))
plans = st.lists(fates, min_size=10, max_size=10)
# After how many users the run ends, and how; a killed run loses its last answers.
ends = st.sampled_from(["whole", "interrupted", "killed"])
reaches = st.integers(0, 4)
MORNING = datetime(2026, 1, 13, 4, tzinfo=UTC)
# How many days pass before a run, and by how many days the clock is wrong.
pauses = st.sampled_from([40, 1, 20])
errors = st.sampled_from([-20_000, -400, -40, 0, 40, 400])


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Iterator[None]:
    """Pages of two users, so that five have several."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (backlog, loading, outcomes):
            patch.setattr(module, "PAGE_SIZE", 2)
        yield


class Runs(RuleBasedStateMachine):
    """Runs on one journal, and the version of each customer's data that Iterable has."""

    @initialize()
    def begin(self) -> None:
        """A new journal and an empty Iterable."""
        self.cleanup = ExitStack()
        self.folder = Path(self.cleanup.enter_context(tempfile.TemporaryDirectory()))
        self.versions = dict.fromkeys(CUSTOMERS, 1)
        self.known: dict[int, int] = {}
        self.iterable: dict[tuple[Call, int], int] = {}
        self.days = 0
        self.clock_error = 0
        self.runs = 0
        self.plan = RunPlan(project="a-project", authentication="API Key")

    @rule(error=errors)
    def set_clock(self, error: int) -> None:
        """The clock becomes wrong, or right again."""
        self.clock_error = error

    @rule(
        pause=pauses,
        changed=customers,
        listed=customers,
        kind=st.sampled_from(["full", "limited"]),
        incremental=st.booleans(),
        end=ends,
        reach=reaches,
        plan=plans,
    )
    def run(  # noqa: PLR0917  by keywords, from the rule
        self,
        pause: int,
        changed: set[int],
        listed: set[int],
        kind: RunKind,
        incremental: bool,
        end: str,
        reach: int,
        plan: list[str],
    ) -> None:
        """Some customers change; then a new run of the users of Query 2, or the first two."""
        self.days += pause
        self.versions.update({customer: self.versions[customer] + 1 for customer in changed})
        chosen = sorted(listed)[: 2 if kind == "limited" else None]
        self.known |= {customer: self.versions[customer] for customer in chosen}
        views = [
            page_view(customer)._replace(first_name=str(self.versions[customer]))
            for customer in chosen
        ]
        with self.journal() as journal:
            self.runs += 1
            header = replace(
                HEADER,
                run_id=f"run-{self.runs}",
                started_at=to_iso(self.now),
                kind=kind,
                project=self.plan.project,
                incremental=incremental,
            )
            run = journal.begin(header, map(new_user, views))
            prune(journal, self.now, run)
            for group in journal.outcomes(run):
                if "delivered by an earlier run" in group.users_update:
                    for customer in map(customer_of, map(email_of, group.rows)):
                        assert {self.iterable[call, customer] for call in CALLS} == {
                            self.versions[customer]
                        }
            self.deliver(journal, run, end, reach, plan)

    @rule(end=ends, reach=reaches, plan=plans)
    def resume(self, end: str, reach: int, plan: list[str]) -> None:
        """`--resume`."""
        with self.journal() as journal:
            run = resume_run(journal, self.plan.project)
            prune(journal, self.now, run)
            if run is not None:
                self.deliver(journal, run, end, reach, plan)

    @rule(end=ends, reach=reaches, plan=plans)
    def retry(self, end: str, reach: int, plan: list[str]) -> None:
        """`--retry-failed`."""
        with self.journal() as journal, RunFiles(self.folder) as files:
            try:
                run = retry_run(self.plan, journal, files)
            except StillPendingError:
                return
            if run is not None:
                started = (to_iso(self.now), run)
                journal.execute("UPDATE runs SET started_at = ? WHERE run = ?", started)
            prune(journal, self.now, run)
            if run is not None:
                self.deliver(journal, run, end, reach, plan)

    @invariant()
    def users_recorded_as_delivered_are(self) -> None:
        """In every run: Iterable has what the run had to send, or newer."""
        with Journal(self.folder / "journal.db") as journal:
            for run in recent_runs(journal, 1_000):
                customers = [
                    int(number)
                    for (number,) in journal.all(
                        "SELECT customer_id FROM users WHERE run = ?", (run.number,)
                    )
                ]
                found: list[int] = []
                for group in journal.outcomes(run.number):
                    for row in group.rows:
                        customer, version = customer_of(email_of(row)), version_of_row(row)
                        found.append(customer)
                        if group.success:
                            for call in CALLS:
                                assert self.iterable[call, customer] >= version
                assert found == customers, "each user of a run has one outcome"

    def teardown(self) -> None:
        """Once Iterable works again, --resume and --retry-failed deliver every user."""
        for _ in range(100):
            with self.journal() as journal, RunFiles(self.folder) as files:
                run = resume_run(journal, self.plan.project)
                if run is None:
                    run = retry_run(self.plan, journal, files)
                self.days += 40
                prune(journal, self.now, run)
                if run is None:
                    break
                self.deliver(journal, run, "whole", 5, ["ok"] * 10)
        else:
            raise AssertionError("there is no end of open users")
        for customer, version in self.known.items():
            for call in CALLS:
                assert self.iterable[call, customer] >= version, (call, customer)
        self.cleanup.close()

    @property
    def now(self) -> datetime:
        """The time of the clock."""
        return MORNING + timedelta(days=self.days + self.clock_error)

    def journal(self) -> Journal:
        """The journal as a new process opens it."""
        journal = Journal(self.folder / "journal.db")
        record_last_sent_of_crashed_runs(journal)
        return journal

    def deliver(self, journal: Journal, run: int, end: str, reach: int, plan: list[str]) -> None:
        """Make the calls of a run until it ends."""
        fate = iter(plan * 2)
        for number, user in enumerate(pending_users(journal, run), start=1):
            if number > reach and end != "whole":
                break
            for call in user.calls:
                self.call(journal, run, user, call, next(fate))
            # The last call before a kill is not recorded anywhere.
            if not (end == "killed" and number == reach):
                journal.flush(run, Retries())
        if end != "killed":
            left = count_outcomes(journal, run).undelivered
            status = "interrupted" if end == "interrupted" and left else "completed"
            journal.finish(run, status, None, AT)

    def call(self, journal: Journal, run: int, user: PendingUser, call: Call, fate: str) -> None:
        """One call: its effect at Iterable, and what the journal records."""
        if fate != "failed":
            customer, version = customer_of(user.email), version_of(user.profile)
            assert version >= self.iterable.get((call, customer), 0), "older data over newer"
            self.iterable[call, customer] = version
        journal.record([user.position], call, OK if fate == "ok" else FAILED, AT)


def customer_of(email: str | None) -> int:
    """The customer id of `user7@example.com`."""
    return int((email or "").removeprefix("user").split("@")[0])


def version_of(profile: bytes) -> int:
    """Which version of a customer's data a profile contains."""
    fields: dict[str, Any] = orjson.loads(profile)["dataFields"]
    return int(fields["first_name"])


def version_of_row(row: list[object]) -> int:
    """Which version of a customer's data a stored row is sent with."""
    return version_of(delivered_user(orjson.dumps(row), MORNING).profile or b"")


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=200, stateful_step_count=12)
