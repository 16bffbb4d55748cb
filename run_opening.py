"""Whom a run sends to: an earlier run's open users, or those of Query 2.

StillOpenError    exit 1: an unfinished run comes first; nothing was done
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from assembly import PROGRAM_DIR, database_settings, project_of, run_header
from db_connection import DatabaseConnection, load_query
from delivery import now_text
from files import make_writable_folder
from history import (
    finished_run,
    leave_to_later_runs,
    past_run,
    prune,
    settle_crashed_runs,
    unfinished_run,
)
from operator_commands import unfinished_notice
from settings import ConfigurationError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from command_line import Options
    from history import PastRun
    from journal import Journal
    from records import RunKind
    from settings import Settings

logger = logging.getLogger("main")

QUERY_FILE = PROGRAM_DIR / "phase2_queries.sql"
QUERY_NUMBER = 2
DAYS_KEPT = 30


class StillOpenError(Exception):
    """What was asked for would send older data after newer; nothing was done."""


def open_run(
    settings: Settings, options: Options, journal: Journal, cleanup: ExitStack
) -> int | None:
    """Whom to send: an earlier run's open users, or those of Query 2; None when nobody."""
    settle_crashed_runs(journal)
    prune(journal, (datetime.now(timezone.utc) - timedelta(days=DAYS_KEPT)).isoformat())
    if options.resume:
        return resume_run(settings, journal)
    if options.retry_failed:
        return retry_run(settings, journal, cleanup)
    notice = unfinished_notice(journal)
    if notice and not options.dry_run:
        logger.warning("%s; this run begins anew", notice)
    return fetch_users(settings, options, journal, cleanup)


def check_project(settings: Settings, past: PastRun) -> None:
    """What one Iterable project has not got is not sent to another.

    A corrected key is another project too, to the program; then nothing was delivered yet.

    Raises:
        ConfigurationError: the run was for another project.
    """
    address, _, _ = project_of(settings).partition(":")
    project = past.record.header.project
    delivered = past.counts.successful + past.counts.partial_failures
    same = project in {"", project_of(settings)}
    if not same and (delivered or not project.startswith(f"{address}:")):
        raise ConfigurationError(
            f"Run {past.record.header.run_id} was for another ITERABLE_API_BASE_URL or"
            " ITERABLE_API_KEY: go on with those, or begin a new run"
        )


def resume_run(settings: Settings, journal: Journal) -> int | None:
    """Go on with the newest run that did not finish."""
    run = unfinished_run(journal)
    if run is None:
        logger.info("Nothing to resume: no run is unfinished")
        return None
    past = past_run(journal, run)
    check_project(settings, past)
    make_writable_folder(Path(past.record.header.results_file).parent)
    journal.resume(run)
    journal.move(run, project_of(settings))
    leave_to_later_runs(journal, run, now_text())
    past = past_run(journal, run)
    logger.info(
        "Resuming run %s: %d of %d user(s) are open",
        past.record.header.run_id,
        past.open_users,
        past.counts.total_users,
    )
    return run


def retry_run(settings: Settings, journal: Journal, cleanup: ExitStack) -> int | None:
    """Begin a run of those whom the newest finished run did not deliver."""
    source = finished_run(journal)
    unfinished = unfinished_run(journal)
    if source is not None and unfinished is not None and unfinished > source:
        # Its users have newer data; the older run's must not follow theirs.
        raise StillOpenError(f"{unfinished_notice(journal)}; only then --retry-failed")
    past = None if source is None else past_run(journal, source)
    if past is None or not past.open_users:
        logger.info("Nothing to retry: the newest finished run left nobody undelivered")
        return None
    check_project(settings, past)
    header = run_header(settings, "retry", cleanup, dry_run=False)
    run = journal.begin_retry(header, past.run)
    logger.info(
        "Retrying %d user(s) whom run %s did not deliver",
        journal.total_users(run),
        past.record.header.run_id,
    )
    return run


def fetch_users(settings: Settings, options: Options, journal: Journal, cleanup: ExitStack) -> int:
    """Steps 2 and 3: stream Query 2 into the journal and let the database go."""
    query = load_query(QUERY_FILE, QUERY_NUMBER)
    kind: RunKind = "limited" if options.limit else "full"
    header = run_header(settings, kind, cleanup, dry_run=options.dry_run)
    logger.info("[STEP 2] Connecting to database...")
    with DatabaseConnection(database_settings(settings)) as database:
        logger.info("[STEP 3] Executing Phase 2 Query 2...")
        views = database.stream_page_views(query, options.limit)
        run = journal.begin(header, views, incremental=options.incremental)
    total = journal.total_users(run)
    if total:
        logger.info("Found %d pro user(s) with recent engagement", total)
    else:
        logger.warning("No pro users with recent pricing/settings page views found")
    counts = past_run(journal, run).counts
    if counts.total_failures:
        logger.error(
            "%d user(s) have no email that can be sent to: see the results file",
            counts.total_failures,
        )
    if options.incremental:
        logger.info("Unchanged since they were last sent: %d user(s)", counts.unchanged)
    return run
