"""Tell Iterable about recently engaged pro customers: the run, step by step.

Python 3.6 understands the grammar of this file, so that it can say which Python is needed.
"""

import signal

from integration.core.system_check import exit_if_unfit

if __name__ == "__main__":
    # A Ctrl-C while the rest is still being loaded ends the program without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    exit_if_unfit()

import logging
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from integration.bootstrap import known_project, make_client, prepare, prepare_status
from integration.config.arguments import parse_arguments
from integration.core.clock import utc_now_iso
from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.core.files import display_path, is_there, make_folder
from integration.core.shutdown import Interrupted, SignalWatch, Stop, wait_in_main_thread
from integration.delivery.dispatcher import Delivery, choose_mode, choose_workers, journal_gone
from integration.delivery.operator import status_lines, verify
from integration.delivery.progress import MAX_USERS_SHOWN, DeliveryProgress
from integration.delivery.reports import summary_lines, write_csv, write_results
from integration.delivery.start_run import start_run
from integration.journal.file import JournalFile, journal_exists
from integration.journal.lock import is_locked, open_journal
from integration.journal.queries import past_run
from logger_config import begin_log, print_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.config.arguments import Options
    from integration.config.settings import Settings, StatusSettings
    from integration.core.models import Mode
    from integration.core.shutdown import StopReason
    from integration.journal.store import Journal
    from iterable_client import IterableClient

logger = logging.getLogger("main")


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Do what the command line asks and return the exit code; an expected failure is one line."""
    options = parse_arguments(arguments)
    begin_log(options.console_level or "INFO")
    stop = Stop()
    signals = SignalWatch(stop)
    try:
        if options.status:
            return show_status(prepare_status(options))
        if options.verify is not None:
            return verify_delivered(options, stop, signals)
        return run_integration(options, stop, signals)
    except Interrupted as interruption:
        logger.warning("%s; nothing was sent", interruption)
        return interruption.reason.exit_code
    except AppError as error:
        if signals.broken_off_by:
            logger.warning("%s; nothing was sent", signals.broken_off_by.text)
            return signals.broken_off_by.exit_code
        logger.error("%s", error)  # noqa: TRY400  a traceback is for bugs
        return error.exit_code


def run_integration(options: "Options", stop: Stop, signals: SignalWatch) -> ExitCode:
    """The run: settings, database, Query 2, client, CSV, delivery, summary."""
    logger.info("Starting Iterable Integration")
    logger.info("[STEP 1] Loading environment variables...")
    with ExitStack() as cleanup:
        settings = prepare(options, cleanup)
        logger.info("Environment variables loaded successfully")
        logger.info("Log file: %s", display_path(settings.log_file))
        # The claim on the names of files is given up while the journal is still locked.
        journal = cleanup.enter_context(
            open_journal(settings.journal_file, dry_run=options.dry_run)
        )
        run = start_run(settings, options, journal, cleanup)
        if run is None:
            return ExitCode.DELIVERED
        logger.info("[STEP 4] Initializing Iterable API client...")
        client = make_client(settings, stop)
        logger.info("Using %s authentication", settings.authentication.replace("Key", "key"))
        logger.info("Iterable API client initialized")
        logger.info("[STEP 4.5] Exporting query results to CSV...")
        export_csv(journal, run)
        logger.info("[STEP 5] Processing user records...")
        signals.let_calls_finish()
        if options.dry_run:
            decide_mode(settings, journal, run)
            show_payloads(journal, run, stop)
        else:
            deliver(settings, journal, run, client, stop)
        logger.info("[STEP 6] Generating summary...")
        return summarise(journal, run, stop, dry_run=options.dry_run)


def export_csv(journal: "Journal", run: int) -> None:
    """Step 4.5: the list of users, as the journal has it."""
    path = Path(past_run(journal, run).record.header.csv_file)
    if is_there(path):
        logger.info("The CSV is there already: %s", display_path(path))
        return
    count = write_csv(path, journal.csv_rows(run))
    logger.info("Exported %d records to CSV: %s", count, display_path(path))


def deliver(
    settings: "Settings", journal: "Journal", run: int, client: "IterableClient", stop: Stop
) -> None:
    """Step 5: send every pending user and note what became of each."""
    quiet = settings.log_level not in {"DEBUG", "INFO"}
    users = journal.pending_users(run)
    workers = choose_workers(settings.max_workers, users)
    client.names_users = workers > 1
    progress = DeliveryProgress(users, one_by_one=workers == 1, quiet=quiet)
    delivery = Delivery(
        client,
        journal,
        run,
        stop,
        progress,
        workers=workers,
        mode=decide_mode(settings, journal, run),
    )
    try:
        delivery.deliver(journal.pending(run))
        journal.set_mode(run, delivery.mode)
    finally:
        progress.close()
        client.close()


def decide_mode(settings: "Settings", journal: "Journal", run: int) -> "Mode":
    """Single or bulk calls; without a wish, a resumed run or a retry keeps what there was.

    For one user in a short time Iterable wants one kind of call.
    """
    past = past_run(journal, run)
    auto = settings.delivery_mode == "auto"
    wanted = past.record.mode if auto and past.record.mode else settings.delivery_mode
    mode = choose_mode(wanted, journal.pending_users(run), jwt=settings.use_jwt_auth)
    if wanted == "bulk" != mode:
        logger.warning("A JWT key may not make bulk calls: going on with single calls")
    journal.set_mode(run, mode)
    return mode


def show_payloads(journal: "Journal", run: int, stop: Stop) -> None:
    """Step 5 of a dry run: what would be sent, on the console for the first users."""
    for user in journal.pending(run):
        if stop.requested():
            return
        level = logging.INFO if user.position <= MAX_USERS_SHOWN else logging.DEBUG
        logger.log(level, "Would send users/update: %s", user.profile.decode())
        logger.log(level, "Would send events/track: %s", user.event.decode())


def summarise(journal: "Journal", run: int, stop: Stop, *, dry_run: bool) -> ExitCode:
    """Step 6: close the run in the journal, write the results file, tell the summary."""
    past = past_run(journal, run)
    header = past.record.header
    pending = journal.pending_users(run)
    # A signal that came after the last answer has stopped nothing.
    reason = lost_journal(journal, dry_run=dry_run) or (stop.reason if pending else None)
    record = replace(
        past.record,
        header=replace(header, csv_file=str(display_path(Path(header.csv_file)))),
        finished_at=utc_now_iso(),
        status=reason.status if reason else "completed",
        stop_reason=reason.text if reason else None,
    )
    results_file = Path(header.results_file)
    make_folder(results_file.parent)  # it may have been removed during the run
    write_results(results_file, record, past.counts, journal.outcomes(run))
    # Only now: a run that dies before it has its results file is found by --resume.
    journal.finish(run, record.status, record.stop_reason, record.finished_at or "")
    for line in summary_lines(record, past.counts):
        logger.info("%s", line)
    logger.info("Results saved to: %s", display_path(results_file))
    if dry_run:
        logger.info(
            "Dry run: nothing was sent; %d user(s) would be, by %s calls",
            pending,
            record.mode,
        )
    # It may have gone while the results were written.
    lost = lost_journal(journal, dry_run=dry_run)
    reason = lost or reason
    if reason:
        hint = "" if lost or dry_run else ". --resume goes on with this run"
        logger.error("%s%s", reason.text, hint)
        return reason.exit_code
    return ExitCode.SOME_FAILED if past.open_users and not dry_run else ExitCode.DELIVERED


def lost_journal(journal: "Journal", *, dry_run: bool) -> "StopReason | None":
    """Why the run does not end well though all was sent; a dry run's journal has no name."""
    return None if dry_run or journal.is_in_place else journal_gone(journal.path)


def show_status(settings: "StatusSettings") -> ExitCode:
    """`--status`: the last runs, what is open, what to do."""
    path = settings.journal_file
    if not journal_exists(path):
        print_answer([f"No journal at {display_path(path)}: nothing was run with it yet."])
        return ExitCode.DELIVERED
    running = is_locked(path)
    with JournalFile(path) as file:
        print_answer(status_lines(file, known_project(settings), running=running))
    return ExitCode.DELIVERED


def verify_delivered(options: "Options", stop: Stop, signals: SignalWatch) -> ExitCode:
    """`--verify`: read delivered users back from Iterable and compare."""
    most = None if options.verify == "all" else options.verify
    with ExitStack() as cleanup:
        settings = prepare(options, cleanup)
        signals.let_calls_finish()
        client = make_client(settings, stop)
        client.names_users = True
        cleanup.callback(client.close)
        file = cleanup.enter_context(JournalFile(settings.journal_file))
        code = verify(file, client, most, partial(wait_in_main_thread, stop))
    if stop.reason is None:
        return code
    if stop.reason.status == "stopped":
        logger.error("%s", stop.reason.text)
    return stop.reason.exit_code


if __name__ == "__main__":
    sys.exit(main())
