"""`--status` and `--verify`: what an operator asks after a run."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Literal

from backlog import of_another_project, undelivered, unfinished
from exit_codes import ExitCode
from history import delivered_users, past_runs
from verification import UserReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backlog import Backlog
    from history import PastRun
    from iterable_client import IterableClient
    from journal_file import JournalFile
    from verification import Finding

logger = logging.getLogger(__name__)

RUNS_SHOWN = 10
MOST_UNREAD_USERS = 20
_COLUMNS = "{:<36}  {:<19}  {:<11}  {:>8}  {:>8}  {:>7}  {:>7}  {:>7}  {:>9}"


def status_lines(file: JournalFile, project: str | None, *, running: bool) -> list[str]:
    """The newest runs, what is open for `project` (None: for any), and what to do about it."""
    runs = past_runs(file, RUNS_SHOWN)
    if not runs:
        return ["No run yet."]
    heads = ("run", "started (UTC)", "status", "users", "ok", "partly", "failed", "not tr.")
    lines = [_COLUMNS.format(*heads, "unchanged")]
    lines += [_run_line(past, running=running and past is runs[0]) for past in runs]
    return [*lines, "", *(["A run is going on."] if running else _advice(file, project))]


def verify(
    file: JournalFile,
    client: IterableClient,
    most: int | None,
    wait: Callable[[float], bool],
) -> ExitCode:
    """Read delivered users of the newest run back and tell who is not confirmed."""
    runs = past_runs(file, 1)
    if not runs:
        logger.warning("Nothing to verify: there was no run yet")
        return ExitCode.DELIVERED
    past = runs[0]
    logger.info("Verifying users of run %s", past.record.header.run_id)
    counts: Counter[str] = Counter()
    for finding in UserReader(client, wait).verify(delivered_users(file, past.run, most)):
        if finding.unread and finding.unread.error == "not_attempted":
            break  # the run is to stop
        if finding.unread and finding.unread.key_refused:
            logger.error("Iterable refused to be read: --verify needs a server-side API key")
            return ExitCode.KEY_REFUSED
        counts[_tell(finding)] += 1
        if counts["unread"] >= MOST_UNREAD_USERS and not counts["confirmed"]:
            logger.error("Iterable cannot be read: giving up")
            return ExitCode.UNAVAILABLE
    logger.info(
        "Verified %d user(s): %d confirmed, %d not confirmed, %d not read",
        sum(counts.values()),
        counts["confirmed"],
        counts["different"],
        counts["unread"],
    )
    all_confirmed = not (counts["different"] or counts["unread"])
    return ExitCode.DELIVERED if all_confirmed else ExitCode.SOME_FAILED


def _tell(finding: Finding) -> Literal["confirmed", "different", "unread"]:
    if finding.confirmed:
        return "confirmed"
    if finding.unread:
        logger.error("Not read: %s: %s", finding.user.email, finding.unread.error)
        return "unread"
    logger.error("Not confirmed: %s: %s", finding.user.email, ", ".join(finding.differences))
    return "different"


def unfinished_notice(backlog: Backlog) -> str:
    """What is said of a run that did not finish."""
    header = backlog.past.record.header
    return (
        f"Run {header.run_id} of {_minute(header.started_at)} UTC did not finish:"
        f" {backlog.open_users} user(s) are open"
    )


def another_project_notice(backlog: Backlog) -> str:
    """What is said of a run that only the settings it began with can go on with."""
    header = backlog.past.record.header
    return (
        f"Run {header.run_id} of {_minute(header.started_at)} UTC was for another"
        f" ITERABLE_API_BASE_URL or ITERABLE_API_KEY and left {backlog.open_users} user(s) open:"
        " go on with those settings, or begin a new run"
    )


def _run_line(past: PastRun, *, running: bool) -> str:
    counts, record = past.counts, past.record
    status = record.status
    if status == "running" and not running:
        status = "died"
    return _COLUMNS.format(
        record.header.run_id,
        _minute(record.header.started_at),
        status,
        counts.total_users,
        counts.successful,
        counts.partial_failures,
        counts.total_failures,
        counts.not_attempted,
        counts.unchanged,
    )


def _advice(file: JournalFile, project: str | None) -> Iterator[str]:
    """What is open, and what to do about it."""
    not_finished = unfinished(file, project)
    failed = undelivered(file, project)
    elsewhere = of_another_project(file, project) if project else None
    if not_finished:
        yield f"{unfinished_notice(not_finished)}: python main.py --resume"
    if failed and not (not_finished and not_finished.past.run == failed.past.run):
        header = failed.past.record.header
        yield (
            f"{failed.open_users} user(s) of run {header.run_id} were not delivered:"
            " python main.py --retry-failed"
        )
    if elsewhere:
        yield another_project_notice(elsewhere)
    if not (not_finished or failed or elsewhere):
        yield "Nothing is open."


def _minute(iso_time: str) -> str:
    return iso_time[:19].replace("T", " ")
