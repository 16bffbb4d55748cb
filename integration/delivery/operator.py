"""`--status` and `--verify`: what an operator asks after a run."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Literal

from integration.core.exit_codes import ExitCode
from integration.delivery.verification import UserReader
from integration.journal.backlog import of_another_project, undelivered, unfinished, unsendable
from integration.journal.queries import (
    count_outcomes,
    delivered_users,
    newest_loaded_run,
    recent_runs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from integration.core.models import Run
    from integration.delivery.verification import Finding, UserReads
    from integration.journal.backlog import Backlog, Unsendable
    from integration.journal.file import JournalFile

logger = logging.getLogger(__name__)

RUNS_SHOWN = 10
MAX_UNREAD_USERS = 20
_GAVE_UP = {
    ExitCode.KEY_REFUSED: "Iterable denied read access: --verify needs a server-side API key",
    ExitCode.UNAVAILABLE: f"Giving up: {MAX_UNREAD_USERS} users in a row could not be read;"
    " check the network, the proxy and ITERABLE_API_BASE_URL",
}
_CRASHED = {"running": "crashed", "loading": "not loaded"}
_COLUMNS = "{:<36}  {:<19}  {:<11}  {:>8}  {:>8}  {:>7}  {:>7}  {:>8}  {:>9}"


def status_lines(file: JournalFile, project: str | None, *, running: bool) -> list[str]:
    """The newest runs, the pending users of `project` (None: of any), and what to run next."""
    runs = recent_runs(file, RUNS_SHOWN)
    if not runs:
        return ["No run yet."]
    heads = ("run", "started (UTC)", "status", "users", "ok", "partial", "failed", "not sent")
    lines = [_COLUMNS.format(*heads, "unchanged")]
    lines += [_run_line(file, run, running=running and run is runs[0]) for run in runs]
    return [*lines, "", *(["A run is in progress."] if running else _advice(file, project))]


def verify(
    file: JournalFile,
    client: UserReads,
    limit: int | None,
    wait: Callable[[float], bool],
) -> ExitCode:
    """Read delivered users of the newest run back and log which are not confirmed."""
    run = newest_loaded_run(file)
    if run is None:
        logger.warning("Nothing to verify: there was no run yet")
        return ExitCode.SOME_FAILED
    users = delivered_users(file, run.number, limit)
    first = next(users, None)
    if first is None:
        return _nothing_delivered(run)
    logger.info("Verifying users of run %s", run.run_id)
    counts: Counter[str] = Counter()
    with closing(UserReader(client, wait).verify(chain([first], users))) as findings:
        gave_up = _log_findings(findings, counts)
    logger.info("%s", _verify_summary(counts))
    if gave_up:
        logger.error("%s", _GAVE_UP[gave_up])
    return gave_up or _verify_exit_code(counts)


def _nothing_delivered(run: Run) -> ExitCode:
    """Nothing confirmed is no success, unless there was nothing to deliver."""
    run_id = run.run_id
    if not run.total_users:
        logger.info("Nothing to verify: run %s had no users", run_id)
        return ExitCode.OK
    logger.warning("Nothing to verify: no user of run %s was delivered", run_id)
    return ExitCode.SOME_FAILED


def _log_findings(findings: Iterable[Finding], counts: Counter[str]) -> ExitCode | None:
    """Log and count the findings; an exit code when reading on makes no sense."""
    consecutive_unread = 0
    for finding in findings:
        if finding.unread and finding.unread.error == "not_attempted":
            return None  # the run is to stop
        if finding.unread and finding.unread.key_refused:
            return ExitCode.KEY_REFUSED
        outcome = _log_finding(finding)
        counts[outcome] += 1
        consecutive_unread = consecutive_unread + 1 if outcome == "unread" else 0
        if consecutive_unread >= MAX_UNREAD_USERS:
            return ExitCode.UNAVAILABLE
    return None


def _log_finding(finding: Finding) -> Literal["confirmed", "different", "unread", "unchecked"]:
    if finding.confirmed:
        return "confirmed"
    email = finding.user.email
    if finding.unread:
        logger.error("Not read: %s: %s", email, finding.unread.error)
        return "unread"
    if finding.differences:
        logger.error("Not confirmed: %s: %s", email, ", ".join(finding.differences))
        return "different"
    logger.warning("Not checked: %s: %s", email, finding.unchecked)
    return "unchecked"


def _verify_summary(counts: Counter[str]) -> str:
    return (
        f"Verified {counts.total()} user(s): {counts['confirmed']} confirmed,"
        f" {counts['different']} not confirmed, {counts['unread']} not read,"
        f" {counts['unchecked']} not checked"
    )


def _verify_exit_code(counts: Counter[str]) -> ExitCode:
    """What no read can show is no failure, but something must have been confirmed."""
    failed = counts["different"] or counts["unread"] or not counts["confirmed"]
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def unfinished_message(backlog: Backlog) -> str:
    """The line about a run that did not finish."""
    run = _named(backlog.run)
    if not backlog.run.is_loaded:
        return f"{run} did not load its users, and sent nothing"
    return f"{run} did not finish: {backlog.pending_users} user(s) are pending"


def other_project_message(backlog: Backlog) -> str:
    """The line about a run that only the settings it started with can resume."""
    left = f"left {backlog.pending_users} user(s) pending"
    return (
        f"{_named(backlog.run)} was for another ITERABLE_API_BASE_URL or ITERABLE_API_KEY and"
        f" {left if backlog.run.is_loaded else 'did not load its users'}:"
        " resume it with those settings, or start a new run"
    )


def unsendable_message(found: Unsendable) -> str:
    """The line about users that can never be sent as they are."""
    number = sum(count for _, count in found.reasons)
    reasons = ", ".join(f"{count} × {reason}" for reason, count in found.reasons)
    return (
        f"{number} user(s) of run {found.run.run_id} cannot be sent and are not"
        f" retried ({reasons}): correct their rows in the database, then start a new run"
    )


def _run_line(file: JournalFile, run: Run, *, running: bool) -> str:
    counts = count_outcomes(file, run.number)
    status: str = run.status
    if not running:
        status = _CRASHED.get(status, status)
    return _COLUMNS.format(
        run.run_id,
        _minute(run.started_at),
        status,
        counts.total_users,
        counts.successful,
        counts.partial_failures,
        counts.total_failures,
        counts.not_attempted,
        counts.unchanged,
    )


def _advice(file: JournalFile, project: str | None) -> Iterator[str]:
    """The pending users, and the commands to run next."""
    not_finished = unfinished(file, project)
    failed = undelivered(file, project)
    elsewhere = of_another_project(file, project) if project else None
    if not_finished:
        yield f"{unfinished_message(not_finished)}: python main.py --resume"
    if failed and not (not_finished and not_finished.run.number == failed.run.number):
        yield (
            f"{failed.pending_users} user(s) of run {failed.run.run_id} were not delivered:"
            " python main.py --retry-failed"
        )
    if elsewhere:
        yield other_project_message(elsewhere)
    if rejected := unsendable(file, project):
        yield unsendable_message(rejected)
    if not (not_finished or failed or elsewhere):
        yield "No users are pending."


def _named(run: Run) -> str:
    return f"Run {run.run_id} of {_minute(run.started_at)} UTC"


def _minute(iso_time: str) -> str:
    return iso_time[:19].replace("T", " ")
