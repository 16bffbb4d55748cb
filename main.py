"""Send recently engaged pro customers to Iterable: the run, step by step.

This file must parse on Python 3.6, so that an older Python prints which version is needed.
"""

import gc
import signal

from integration.core.system_check import end_on_sigterm_as_first_process, exit_if_unfit

if __name__ == "__main__":
    end_on_sigterm_as_first_process()
    # Ctrl-C during the imports below ends the program without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    exit_if_unfit()
    # Imported modules are never garbage; looking for some would take a tenth of the start.
    gc.disable()

import logging
import os
import sys
from contextlib import ExitStack, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from db_connection import DatabaseConnection
from integration.config.arguments import __version__, parse_arguments
from integration.config.loading import (
    check_log_and_journal,
    current_folder,
    load,
    load_status,
)
from integration.config.syncs import own_variables, sync_names, syncs_folder
from integration.core.clock import utc_now
from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.core.files import (
    FileError,
    display_path,
    ensure_writable_folder,
    raise_open_file_limit,
)
from integration.core.log_context import naming_run
from integration.core.log_lines import LogStyle
from integration.core.redaction import SecretMask, proxy_secrets
from integration.core.shutdown import Interrupted, SignalWatch, Stop, wait_in_main_thread
from integration.database.settings import reader_settings
from integration.delivery.dispatcher import Delivery, choose_workers
from integration.delivery.dry_run import show_payloads
from integration.delivery.finish_run import finish_run
from integration.delivery.mode import decide_mode
from integration.delivery.new_users import pending_users
from integration.delivery.progress import DeliveryProgress
from integration.delivery.repetition import deliver_once, repeat_deliveries
from integration.delivery.run_files import RunFiles, export_csv
from integration.delivery.start_run import RunPlan, start_run
from integration.delivery.status import status_answer
from integration.delivery.summary import CommandResult, run_part
from integration.iterable.preflight import check_jwt_secret, check_route
from integration.iterable.transport import PROGRAM
from integration.journal.lock import open_journal, project_lock
from integration.journal.queries import read_run
from integration.journal.read_only import ReadOnlyJournal
from integration.notify.delivery import DeliveryTelling, TakenRun
from iterable_client import IterableClient, Pause
from logger_config import (
    begin_log,
    log_to_console,
    log_to_file,
    print_answer,
    rotated_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.config.arguments import Options
    from integration.config.settings import DeliveryOptions, Settings
    from integration.journal.store import Journal

logger = logging.getLogger("main")

PROGRAM_DIR = Path(__file__).resolve().parent


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run the command, tell of it, and return its exit code."""
    options = parse_arguments(arguments)
    style = LogStyle.of_environment(os.environ, only_stderr=options.json)
    begin_log(options.console_level or "INFO", style)
    stop = Stop()
    signals = SignalWatch(stop)
    if options.every is not None:
        return repeat(options.every, arguments, stop, signals)
    result, telling = CommandResult("status" if options.status else "run"), DeliveryTelling(stop)
    try:
        result.end(*run_command(options, stop, signals, result, telling))
    finally:
        signals.only_request()
        if options.json:
            print_result(result, telling)
        telling.end(result.exit_code, result.error)
    return result.exit_code


def run_command(
    options: "Options",
    stop: Stop,
    signals: SignalWatch,
    result: CommandResult,
    telling: DeliveryTelling,
) -> "tuple[int, str | None]":
    """The exit code, and the line of an expected failure, which is logged."""
    try:
        if options.all_syncs:
            code = run_all_syncs()
        elif options.status or options.explain:
            code = show_past(options, result)
        elif options.check:
            code = check_setup(options, stop, signals)
        elif options.verify is not None:
            code = verify_delivered(options, stop, signals)
        else:
            code = run_integration(options, stop, signals, result, telling)
    except Interrupted as interruption:
        text = f"{interruption}; nothing was sent"
        logger.warning("%s", text)
        return interruption.reason.exit_code, text
    except AppError as error:
        if signals.interrupted_by:
            text = f"{signals.interrupted_by.text}; nothing was sent"
            logger.warning("%s", text)
            return signals.interrupted_by.exit_code, text
        logger.error("%s", error)  # noqa: TRY400  a traceback is for bugs
        return error.exit_code, str(error)
    else:
        return code, None


def print_result(result: CommandResult, telling: DeliveryTelling) -> None:
    """`--json`: the answer to the command, whatever its outcome."""
    if result.command == "run":
        result.parts = {"run": None, **result.parts, "verdict": telling.verdict()}
    try:
        print_answer([result.as_json()])
    except FileError as error:
        logger.error("%s", error)  # noqa: TRY400  a traceback is for bugs


def repeat(
    every: float, arguments: "Sequence[str] | None", stop: Stop, signals: SignalWatch
) -> int:
    """`--every`: a delivery at an interval, until a signal arrives."""
    signals.let_calls_finish()
    given = sys.argv[1:] if arguments is None else arguments
    run_once = partial(deliver_once, Path(__file__), given, stop)
    return repeat_deliveries(run_once, every, stop, wait_in_main_thread)


@contextmanager
def settings_for(
    options: "Options", telling: "DeliveryTelling | None" = None
) -> "Iterator[Settings]":
    """Read and check the settings and open the log; with `--demo`, start the bundled services."""
    working_dir = current_folder()
    with variables_for(options, working_dir) as variables:
        told: set[str] = set()
        if telling:
            told = telling.begin(variables, working_dir, is_told=options.is_run).secrets()
        settings = load(variables, options.overrides(), working_dir)
        mask = SecretMask({*settings.secrets(), *proxy_secrets(os.environ), *told})
        style = LogStyle(settings.log_format, options.json)
        log_to_console(settings.log_level, mask, style)
        check_log_and_journal(
            settings.log_file, rotated_files(settings.log_file), settings.journal_file
        )
        log_to_file(settings.log_file, mask, style)
        check_route(settings.iterable_api_base_url)
        ensure_writable_folder(settings.output_dir)
        check_jwt_secret(settings.jwt_secret)
        # One connection per worker, plus what else the run has open.
        raise_open_file_limit(settings.connection_limit + 64)
        yield settings


@contextmanager
def variables_for(options: "Options", working_dir: Path) -> "Iterator[dict[str, str]]":
    """The settings' variables: the environment's and those of `.env`, or the demo's."""
    if options.demo:
        from sandbox.demo import bundled_services  # noqa: PLC0415  only the demo needs it

        with bundled_services(options.output_dir) as variables:
            yield variables
    else:
        yield own_variables(options, working_dir, PROGRAM_DIR)


def run_all_syncs() -> int:
    """`--all-syncs`: the same command for each sync, one after the other."""
    from integration.delivery.syncs import SyncRuns  # noqa: PLC0415  only --all-syncs needs it

    names = sync_names(syncs_folder(current_folder(), PROGRAM_DIR))
    arguments = [argument for argument in sys.argv[1:] if argument != "--all-syncs"]
    return SyncRuns([sys.executable, __file__, *arguments]).run(names)


def make_database(settings: "Settings") -> DatabaseConnection:
    """A database connection; entering its context connects."""
    return DatabaseConnection.from_settings(reader_settings(settings))


def make_client(settings: "Settings", stop: Stop) -> IterableClient:
    """An Iterable client with the run's settings."""
    return IterableClient(
        settings.iterable_api_key,
        settings.iterable_api_base_url,
        settings.jwt_secret,
        timeout_seconds=settings.request_timeout,
        connections=settings.connection_limit,
        rate_limit_share=settings.rate_limit_share,
        max_attempts=settings.max_attempts,
        user_agent=f"{PROGRAM}/{__version__}",
        pause=Pause(stop.wait, stop.requested, stop.request),
    )


def deliver(
    options: "DeliveryOptions", journal: "Journal", run: int, client: IterableClient, stop: Stop
) -> None:
    """Step 5: send every pending user and record the outcomes."""
    users = journal.pending_users(run)
    workers = choose_workers(options.workers, users)
    client.names_users = workers > 1
    progress = DeliveryProgress(users, one_by_one=workers == 1, quiet=options.quiet)
    delivery = Delivery(
        client,
        journal,
        run,
        stop,
        progress,
        workers=workers,
        mode=decide_mode(options, journal, run),
    )
    try:
        delivery.deliver(pending_users(read_run(journal, run).columns, journal.pending(run)))
        # A refused key says nothing about the calls that the right one allows.
        if not (stop.reason and stop.reason.exit_code == ExitCode.KEY_REFUSED):
            journal.set_mode(run, delivery.mode)
    finally:
        progress.close()
        client.close()


def show_past(options: "Options", result: CommandResult) -> ExitCode:
    """`--status` and `--explain`: read what is there; they start, create and change nothing."""
    working_dir = current_folder()
    if options.demo:
        from sandbox.demo import demo_files  # noqa: PLC0415  only the demo needs it

        variables = demo_files(options.output_dir)
    else:
        variables = own_variables(options, working_dir, PROGRAM_DIR)
    if options.explain:
        return explain_person(options.explain, variables, working_dir)
    lines, result.parts = status_answer(
        load_status(variables, working_dir), utc_now(), options.sync
    )
    if not options.json:
        print_answer(lines)
    return ExitCode.OK


def explain_person(email: str, variables: "dict[str, str]", working_dir: Path) -> ExitCode:
    """`--explain`: one person, from the source to Iterable's answers."""
    from integration.ingest.origins import find_source_records  # noqa: PLC0415  only --explain
    from integration.service.explain import explain  # noqa: PLC0415  only --explain

    lines, code = explain(email, variables, working_dir, find_source_records)
    print_answer(lines)
    return code


def check_setup(options: "Options", stop: Stop, signals: SignalWatch) -> ExitCode:
    """`--check`: database, query and mapping, then the key and the fields of the project."""
    from integration.delivery.check import check_query, key_answer  # noqa: PLC0415  only --check
    from integration.delivery.chosen_query import chosen_query  # noqa: PLC0415

    with settings_for(options) as settings:
        query = chosen_query(settings.query_file)
        mapping, lines = check_query(query.query, make_database(settings))
        print_answer([query.title, "", *lines, ""])
        signals.let_calls_finish()
        with closing(make_client(settings, stop)) as client:
            fields = client.read_fields()
        answer = key_answer(mapping, fields, uses_jwt=settings.use_jwt_auth)
        print_answer(answer.lines)
    return stop.reason.exit_code if stop.reason else answer.exit_code


def verify_delivered(options: "Options", stop: Stop, signals: SignalWatch) -> ExitCode:
    """`--verify`: read delivered users back from Iterable and compare."""
    from integration.delivery.verification import verify  # noqa: PLC0415  only --verify needs it

    limit = None if options.verify == "all" else options.verify
    with settings_for(options) as settings:
        signals.let_calls_finish()
        client = make_client(settings, stop)
        client.names_users = True
        journal = ReadOnlyJournal.open(settings.journal_file)
        with closing(client), journal or nullcontext():
            wait = partial(wait_in_main_thread, stop)
            code = verify(journal, client, limit, wait, options.sync or "")
    if stop.reason is None:
        return code
    if stop.reason.status == "stopped":
        logger.error("%s", stop.reason.text)
    return stop.reason.exit_code


def run_integration(
    options: "Options",
    stop: Stop,
    signals: SignalWatch,
    result: CommandResult,
    telling: DeliveryTelling,
) -> ExitCode:
    """The run: settings, database, Query 2, client, CSV, delivery, summary."""
    logger.info("Starting Iterable Integration")
    logger.info("[STEP 1] Loading environment variables...")
    with ExitStack() as stack:
        settings = stack.enter_context(settings_for(options, telling))
        logger.info("Environment variables loaded successfully")
        logger.info("Log file: %s", display_path(settings.log_file))
        if options.sync and not options.dry_run:
            folder = syncs_folder(current_folder(), PROGRAM_DIR)
            stack.enter_context(project_lock(folder, settings.project))
        journal = stack.enter_context(open_journal(settings.journal_file, dry_run=options.dry_run))
        # Entered after the journal: its names are released before the lock is.
        files = stack.enter_context(RunFiles(settings.output_dir))
        run = start_run(RunPlan.of(settings, options), journal, files, make_database(settings))
        if run is None:
            return ExitCode.OK
        telling.taken = TakenRun(run, is_resumed=options.resume)
        stack.enter_context(naming_run(read_run(journal, run).run_id))
        logger.info("[STEP 4] Initializing Iterable API client...")
        client = make_client(settings, stop)
        logger.info("Using %s authentication", settings.authentication.replace("Key", "key"))
        logger.info("Iterable API client initialized")
        logger.info("[STEP 4.5] Exporting query results to CSV...")
        export_csv(journal, run, files)
        logger.info("[STEP 5] Processing user records...")
        signals.let_calls_finish()
        if options.dry_run:
            decide_mode(settings.delivery, journal, run)
            show_payloads(journal, run, stop)
        else:
            deliver(settings.delivery, journal, run, client, stop)
        logger.info("[STEP 6] Generating summary...")
        code = finish_run(journal, run, stop, dry_run=options.dry_run)
        result.parts["run"] = run_part(journal, run)
        return code


if __name__ == "__main__":
    # What is loaded stays out of all later collections; the one at the exit takes the longest.
    gc.freeze()
    gc.enable()
    sys.exit(main())
