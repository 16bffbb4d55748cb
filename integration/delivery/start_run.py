"""The users a run sends: the pending ones of an earlier run, or those of Query 2.

StillPendingError    exit 1: an unfinished run has to be resumed first; nothing was done
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from integration.config.converting import ConfigurationError
from integration.core.clock import utc_now, utc_now_iso
from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.core.files import discard_part, ensure_writable_folder
from integration.core.mapping import Mapping
from integration.core.models import SMALL_RUN_USERS, NewRun
from integration.delivery.chosen_query import chosen_query, exported_users
from integration.delivery.messages import other_project_message, unfinished_message
from integration.delivery.new_users import email_of
from integration.journal.backlog import (
    defer_to_newer_runs,
    of_another_project,
    undelivered,
    unfinished,
)
from integration.journal.pruning import prune
from integration.journal.queries import (
    count_outcomes,
    files_of_crashed_runs,
    read_run,
    record_last_sent_of_crashed_runs,
)

if TYPE_CHECKING:
    from integration.config.arguments import Options
    from integration.config.settings import Settings
    from integration.config.values import QueryFile
    from integration.core.models import Run, RunKind
    from integration.delivery.chosen_query import RowSource
    from integration.delivery.run_files import RunFiles
    from integration.journal.store import Journal

logger = logging.getLogger(__name__)


class StillPendingError(AppError):
    """No users failed, but some are still pending; nothing was done."""

    exit_code = ExitCode.SOME_FAILED


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What the settings and the command line ask for.

    Attributes:
        project: identifies the Iterable project.
        authentication: for the results file and the summary.
        resume: continue the last unfinished run.
        retry_failed: send the users that the last run failed to deliver.
        dry_run: send nothing.
        incremental: skip users that have not changed.
        limit: take the first users of the query only.
        query_file: the file with the query; None for Query 2.
        sync: the name of the sync, or empty.
    """

    project: str
    authentication: Literal["JWT", "API Key"]
    resume: bool = False
    retry_failed: bool = False
    dry_run: bool = False
    incremental: bool = False
    limit: int | None = None
    query_file: QueryFile | None = None
    sync: str = ""

    @classmethod
    def of(cls, settings: Settings, options: Options) -> Self:
        """The plan of these settings and this command line."""
        return cls(
            project=settings.project,
            authentication=settings.authentication,
            resume=options.resume,
            retry_failed=options.retry_failed,
            dry_run=options.dry_run,
            incremental=options.incremental,
            limit=options.limit,
            query_file=settings.query_file,
            sync=options.sync or "",
        )


def start_run(plan: RunPlan, journal: Journal, files: RunFiles, database: RowSource) -> int | None:
    """Choose the users to send, and store them as a run.

    Returns:
        The number of the run, or None if there are no users to resume or retry.
    """
    if not plan.dry_run:
        for path in files_of_crashed_runs(journal):
            discard_part(Path(path))
    record_last_sent_of_crashed_runs(journal)
    run = _choose_run(plan, journal, files, database)
    prune(journal, utc_now(), run)
    return run


def _choose_run(
    plan: RunPlan, journal: Journal, files: RunFiles, database: RowSource
) -> int | None:
    if plan.retry_failed:
        return retry_run(plan, journal, files)
    earlier = unfinished(journal, plan.project, plan.sync)
    if plan.resume:
        if earlier and not earlier.run.is_loaded:
            again = _restarted_run(plan, earlier.run, files)
            return load_users(journal, again, files, database, plan.query_file)
        return resume_run(journal, plan.project, plan.sync)
    if earlier and not plan.dry_run:
        notice = unfinished_message(earlier)
        # A run that did not load has sent nothing: this one replaces it, and cron need not know.
        level = logging.WARNING if earlier.run.is_loaded else logging.INFO
        logger.log(level, "%s. --resume resumes it; starting a new run", notice)
    run = _full_or_limited_run(plan, files)
    return load_users(journal, run, files, database, plan.query_file)


def resume_run(journal: Journal, project: str, sync: str = "") -> int | None:
    """Resume the newest unfinished run."""
    backlog = unfinished(journal, project, sync)
    if backlog is None:
        check_project(journal, project, sync)
        logger.info("Nothing to resume: no run is unfinished")
        return None
    run = backlog.run.number
    ensure_writable_folder(Path(backlog.run.results_file).parent)
    # In one transaction: a run that was only moved would count other newer runs than before.
    with journal.transaction():
        journal.resume(run)
        journal.move(run, project)
        defer_to_newer_runs(journal, backlog, utc_now_iso())
    logger.info(
        "Resuming run %s: %d of %d user(s) are pending",
        backlog.run.run_id,
        backlog.pending_users,
        backlog.run.total_users,
    )
    return run


def retry_run(plan: RunPlan, journal: Journal, files: RunFiles) -> int | None:
    """Start a run of the users that the newest finished run left undelivered."""
    source = undelivered(journal, plan.project, plan.sync)
    if source is None:
        first = unfinished(journal, plan.project, plan.sync)
        if first:
            raise StillPendingError(
                f"{unfinished_message(first)}. Run --resume first, then --retry-failed"
            )
        check_project(journal, plan.project, plan.sync)
        logger.info("Nothing to retry: no finished run has undelivered users")
        return None
    run = journal.begin_retry(_new_run(plan, "retry", files), source)
    logger.info(
        "Retrying %d user(s) that run %s did not deliver",
        source.pending_users,
        source.run.run_id,
    )
    return run


def check_project(journal: Journal, project: str, sync: str = "") -> None:
    """Check that no users of another project are pending.

    Raises:
        ConfigurationError: only the settings that a run started with can resume it.
    """
    elsewhere = of_another_project(journal, project, sync)
    if elsewhere:
        raise ConfigurationError(other_project_message(elsewhere))


def _restarted_run(plan: RunPlan, earlier: Run, files: RunFiles) -> NewRun:
    """The same run from the start: it did not load its users, so it has sent nothing."""
    logger.info("Run %s did not load its users: running it from the start", earlier.run_id)
    return replace(
        _new_run(plan, earlier.kind, files),
        run_id=earlier.run_id,
        limit=earlier.limit,
        incremental=earlier.incremental,
    )


def _full_or_limited_run(plan: RunPlan, files: RunFiles) -> NewRun:
    """A new run of the users of Query 2."""
    run = _new_run(plan, "limited" if plan.limit else "full", files)
    return replace(run, limit=plan.limit, incremental=plan.incremental)


def _new_run(plan: RunPlan, kind: RunKind, files: RunFiles) -> NewRun:
    """What is known of a run before its first row."""
    names = files.reserve()
    return NewRun(
        run_id=str(uuid.uuid4()),
        started_at=utc_now_iso(),
        authentication=plan.authentication,
        csv_file=names.csv_file,
        results_file=names.results_file,
        dry_run=plan.dry_run,
        kind=kind,
        project=plan.project,
        sync=plan.sync,
    )


def load_users(
    journal: Journal,
    run: NewRun,
    files: RunFiles,
    database: RowSource,
    query_file: QueryFile | None = None,
) -> int:
    """Steps 2 and 3: stream the query's rows into the journal and the CSV; close the database.

    The run is stored first, so that --resume finds it if it fails here.
    """
    number = journal.announce(run)
    query = chosen_query(query_file)
    logger.info("[STEP 2] Connecting to database...")
    with database:
        logger.info("[STEP 3] Executing %s...", query.title)
        columns, batches = database.stream_rows(query.query, run.limit)
        mapping = Mapping.of(columns)
        csv = files.begin_csv(run.csv_file, columns)
        journal.load(number, run, exported_users(mapping, batches, csv), columns)
    counts = count_outcomes(journal, number)
    if counts.total_users:
        logger.info(query.found, counts.total_users)
    else:
        logger.warning(query.none_found)
    if counts.total_failures:
        log_rejected(journal, number, counts.total_failures)
    if run.incremental:
        logger.info("Unchanged since they were last sent: %d user(s)", counts.unchanged)
    return number


def log_rejected(journal: Journal, run: int, number: int) -> None:
    """Log the first users that cannot be sent, and how many there are."""
    place = read_run(journal, run).columns.index("email")
    for row, reason in islice(journal.rejected(run), SMALL_RUN_USERS):
        logger.error("%s: %s", email_of(row, place), reason)
    logger.error("%d row(s) of the query cannot be sent: see the results file", number)
