"""Whom a run sends to: an earlier run's open users, or those of Query 2.

StillOpenError    exit 1: an unfinished run comes first; nothing was done
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from db_connection import DatabaseConnection, load_query
from integration.bootstrap import PROGRAM_DIR, database_settings, project_of, run_header
from integration.config.settings import ConfigurationError
from integration.core.clock import utc_now, utc_now_iso
from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.core.files import discard_part, ensure_writable_folder
from integration.delivery.operator import other_project_message, unfinished_message
from integration.delivery.progress import MAX_USERS_SHOWN
from integration.journal.backlog import (
    defer_to_newer_runs,
    of_another_project,
    undelivered,
    unfinished,
)
from integration.journal.pruning import prune
from integration.journal.queries import (
    files_of_dead_runs,
    past_run,
    record_last_sent_of_crashed_runs,
)

if TYPE_CHECKING:
    from contextlib import ExitStack

    from integration.config.arguments import Options
    from integration.config.settings import Settings
    from integration.core.models import RunHeader, RunKind
    from integration.journal.queries import PastRun
    from integration.journal.store import Journal

logger = logging.getLogger(__name__)

QUERY_FILE = PROGRAM_DIR / "phase2_queries.sql"
QUERY_NUMBER = 2


class StillOpenError(AppError):
    """Nobody failed, but somebody was not reached yet; nothing was done."""

    exit_code = ExitCode.SOME_FAILED


def start_run(
    settings: Settings, options: Options, journal: Journal, cleanup: ExitStack
) -> int | None:
    """Whom to send: an earlier run's open users, or those of Query 2; None when nobody."""
    if not options.dry_run:
        for path in files_of_dead_runs(journal):
            discard_part(Path(path))
    record_last_sent_of_crashed_runs(journal)
    run = _choose_run(settings, options, journal, cleanup)
    prune(journal, utc_now(), run)
    return run


def _choose_run(
    settings: Settings, options: Options, journal: Journal, cleanup: ExitStack
) -> int | None:
    if options.retry_failed:
        return retry_run(settings, journal, cleanup)
    earlier = unfinished(journal, project_of(settings))
    if options.resume:
        if earlier and not earlier.past.is_loaded:
            return run_from_the_start(settings, earlier.past, journal, cleanup)
        return resume_run(settings, journal)
    if earlier and not options.dry_run:
        notice = unfinished_message(earlier)
        logger.warning("%s. --resume would continue it; starting a new run", notice)
    return fetch_users(settings, options, journal, cleanup)


def resume_run(settings: Settings, journal: Journal) -> int | None:
    """Go on with the newest run that did not finish."""
    project = project_of(settings)
    backlog = unfinished(journal, project)
    if backlog is None:
        check_project(journal, project)
        logger.info("Nothing to resume: no run is unfinished")
        return None
    run, header = backlog.past.run, backlog.past.record.header
    ensure_writable_folder(Path(header.results_file).parent)
    # At once: a run that was moved halfway would count other later runs than before.
    with journal.transaction():
        journal.resume(run)
        journal.move(run, project)
        defer_to_newer_runs(journal, backlog, utc_now_iso())
    logger.info(
        "Resuming run %s: %d of %d user(s) are open",
        header.run_id,
        backlog.open_users,
        backlog.past.counts.total_users,
    )
    return run


def retry_run(settings: Settings, journal: Journal, cleanup: ExitStack) -> int | None:
    """Begin a run of those whom the newest finished run with open users did not deliver."""
    project = project_of(settings)
    source = undelivered(journal, project)
    if source is None:
        first = unfinished(journal, project)
        if first:
            raise StillOpenError(
                f"{unfinished_message(first)}. --resume goes on with it; only then --retry-failed"
            )
        check_project(journal, project)
        logger.info("Nothing to retry: no finished run left anybody undelivered")
        return None
    header = run_header(settings, "retry", cleanup, dry_run=False)
    run = journal.begin_retry(header, source)
    logger.info(
        "Retrying %d user(s) whom run %s did not deliver",
        source.open_users,
        source.past.record.header.run_id,
    )
    return run


def check_project(journal: Journal, project: str) -> None:
    """Somebody who is open, but not for this project, is not nobody.

    Raises:
        ConfigurationError: only the settings that a run began with can go on with it.
    """
    elsewhere = of_another_project(journal, project)
    if elsewhere:
        raise ConfigurationError(other_project_message(elsewhere))


def run_from_the_start(
    settings: Settings, past: PastRun, journal: Journal, cleanup: ExitStack
) -> int:
    """Begin again with a run that never came to have its users: it has sent nothing."""
    earlier = past.record.header
    logger.info("Run %s did not load its users: it begins from the start", earlier.run_id)
    header = run_header(settings, earlier.kind, cleanup, dry_run=False)
    same = replace(
        header, run_id=earlier.run_id, limit=earlier.limit, incremental=earlier.incremental
    )
    return load_users(settings, same, journal)


def fetch_users(settings: Settings, options: Options, journal: Journal, cleanup: ExitStack) -> int:
    """A new run of the users of Query 2."""
    kind: RunKind = "limited" if options.limit else "full"
    header = run_header(settings, kind, cleanup, dry_run=options.dry_run)
    header = replace(header, limit=options.limit, incremental=options.incremental)
    return load_users(settings, header, journal)


def load_users(settings: Settings, header: RunHeader, journal: Journal) -> int:
    """Steps 2 and 3: stream Query 2 into the journal and let the database go.

    The run is in the journal before, so that --resume knows of one that fails here.
    """
    run = journal.announce(header)
    query = load_query(QUERY_FILE, QUERY_NUMBER)
    logger.info("[STEP 2] Connecting to database...")
    with DatabaseConnection.from_settings(database_settings(settings)) as database:
        logger.info("[STEP 3] Executing Phase 2 Query 2...")
        journal.load(run, header, database.stream_page_views(query, header.limit))
    counts = past_run(journal, run).counts
    if counts.total_users:
        logger.info("Found %d pro user(s) with recent engagement", counts.total_users)
    else:
        logger.warning("No pro users with recent pricing/settings page views found")
    if counts.total_failures:
        log_rejected(journal, run, counts.total_failures)
    if header.incremental:
        logger.info("Unchanged since they were last sent: %d user(s)", counts.unchanged)
    return run


def log_rejected(journal: Journal, run: int, number: int) -> None:
    """Name those who cannot be sent, the first of them."""
    for email, reason in journal.refused(run, MAX_USERS_SHOWN):
        logger.error("%s: %s", email, reason)
    logger.error("%d row(s) of the query cannot be sent: see the results file", number)
