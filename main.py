"""Tell Iterable about recently engaged pro customers: the run, step by step."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import uuid
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from authentication import ApiKeyAuthentication, JwtAuthentication
from command_line import parse_arguments
from db_connection import DatabaseConnection, DatabaseError, DatabaseSettings, load_query
from delivery import Delivery, choose_mode, now_text
from exit_codes import ExitCode
from files import FileError, free_stamp, make_writable_folder
from iterable_client import IterableClient, Pause
from journal import Journal, JournalError
from logger_config import log_to_console, log_to_file
from masking import SecretMask
from progress import MOST_USERS_SHOWN, DeliveryProgress
from rate_limit import PUBLISHED_LIMITS, RateLimiter
from records import RunHeader
from reports import CSV_NAME, RESULTS_NAME, summary_lines, write_csv, write_results
from settings import ConfigurationError, Settings, find_env_file, load_settings, read_variables
from stopping import Interrupted, SignalWatch, Stop
from transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from command_line import Options

logger = logging.getLogger("main")

PROGRAM_DIR = Path(__file__).resolve().parent
QUERY_FILE = PROGRAM_DIR / "phase2_queries.sql"
QUERY_NUMBER = 2


class LockedError(Exception):
    """Another run holds the journal's lock."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run once and return the exit code; an expected failure is one line."""
    options = parse_arguments(arguments)
    log_to_console(options.console_level or "INFO", SecretMask())
    stop = Stop()
    signals = SignalWatch(stop)
    try:
        with ExitStack() as cleanup:
            settings = prepare(options, cleanup)
            return run_integration(settings, options, stop, signals)
    except Interrupted as interruption:
        logger.warning("%s; nothing was sent", interruption)
        return interruption.reason.exit_code
    except tuple(EXIT_CODES) as error:
        logger.error("%s", error)  # noqa: TRY400  a traceback is for bugs
        return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))


def run_integration(
    settings: Settings, options: Options, stop: Stop, signals: SignalWatch
) -> ExitCode:
    """The run: database, Query 2, client, CSV, delivery, summary."""
    logger.info("Starting Iterable Integration")
    logger.info("[STEP 1] Loading environment variables...")
    logger.info("Environment variables loaded successfully")
    with open_journal(settings, dry_run=options.dry_run) as journal:
        run = fetch_users(settings, options, journal)
        logger.info("[STEP 4] Initializing Iterable API client...")
        client = make_client(settings, stop)
        logger.info("Using %s authentication", settings.authentication.replace("Key", "key"))
        logger.info("[STEP 4.5] Exporting query results to CSV...")
        export_csv(journal, run)
        logger.info("[STEP 5] Processing user records...")
        signals.let_calls_finish()
        if options.dry_run:
            show_payloads(journal, run)
        else:
            deliver(settings, journal, run, client, stop)
        logger.info("[STEP 6] Generating summary...")
        return summarise(journal, run, stop, dry_run=options.dry_run)


def prepare(options: Options, cleanup: ExitStack) -> Settings:
    """Read the settings and open the log; with `--demo`, start the embedded parts."""
    if options.demo:
        from sandbox.demo import embedded_parts  # noqa: PLC0415  only the demo needs it

        variables = cleanup.enter_context(embedded_parts(options.output_dir))
    else:
        env_file = find_env_file(options.env_file, Path.cwd(), PROGRAM_DIR)
        variables = read_variables(os.environ, env_file)
    settings = load_settings({**variables, **options.overrides()})
    mask = SecretMask(settings.secrets())
    log_to_console(settings.log_level, mask)
    log_to_file(settings.log_file, mask)
    make_writable_folder(settings.output_dir)
    return settings


@contextmanager
def open_journal(settings: Settings, *, dry_run: bool) -> Iterator[Journal]:
    """The journal under its lock; a dry run gets one of its own, which vanishes.

    Raises:
        LockedError: another run holds the lock.
    """
    with ExitStack() as cleanup:
        if dry_run:
            folder = cleanup.enter_context(tempfile.TemporaryDirectory())
            yield cleanup.enter_context(Journal(Path(folder) / "journal.db"))
            return
        lock = FileLock(f"{settings.journal_file}.lock", mode=0o600)
        try:
            cleanup.enter_context(lock.acquire(timeout=0))
        except Timeout as error:
            raise LockedError(
                f"Another run holds {lock.lock_file}: wait until it has ended"
            ) from error
        yield cleanup.enter_context(Journal(settings.journal_file))


def fetch_users(settings: Settings, options: Options, journal: Journal) -> int:
    """Steps 2 and 3: stream Query 2 into the journal and let the database go."""
    query = load_query(QUERY_FILE, QUERY_NUMBER)
    header = run_header(settings, dry_run=options.dry_run)
    logger.info("[STEP 2] Connecting to database...")
    with DatabaseConnection(database_settings(settings)) as database:
        logger.info("[STEP 3] Executing Phase 2 Query 2...")
        run = journal.begin(header, database.stream_page_views(query, options.limit))
    total = journal.total_users(run)
    if total:
        logger.info("Found %d pro user(s) with recent engagement", total)
    else:
        logger.warning("No pro users with recent pricing/settings page views found")
    return run


def run_header(settings: Settings, *, dry_run: bool) -> RunHeader:
    """What is known of the run before its first row; names its files."""
    now = datetime.now(timezone.utc)
    stamp = free_stamp(settings.output_dir, (CSV_NAME, RESULTS_NAME), now.astimezone())
    return RunHeader(
        run_id=str(uuid.uuid4()),
        started_at=now_text(lambda: now),
        authentication=settings.authentication,
        csv_file=str(settings.output_dir / CSV_NAME.format(stamp)),
        results_file=str(settings.output_dir / RESULTS_NAME.format(stamp)),
        dry_run=dry_run,
    )


def database_settings(settings: Settings) -> DatabaseSettings:
    """The part of the settings that the database edge needs."""
    return DatabaseSettings(
        engine=settings.db_engine,
        hosts=settings.db_host,
        port=settings.db_port,
        user=settings.db_user,
        password=settings.db_password.get_secret_value(),
        name=settings.db_name,
        ssl_ca=str(settings.db_ssl_ca) if settings.db_ssl_ca else None,
    )


def make_client(settings: Settings, stop: Stop) -> IterableClient:
    """The Iterable edge as the settings want it."""
    key = settings.iterable_api_key.get_secret_value()
    transport = Transport(
        settings.iterable_api_base_url,
        timeout_seconds=settings.request_timeout,
        connections=settings.max_workers,
        mask=SecretMask(settings.secrets()),
    )
    authentication = (
        JwtAuthentication(key, settings.iterable_jwt_secret.get_secret_value())
        if settings.use_jwt_auth
        else ApiKeyAuthentication(key)
    )
    limiters = {
        endpoint: RateLimiter(limit * settings.rate_limit_share, stopping=stop.requested)
        for endpoint, limit in PUBLISHED_LIMITS.items()
    }
    pause = Pause(stop.wait, stop.requested)
    return IterableClient(
        transport, authentication, pause, limiters, max_attempts=settings.max_attempts
    )


def export_csv(journal: Journal, run: int) -> None:
    """Step 4.5: the list of users, as the journal has it."""
    path = journal.run_record(run).header.csv_file
    count = write_csv(Path(path), journal.csv_rows(run))
    logger.info("Exported %d records to CSV: %s", count, path)


def deliver(
    settings: Settings, journal: Journal, run: int, client: IterableClient, stop: Stop
) -> None:
    """Step 5: send every pending user and note what became of each."""
    total = journal.total_users(run)
    mode = choose_mode(settings.delivery_mode, total, jwt=settings.use_jwt_auth)
    progress = DeliveryProgress(total, quiet=settings.log_level not in {"DEBUG", "INFO"})
    delivery = Delivery(
        client, journal, run, stop, progress, workers=settings.max_workers, mode=mode
    )
    try:
        delivery.deliver(journal.pending(run))
    finally:
        journal.set_mode(run, delivery.mode)
        progress.close()
        client.close()


def show_payloads(journal: Journal, run: int) -> None:
    """Step 5 of a dry run: what would be sent, on the console for the first users."""
    for user in journal.pending(run):
        level = logging.INFO if user.position <= MOST_USERS_SHOWN else logging.DEBUG
        logger.log(level, "Would send users/update: %s", user.profile.decode())
        logger.log(level, "Would send events/track: %s", user.event.decode())


def summarise(journal: Journal, run: int, stop: Stop, *, dry_run: bool) -> ExitCode:
    """Step 6: close the run in the journal, write the results file, tell the summary."""
    reason = stop.reason
    journal.finish(
        run, reason.status if reason else "completed", reason.text if reason else None, now_text()
    )
    record, counts = journal.run_record(run), journal.counts(run)
    write_results(Path(record.header.results_file), record, counts, journal.outcomes(run))
    for line in summary_lines(record, counts):
        logger.info("%s", line)
    logger.info("Results saved to: %s", record.header.results_file)
    if reason:
        logger.error("%s", reason.text)
        return reason.exit_code
    everybody = counts.successful + counts.unchanged == counts.total_users
    return ExitCode.DELIVERED if everybody or dry_run else ExitCode.SOME_FAILED


EXIT_CODES: dict[type[Exception], ExitCode] = {
    ConfigurationError: ExitCode.CONFIGURATION,
    FileError: ExitCode.CONFIGURATION,
    JournalError: ExitCode.CONFIGURATION,
    DatabaseError: ExitCode.UNAVAILABLE,
    LockedError: ExitCode.LOCKED,
}

if __name__ == "__main__":
    sys.exit(main())
