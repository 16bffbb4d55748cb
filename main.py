"""Tell Iterable about recently engaged pro customers: the run, step by step."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # A Ctrl-C while the rest is still being loaded ends the program without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import logging
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from assembly import (
    PROGRAM_DIR,
    LockedError,
    database_settings,
    is_locked,
    make_client,
    open_journal,
    prepare,
    project_of,
    run_header,
)
from command_line import parse_arguments
from db_connection import DatabaseConnection, DatabaseError, load_query
from delivery import Delivery, choose_mode, now_text
from exit_codes import ExitCode
from files import FileError, make_writable_folder
from history import (
    finished_run,
    leave_to_later_runs,
    past_run,
    prune,
    settle_crashed_runs,
    unfinished_run,
)
from journal_file import JournalError, JournalFile
from logger_config import log_to_console
from masking import SecretMask
from operator_commands import status_lines, unfinished_notice, verify
from payloads import RecordError
from progress import MOST_USERS_SHOWN, DeliveryProgress
from reports import summary_lines, write_csv, write_results
from settings import ConfigurationError
from stopping import Interrupted, SignalWatch, Stop, wait_in_main_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from command_line import Options
    from history import PastRun
    from iterable_client import IterableClient
    from journal import Journal
    from records import Mode, RunKind
    from settings import Settings

logger = logging.getLogger("main")

QUERY_FILE = PROGRAM_DIR / "phase2_queries.sql"
QUERY_NUMBER = 2
DAYS_KEPT = 30


class StillOpenError(Exception):
    """What was asked for would send older data after newer; nothing was done."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks and return the exit code; an expected failure is one line."""
    options = parse_arguments(arguments)
    log_to_console(options.console_level or "INFO", SecretMask())
    stop = Stop()
    signals = SignalWatch(stop)
    try:
        with ExitStack() as cleanup:
            settings = prepare(options, cleanup)
            if options.status:
                return show_status(settings)
            if options.verify is not None:
                signals.let_calls_finish()
                return verify_delivered(settings, options, stop)
            return run_integration(settings, options, stop, signals)
    except Interrupted as interruption:
        logger.warning("%s; nothing was sent", interruption)
        return interruption.reason.exit_code
    except tuple(EXIT_CODES) as error:
        if signals.broken_off_by:
            logger.warning("%s; nothing was sent", signals.broken_off_by.text)
            return signals.broken_off_by.exit_code
        logger.error("%s", error)  # noqa: TRY400  a traceback is for bugs
        return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))


def run_integration(
    settings: Settings, options: Options, stop: Stop, signals: SignalWatch
) -> ExitCode:
    """The run: database, Query 2, client, CSV, delivery, summary."""
    logger.info("Starting Iterable Integration")
    logger.info("[STEP 1] Loading environment variables...")
    logger.info("Environment variables loaded successfully")
    with (
        open_journal(settings.journal_file, dry_run=options.dry_run) as journal,
        ExitStack() as cleanup,
    ):
        run = open_run(settings, options, journal, cleanup)
        if run is None:
            return ExitCode.DELIVERED
        logger.info("[STEP 4] Initializing Iterable API client...")
        client = make_client(settings, stop)
        logger.info("Using %s authentication", settings.authentication.replace("Key", "key"))
        logger.info("[STEP 4.5] Exporting query results to CSV...")
        export_csv(journal, run)
        logger.info("[STEP 5] Processing user records...")
        signals.let_calls_finish()
        if options.dry_run:
            decide_mode(settings, journal, run)
            show_payloads(journal, run)
        else:
            deliver(settings, journal, run, client, stop)
        logger.info("[STEP 6] Generating summary...")
        return summarise(journal, run, stop, dry_run=options.dry_run)


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


def export_csv(journal: Journal, run: int) -> None:
    """Step 4.5: the list of users, as the journal has it."""
    path = Path(past_run(journal, run).record.header.csv_file)
    if path.exists():
        logger.info("The CSV is there already: %s", path)
        return
    count = write_csv(path, journal.csv_rows(run))
    logger.info("Exported %d records to CSV: %s", count, path)


def deliver(
    settings: Settings, journal: Journal, run: int, client: IterableClient, stop: Stop
) -> None:
    """Step 5: send every pending user and note what became of each."""
    quiet = settings.log_level not in {"DEBUG", "INFO"}
    progress = DeliveryProgress(past_run(journal, run).open_users, quiet=quiet)
    delivery = Delivery(
        client,
        journal,
        run,
        stop,
        progress,
        workers=settings.max_workers,
        mode=decide_mode(settings, journal, run),
    )
    try:
        delivery.deliver(journal.pending(run))
        journal.set_mode(run, delivery.mode)
    finally:
        progress.close()
        client.close()


def decide_mode(settings: Settings, journal: Journal, run: int) -> Mode:
    """Single or bulk calls; a resumed run keeps what it began with.

    For one user in a short time Iterable wants one kind of call.
    """
    past = past_run(journal, run)
    auto = settings.delivery_mode == "auto"
    wanted = past.record.mode if auto and past.record.mode else settings.delivery_mode
    mode = choose_mode(wanted, past.counts.total_users, jwt=settings.use_jwt_auth)
    journal.set_mode(run, mode)
    return mode


def show_payloads(journal: Journal, run: int) -> None:
    """Step 5 of a dry run: what would be sent, on the console for the first users."""
    for user in journal.pending(run):
        level = logging.INFO if user.position <= MOST_USERS_SHOWN else logging.DEBUG
        logger.log(level, "Would send users/update: %s", user.profile.decode())
        logger.log(level, "Would send events/track: %s", user.event.decode())


def summarise(journal: Journal, run: int, stop: Stop, *, dry_run: bool) -> ExitCode:
    """Step 6: close the run in the journal, write the results file, tell the summary."""
    past = past_run(journal, run)
    # A signal that came after the last answer has stopped nothing.
    reason = stop.reason if past.open_users else None
    status = reason.status if reason else "completed"
    record = replace(
        past.record,
        finished_at=now_text(),
        status=status,
        stop_reason=reason.text if reason else None,
    )
    counts = past.counts
    write_results(Path(record.header.results_file), record, counts, journal.outcomes(run))
    # Only now: a run that dies before it has its results file is found by --resume.
    journal.finish(run, status, record.stop_reason, record.finished_at or "")
    for line in summary_lines(record, counts):
        logger.info("%s", line)
    logger.info("Results saved to: %s", record.header.results_file)
    if reason:
        logger.error("%s. --resume goes on with this run", reason.text)
        return reason.exit_code
    return ExitCode.SOME_FAILED if past.open_users and not dry_run else ExitCode.DELIVERED


def show_status(settings: Settings) -> ExitCode:
    """`--status`: the last runs, what is open, what to do."""
    path = settings.journal_file
    if not path.exists():
        print(f"No journal at {path}: nothing was run with it yet.")
        return ExitCode.DELIVERED
    running = is_locked(path)
    with JournalFile(path) as file:
        print("\n".join(status_lines(file, running=running)))
    return ExitCode.DELIVERED


def verify_delivered(settings: Settings, options: Options, stop: Stop) -> ExitCode:
    """`--verify`: read delivered users back from Iterable and compare."""
    most = None if options.verify == "all" else options.verify
    client = make_client(settings, stop)
    with ExitStack() as cleanup:
        cleanup.callback(client.close)
        file = cleanup.enter_context(JournalFile(settings.journal_file))
        code = verify(file, client, most, partial(wait_in_main_thread, stop))
    return stop.reason.exit_code if stop.reason else code


EXIT_CODES: dict[type[Exception], ExitCode] = {
    ConfigurationError: ExitCode.CONFIGURATION,
    FileError: ExitCode.CONFIGURATION,
    JournalError: ExitCode.CONFIGURATION,
    DatabaseError: ExitCode.UNAVAILABLE,
    LockedError: ExitCode.LOCKED,
    RecordError: ExitCode.UNAVAILABLE,
    StillOpenError: ExitCode.SOME_FAILED,
}

if __name__ == "__main__":
    sys.exit(main())
