"""The run's parts, made from its settings: log, header, database, Iterable client."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from db_connection import DatabaseSettings
from integration.config.arguments import __version__
from integration.config.settings import (
    ConfigurationError,
    Settings,
    find_env_file,
    load_settings,
    load_status_settings,
    read_variables,
    with_absolute_paths,
)
from integration.core.clock import local_now, utc_now_iso
from integration.core.files import (
    ensure_writable_folder,
    is_same_file,
    raise_open_file_limit,
    reserve_timestamp,
)
from integration.core.models import RunHeader
from integration.core.redaction import SecretMask, proxy_secrets
from integration.delivery.reports import CSV_NAME, RESULTS_NAME
from integration.iterable.authentication import JwtAuthentication, SecretError
from integration.iterable.route import RouteError, route_to
from integration.iterable.transport import PROGRAM
from iterable_client import IterableClient, Pause
from logger_config import BACKUPS, log_to_console, log_to_file

if TYPE_CHECKING:
    from contextlib import ExitStack

    from pydantic import SecretStr

    from integration.config.arguments import Options
    from integration.config.settings import StatusSettings
    from integration.core.models import RunKind
    from integration.core.shutdown import Stop

PROGRAM_DIR = Path(__file__).resolve().parents[1]


def prepare(options: Options, cleanup: ExitStack) -> Settings:
    """Read the settings and open the log; with `--demo`, start the embedded parts."""
    working_dir = _working_dir()
    if options.demo:
        from sandbox.demo import bundled_services  # noqa: PLC0415  only the demo needs it

        variables = cleanup.enter_context(bundled_services(options.output_dir))
    else:
        variables = _variables(options, working_dir)
    settings = load_settings({**variables, **options.overrides()})
    settings = with_absolute_paths(settings, working_dir)
    mask = SecretMask({*settings.secrets(), *proxy_secrets(os.environ)})
    log_to_console(settings.log_level, mask)
    check_log_and_journal(settings.log_file, settings.journal_file)
    log_to_file(settings.log_file, mask)
    check_route(settings)
    ensure_writable_folder(settings.output_dir)
    check_secret(settings)
    # A connection for each worker, and what else the run has open.
    raise_open_file_limit(settings.connection_limit + 64)
    return settings


def prepare_status(options: Options) -> StatusSettings:
    """Read what `--status` needs; nothing is started, opened or made."""
    working_dir = _working_dir()
    if options.demo:
        from sandbox.demo import demo_files  # noqa: PLC0415  only the demo needs it

        variables = demo_files(options.output_dir)
    else:
        variables = _variables(options, working_dir)
    settings = load_status_settings(variables)
    return settings.model_copy(update={"journal_file": working_dir / settings.journal_file})


def _variables(options: Options, working_dir: Path) -> dict[str, str]:
    env_file = find_env_file(options.env_file, working_dir, PROGRAM_DIR)
    return read_variables(os.environ, env_file)


def run_header(
    settings: Settings, kind: RunKind, cleanup: ExitStack, *, dry_run: bool
) -> RunHeader:
    """What is known of a new run before its first row; claims the names of its files.

    `cleanup` lets go of the claim.
    """
    names = (CSV_NAME, RESULTS_NAME)
    # Where it is now: a link that leads to it may change during the run.
    folder = settings.output_dir.resolve()
    stamp = cleanup.enter_context(reserve_timestamp(folder, names, local_now, time.sleep))
    return RunHeader(
        run_id=str(uuid.uuid4()),
        started_at=utc_now_iso(),
        authentication=settings.authentication,
        csv_file=str(folder / CSV_NAME.format(stamp)),
        results_file=str(folder / RESULTS_NAME.format(stamp)),
        dry_run=dry_run,
        kind=kind,
        project=project_of(settings),
    )


def check_log_and_journal(log: Path, journal: Path) -> None:
    """See that neither is the other, nor a file that the other has beside it.

    Raises:
        ConfigurationError: one would destroy the other.
    """
    logs = [log, *(Path(f"{log}.{number}") for number in range(1, BACKUPS + 1))]
    beside = os.path.realpath(journal)
    journals = [journal, *(Path(beside + end) for end in ("-wal", "-shm", "-journal", ".lock"))]
    if any(is_same_file(one, other) for one in logs for other in journals):
        raise ConfigurationError(
            f"JOURNAL_FILE and LOG_FILE must be two files: {journal} and {log} are one,"
            " or one of them is a file that the other needs beside it; change either"
        )


def project_of(settings: Settings) -> str:
    """Tells Iterable projects apart, by `address:key`, without naming either."""
    return _project(settings.iterable_api_base_url, settings.iterable_api_key)


def known_project(settings: StatusSettings) -> str | None:
    """The project as `project_of` names it, or None without a key."""
    key = settings.iterable_api_key
    return _project(settings.iterable_api_base_url, key) if key else None


def _project(base_url: str, key: SecretStr) -> str:
    return f"{_digest(base_url)}:{_digest(key.get_secret_value())}"


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
    secret = settings.iterable_jwt_secret.get_secret_value()
    return IterableClient(
        settings.iterable_api_key.get_secret_value(),
        settings.iterable_api_base_url,
        secret if settings.use_jwt_auth else None,
        timeout_seconds=settings.request_timeout,
        connections=settings.connection_limit,
        rate_limit_share=settings.rate_limit_share,
        max_attempts=settings.max_attempts,
        user_agent=f"{PROGRAM}/{__version__}",
        pause=Pause(stop.wait, stop.requested, stop.request),
    )


def _working_dir() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise ConfigurationError(
            "The working directory no longer exists: change to another one"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"Cannot use the working directory ({error.strerror}): change to another one"
        ) from error


def check_secret(settings: Settings) -> None:
    """Whether tokens can be signed, if they are wanted.

    Raises:
        ConfigurationError: the JWT secret cannot be one.
    """
    if not settings.use_jwt_auth:
        return
    key, secret = settings.iterable_api_key, settings.iterable_jwt_secret
    try:
        JwtAuthentication(key.get_secret_value(), secret.get_secret_value())
    except SecretError as error:
        raise ConfigurationError(f"ITERABLE_JWT_SECRET {error}") from error


def check_route(settings: Settings) -> None:
    """Whether the environment's proxy and CA bundle can be used at all.

    Raises:
        ConfigurationError: names the variable.
    """
    try:
        route_to(settings.iterable_api_base_url)
    except RouteError as error:
        raise ConfigurationError(str(error)) from error


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
