"""`--status`: the verdict, recent runs, pending users, and what to run next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.core.facts import DeliveryFacts, Facts
from integration.core.files import display_path
from integration.core.verdict import RESUME, RETRY, delivery_command, judge
from integration.delivery.messages import (
    other_project_message,
    to_second,
    unfinished_message,
    unsendable_message,
)
from integration.delivery.summary import status_parts
from integration.journal.facts import OpenWork, delivery_facts, open_work
from integration.journal.lock import is_locked
from integration.journal.queries import count_outcomes, recent_runs
from integration.journal.read_only import ReadOnlyJournal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from integration.config.settings import StatusSettings
    from integration.core.models import Run
    from integration.journal.reading import JournalReader

RUNS_SHOWN = 10
_CRASHED = {"running": "crashed", "loading": "not loaded"}
_COLUMNS = "{:<36}  {:<19}  {:<11}  {:>8}  {:>8}  {:>7}  {:>7}  {:>8}  {:>9}"


def no_journal_lines(
    path: Path, now: datetime, expected_every_hours: float | None = None
) -> list[str]:
    """What there is to say before the first run."""
    facts = Facts(now=now, deliveries=DeliveryFacts(), delivery_every_hours=expected_every_hours)
    return [
        judge(facts).line,
        f"No journal at {path}: there has been no run yet.",
    ]


def status_lines(
    file: JournalReader,
    project: str | None,
    now: datetime,
    *,
    running: bool,
    expected_every_hours: float | None = None,
    sync: str | None = None,
) -> list[str]:
    """The verdict, the newest runs, pending users and what to run next.

    Args:
        file: the journal.
        project: whose pending users; None means any project.
        now: the current time.
        running: whether a run is in progress.
        expected_every_hours: how often a delivery is expected, if that is set.
        sync: whose pending users; None means any sync, or none.
    """
    work = OpenWork() if running else open_work(file, project, sync)
    facts = Facts(
        now=now,
        deliveries=delivery_facts(file, work, running=running),
        delivery_every_hours=expected_every_hours,
    )
    runs = recent_runs(file, RUNS_SHOWN)
    if not runs:
        return [judge(facts).line, "No run yet."]
    heads = ("run", "started (UTC)", "status", "users", "ok", "partial", "failed", "not sent")
    lines = [judge(facts).line, "", _COLUMNS.format(*heads, "unchanged")]
    lines += [_run_line(file, run, running=running and run is runs[0]) for run in runs]
    return [*lines, "", *(["A run is in progress."] if running else _advice(work))]


def status_answer(
    settings: StatusSettings, now: datetime, sync: str | None = None
) -> tuple[list[str], dict[str, object]]:
    """What `--status` shows of a sync, or of all: for people, and for programs. Only reads.

    Raises:
        JournalError: the journal cannot be read.
    """
    path, expected = settings.journal_file, settings.delivery_expected_every_hours
    journal = ReadOnlyJournal.open(path)
    if journal is None:
        facts = Facts(now=now, deliveries=DeliveryFacts(), delivery_every_hours=expected)
        lines = no_journal_lines(display_path(path), now, expected)
        return lines, status_parts(judge(facts), DeliveryFacts(), None)
    with journal:
        running = is_locked(path)
        work = OpenWork() if running else open_work(journal, settings.project, sync)
        deliveries = delivery_facts(journal, work, running=running)
        facts = Facts(now=now, deliveries=deliveries, delivery_every_hours=expected)
        parts = status_parts(judge(facts), deliveries, journal)
        lines = status_lines(
            journal,
            settings.project,
            now,
            running=running,
            expected_every_hours=expected,
            sync=sync,
        )
    return lines, parts


def _run_line(file: JournalReader, run: Run, *, running: bool) -> str:
    counts = count_outcomes(file, run.number)
    status: str = run.status
    if not running:
        status = _CRASHED.get(status, status)
    sync = f"  {run.sync}" if run.sync else ""
    line = _COLUMNS.format(
        run.run_id,
        to_second(run.started_at),
        status,
        counts.total_users,
        counts.successful,
        counts.partial_failures,
        counts.total_failures,
        counts.not_attempted,
        counts.unchanged,
    )
    return line + sync


def _advice(work: OpenWork) -> Iterator[str]:
    """The pending users, and the commands to run next."""
    not_finished, failed, elsewhere, rejected = work
    if not_finished:
        resume = delivery_command(RESUME, not_finished.run.sync)
        yield f"{unfinished_message(not_finished)}: {resume}"
    if failed and not (not_finished and not_finished.run.number == failed.run.number):
        yield (
            f"{failed.pending_users} user(s) of run {failed.run.run_id} were not delivered:"
            f" {delivery_command(RETRY, failed.run.sync)}"
        )
    if elsewhere:
        yield other_project_message(elsewhere)
    if rejected:
        yield unsendable_message(rejected)
    if not (not_finished or failed or elsewhere):
        yield "No users are pending."
