"""Load customers and page views from HTTP APIs and files into the database.

This file must parse on Python 3.6, so that an older Python prints which version is needed.
"""

import gc
import signal

from integration.core.system_check import (
    SERVICE_PACKAGES,
    end_on_sigterm_as_first_process,
    exit_if_unfit,
)

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
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from integration.config.cli_arguments import parse_cli_arguments
from integration.config.cli_options import (
    DemoOptions,
    ForgetOptions,
    RejectedOptions,
    ReplayOptions,
    ResetOptions,
    RunOptions,
    ServeOptions,
    StatsOptions,
)
from integration.config.ingest_settings import INGEST_SECRETS, load_ingest_settings
from integration.config.loading import (
    check_log_and_journal,
    current_folder,
    find_env_file,
    read_all_variables,
    with_absolute_paths,
    with_secrets,
)
from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.core.files import FileError, display_path
from integration.core.log_lines import LogStyle
from integration.core.redaction import SecretMask, proxy_secrets
from integration.core.shutdown import Interrupted, SignalWatch, Stop
from integration.database.settings import writer_settings
from integration.database.writing import open_writer
from integration.ingest import commands
from integration.ingest.bootstrap import Configuration, open_ingest, reader_of
from integration.ingest.pass_summary import PassResult, recorded_pass
from integration.ingest.repetition import repeat_runs
from integration.ingest.run_rules import RunRequest
from integration.ingest.source_file import describe_sources, find_sources_file, load_sources
from integration.ingest.tables import has_tables
from integration.notify.ingest import IngestTelling
from logger_config import (
    begin_log,
    log_to_console,
    log_to_file,
    print_answer,
    rotated_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from integration.config.cli_options import CliOptions
    from integration.config.ingest_settings import IngestSettings

logger = logging.getLogger("cli")

# After a signal. A page takes a second or so; a silent database must not keep the program going.
SECONDS_TO_FINISH = 5.0

PROGRAM_DIR = Path(__file__).resolve().parent


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run the command and return its exit code; expected failures are logged in one line."""
    options = parse_cli_arguments(arguments)
    style = LogStyle.of_environment(os.environ, only_stderr=options.prints_json)
    begin_log(options.console_level or "INFO", style)
    stop = Stop()
    signals = SignalWatch(stop)
    try:
        return run_command(options, stop, signals)
    except Interrupted as interruption:
        again = "what was stored before is kept: run it again"
        logger.warning("%s; %s", interruption, again if stop.reason else "nothing was stored")
        return interruption.reason.exit_code
    except AppError as error:
        if signals.interrupted_by:
            logger.warning("%s", signals.interrupted_by.text)
            return signals.interrupted_by.exit_code
        logger.error("%s", error)  # noqa: TRY400  a traceback is for bugs
        return error.exit_code
    finally:
        signals.close()


def run_command(options: "CliOptions", stop: Stop, signals: SignalWatch) -> int:
    """Run one of the commands."""
    if isinstance(options, DemoOptions):
        return demo(options, stop, signals)
    if isinstance(options, ServeOptions):
        return serve(options, stop, signals)
    if isinstance(options, RunOptions):
        return run_sources(options, stop, signals)
    return work_on_sources(options, configure(options), stop, signals)


def work_on_sources(
    options: "StatsOptions | ForgetOptions | RejectedOptions | ReplayOptions | ResetOptions",
    configuration: Configuration,
    stop: Stop,
    signals: SignalWatch,
) -> int:
    """Run one of the commands that need the sources, but `run`."""
    if isinstance(options, StatsOptions):
        return show_statistics(options, configuration)
    if isinstance(options, ForgetOptions):
        return forget_person(options, configuration, stop, signals)
    if isinstance(options, RejectedOptions) and not options.retry:
        return show_rejected(options, configuration, stop)
    return work_on_stored(options, configuration, stop, signals)


def work_on_stored(
    options: "RejectedOptions | ReplayOptions | ResetOptions",
    configuration: Configuration,
    stop: Stop,
    signals: SignalWatch,
) -> int:
    """Run one of the commands that work on what earlier runs have stored."""
    sources = configuration.sources
    begin = partial(signals.let_calls_finish, SECONDS_TO_FINISH)
    with open_ingest(configuration, stop) as ingest:
        if isinstance(options, RejectedOptions):
            return commands.retry_rejected(ingest, sources, options.source, begin)
        if isinstance(options, ReplayOptions):
            return commands.replay(ingest, sources, options.run, begin)
        print_answer(commands.reset_source(ingest, options.source, yes=options.yes))
        return ExitCode.OK


def configure(options: "CliOptions", secrets: "AbstractSet[str]" = frozenset()) -> Configuration:
    """Read and check the settings and the sources, and open the log without these secrets, too."""
    working_dir, variables = read_everything(options)
    settings = with_absolute_paths(load_ingest_settings(variables), working_dir)
    file = find_sources_file(options.sources, working_dir, PROGRAM_DIR)
    only_run_reads = isinstance(options, RunOptions)
    sources = load_sources(file, variables, working_dir, needs_secrets=only_run_reads)
    secrets = {*settings.secrets(), *sources.secrets.values(), *secrets}
    open_log(settings, secrets, only_stderr=options.prints_json)
    return Configuration(settings, sources)


def read_everything(options: "CliOptions") -> "tuple[Path, dict[str, str]]":
    """The working directory, and all variables that are set."""
    working_dir = current_folder()
    env_file = find_env_file(options.env_file, working_dir, PROGRAM_DIR)
    variables = {**read_all_variables(os.environ, env_file), **options.overrides()}
    return working_dir, with_secrets(variables, INGEST_SECRETS)


def open_log(
    settings: "IngestSettings", secrets: "AbstractSet[str]", *, only_stderr: bool = False
) -> None:
    """Log to the console and the file, without these secrets."""
    mask = SecretMask({*secrets, *proxy_secrets(os.environ)})
    style = LogStyle(settings.log_format, only_stderr)
    log_to_console(settings.log_level, mask, style)
    check_log_and_journal(
        settings.log_file, rotated_files(settings.log_file), settings.journal_file
    )
    log_to_file(settings.log_file, mask, style)
    logger.debug("Log file: %s", display_path(settings.log_file))


def run_sources(options: RunOptions, stop: Stop, signals: SignalWatch) -> int:
    """`run`: ingest sources, once or every so many seconds."""
    telling = IngestTelling({}, Path(), stop)
    try:
        working_dir, variables = read_everything(options)
        if not options.dry_run:
            telling = IngestTelling(variables, working_dir, stop)
        configuration = configure(options, telling.secrets)
        configuration.sources.named(options.source)
    except AppError:
        with told_pass(options, telling, signals):
            raise
    run_once = partial(run_once_of, configuration, options, telling, stop, signals)
    every = configuration.settings.etl_interval if options.every == "setting" else options.every
    try:
        code = run_once() if every is None else repeat_runs(run_once, every, stop)
    except Interrupted:
        if stop.reason is None:  # before the first page
            raise
    if stop.reason:
        logger.warning("%s; the next run continues from the checkpoints", stop.reason.text)
        return stop.reason.exit_code
    return code


@contextmanager
def told_pass(
    options: RunOptions, telling: IngestTelling, signals: SignalWatch
) -> "Iterator[PassResult]":
    """Tell of a pass over the sources: when it starts, and how it has ended."""
    result = PassResult()
    telling.started()
    try:
        yield result
    except Interrupted as interruption:
        result.end(interruption.reason.exit_code, str(interruption))
        raise
    except AppError as error:
        by = signals.interrupted_by
        result.end(*((by.exit_code, by.text) if by else (error.exit_code, str(error))))
        raise
    finally:
        signals.only_request()
        if options.json:
            print_result(result)
        telling.ended(result.exit_code, result.error, [one.end for one in result.sources])


def print_result(result: PassResult) -> None:
    """`run --json`: the answer, whatever its outcome."""
    try:
        print_answer([result.as_json()])
    except FileError as error:
        logger.error("%s", error)  # noqa: TRY400  a traceback is for bugs


def run_once_of(
    configuration: Configuration,
    options: RunOptions,
    telling: IngestTelling,
    stop: Stop,
    signals: SignalWatch,
) -> ExitCode:
    """Ingest each source once; until the database can be used, a signal ends it at once."""
    signals.abort_at_once()
    request = RunRequest.of(options)
    chosen = configuration.sources.named(options.source)
    with told_pass(options, telling, signals) as result:
        with open_ingest(configuration, stop) as ingest:
            signals.let_calls_finish(SECONDS_TO_FINISH)
            with recorded_pass(ingest, request, result):
                code = ingest.run(chosen, request)
            if not request.dry_run:
                ingest.delete_old_pages(configuration.settings.raw_retention_days)
        result.end(code, None)
        return code


def show_statistics(options: StatsOptions, configuration: Configuration) -> ExitCode:
    """`stats`: the verdict, and each source's records, runs, checkpoint and lag; only reads."""
    settings, sources = configuration
    with closing(open_writer(writer_settings(settings))) as session:
        lines = commands.statistics_lines(
            session,
            sources.sources,
            settings.journal_file,
            settings.delivery_expected_every_hours,
            as_json=options.json,
        )
    print_answer(lines)
    return ExitCode.OK


def show_rejected(options: RejectedOptions, configuration: Configuration, stop: Stop) -> ExitCode:
    """`rejected`: list the records that are still rejected, and why; creates nothing."""
    settings, sources = configuration
    sources.named(filter(None, [options.source]))
    reader = partial(reader_of, configuration, stop)
    with closing(open_writer(writer_settings(settings))) as session:
        lines = commands.rejected_listing(
            session, sources, options.source, reader, as_json=options.json
        )
    print_answer(lines)
    return ExitCode.OK


def forget_person(
    options: ForgetOptions, configuration: Configuration, stop: Stop, signals: SignalWatch
) -> ExitCode:
    """`forget`: erase a person's data, or show where it is; creates nothing."""
    from integration.ingest.forget import Places, forget  # noqa: PLC0415  only this needs it

    settings, sources = configuration
    files = settings.log_file, settings.journal_file, settings.output_dir
    with closing(open_writer(writer_settings(settings))) as session:
        places = Places(session, sources.sources, partial(reader_of, configuration, stop), *files)
        if options.yes:
            signals.let_calls_finish(SECONDS_TO_FINISH)
        print_answer(forget(places, options.email, stop, erase=options.yes))
    return stop.reason.exit_code if stop.reason else ExitCode.OK


def serve(options: ServeOptions, stop: Stop, signals: SignalWatch) -> int:
    """`serve`: the window, until a signal arrives; only reads."""
    exit_if_unfit(SERVICE_PACKAGES)
    # Only this needs them.
    from integration.config.service_settings import (  # noqa: PLC0415
        SERVICE_SECRET_VARIABLES,
        load_service_settings,
    )
    from integration.ingest import origins, overview  # noqa: PLC0415
    from integration.service.bootstrap import IngestParts, serve_window  # noqa: PLC0415

    working_dir, variables = read_everything(options)
    service = load_service_settings(with_secrets(variables, SERVICE_SECRET_VARIABLES))
    settings = with_absolute_paths(load_ingest_settings(variables), working_dir)
    file = find_sources_file(options.sources, working_dir, PROGRAM_DIR)
    sources = describe_sources(file, variables, working_dir)
    open_log(settings, {*settings.secrets(), service.service_token or ""})
    ingest = IngestParts(
        has_tables=has_tables,
        overviews=partial(overview.source_overviews, sources=sources),
        rejected_groups=overview.rejected_groups,
        runs=overview.ingest_runs,
        run=overview.ingest_run,
        run_before=overview.run_before,
        rejected_of_run=overview.rejected_of_run,
        rejections_of_run=overview.rejections_of_run,
        find_source_records=origins.find_source_records,
    )
    signals.let_calls_finish()
    # Its account sees the etl_ tables; the sessions only read.
    database = writer_settings(settings)
    expected = settings.delivery_expected_every_hours
    serve_window(
        service, database, settings.journal_file, ingest, stop, delivery_every_hours=expected
    )
    return stop.reason.exit_code if stop.reason else ExitCode.OK


def demo(options: DemoOptions, stop: Stop, signals: SignalWatch) -> int:
    """`demo`: the whole way with bundled parts; then the window, until Ctrl-C."""
    from sandbox.demo_steps import run_demo  # noqa: PLC0415  only the demo needs it

    # Its window ends with Ctrl-C.
    return run_demo(
        options.volume,
        stop,
        print_answer,
        signals.let_calls_finish,
        ends_in_window=not options.once,
    )


if __name__ == "__main__":
    # What is loaded stays out of all later collections; the one at the exit takes the longest.
    gc.freeze()
    gc.enable()
    # A thread that the database has answered waits at most so long for one that validates a page;
    # with Python's 5 ms for each of a dozen statements, two threads would gain nothing.
    sys.setswitchinterval(0.0005)
    sys.exit(main())
