"""`--status` and `--verify`: what an operator asks after a run."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from exit_codes import ExitCode
from history import past_run, past_runs, unfinished_run
from verification import UserReader, delivered_users

if TYPE_CHECKING:
    from collections.abc import Callable

    from history import PastRun
    from iterable_client import IterableClient
    from journal_file import JournalFile

logger = logging.getLogger("main")

RUNS_SHOWN = 10
MOST_UNREAD_USERS = 20
_COLUMNS = "{:<36}  {:<19}  {:<11}  {:>8}  {:>8}  {:>7}  {:>7}  {:>7}  {:>9}"


def status_lines(file: JournalFile, *, running: bool) -> list[str]:
    """The newest runs, what is open, and what to do about it."""
    runs = past_runs(file, RUNS_SHOWN)
    if not runs:
        return ["No run yet."]
    heads = ("run", "started (UTC)", "status", "users", "ok", "partly", "failed", "not tr.")
    lines = [_COLUMNS.format(*heads, "unchanged")]
    lines += [_run_line(past, running=running and past is runs[0]) for past in runs]
    return [*lines, "", *_advice(file, runs[0], running=running)]


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
        if finding.confirmed:
            counts["confirmed"] += 1
        elif finding.unread:
            counts["unread"] += 1
            logger.error("Not read: %s: %s", finding.user.email, finding.unread.error)
            if counts["unread"] >= MOST_UNREAD_USERS and not counts["confirmed"]:
                logger.error("Iterable cannot be read: giving up")
                return ExitCode.UNAVAILABLE
        else:
            counts["different"] += 1
            differences = ", ".join(finding.differences)
            logger.error("Not confirmed: %s: %s", finding.user.email, differences)
    total = sum(counts.values())
    logger.info(
        "Verified %d user(s): %d confirmed, %d not confirmed, %d not read",
        total,
        counts["confirmed"],
        counts["different"],
        counts["unread"],
    )
    return ExitCode.DELIVERED if counts["confirmed"] == total else ExitCode.SOME_FAILED


def unfinished_notice(file: JournalFile) -> str | None:
    """What a new run says of one that did not finish, or None."""
    run = unfinished_run(file)
    if run is None:
        return None
    past = past_run(file, run)
    return (
        f"Run {past.record.header.run_id} of {_minute(past.record.header.started_at)} UTC did not"
        f" finish: {past.open_users} user(s) are open. --resume goes on with it"
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


def _advice(file: JournalFile, newest: PastRun, *, running: bool) -> list[str]:
    if running:
        return ["A run is going on."]
    notice = unfinished_notice(file)
    if notice:
        return [f"{notice}: python main.py --resume"]
    if newest.open_users:
        return [f"{newest.open_users} user(s) of the newest run failed: main.py --retry-failed"]
    return ["Nothing is open."]


def _minute(iso_time: str) -> str:
    return iso_time[:19].replace("T", " ")
