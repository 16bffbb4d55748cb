"""The program's settings as one typed, frozen `Settings`; `loading` says where they come from.

ConfigurationError    exit 78: the message names the variable to fix
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from integration.config.converting import ConfigurationError, accepts, converted
from integration.config.engines import (
    ENGINES,
    Engine,
    options,
    required_login,
    secret_options,
    unknown_options,
    with_engine_defaults,
)
from integration.config.values import (
    TRUE_WORDS,
    QueryFile,
    auto_or,
    checked_api_key,
    checked_base_url,
    hosts,
    journal_path,
    number_above,
    one_of,
    query_file,
    readable_file,
    true_or_false,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


MAX_WORKERS = 1024
# A leap year.
MAX_EXPECTED_HOURS = 8784
# The maximum with MAX_WORKERS=auto.
AUTO_WORKERS = 64
DEFAULT_BASE_URL = "https://api.iterable.com"
DEFAULT_JOURNAL_FILE = Path("iterable_journal.db")


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """How users are sent.

    Attributes:
        mode: single or bulk calls; "auto" decides by the number of users.
        workers: the maximum number of concurrent calls; "auto" decides by the number of users.
        uses_jwt: whether calls carry a token for one user, which rules out bulk calls.
        quiet: show no progress bar.
    """

    mode: Literal["auto", "single", "bulk"]
    workers: int | Literal["auto"]
    uses_jwt: bool
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings; field names are the variables in lower case. Secrets have no repr."""

    db_engine: Engine = field(
        default="mysql", metadata=accepts(one_of(*ENGINES), f"one of {', '.join(ENGINES)}")
    )
    db_host: tuple[str, ...] = field(
        default=(),
        metadata=accepts(
            hosts, "one or more hosts separated by commas, without a port (DB_PORT applies to all)"
        ),
    )
    db_port: int = field(
        default=3306, metadata=accepts(whole_number(1, 65535), "a whole number from 1 to 65535")
    )
    db_user: str = field(default="", metadata=accepts(str, "a database user"))
    db_password: str = field(default="", repr=False, metadata=accepts(str, "the user's password"))
    db_name: str = field(
        metadata=accepts(str, "the name of a database, or a file with sqlite and duckdb")
    )
    db_ssl_ca: Path | None = field(
        default=None,
        metadata=accepts(readable_file, "the path of a readable CA certificate file in PEM form"),
    )
    db_options: tuple[tuple[str, str], ...] = field(
        default=(), repr=False, metadata=accepts(options, "name=value&name=value, each name once")
    )

    query_file: QueryFile | None = field(
        default=None,
        metadata=accepts(
            query_file, "the path of a readable SQL file with one query, or FILE#N for Query N"
        ),
    )

    iterable_api_key: str = field(
        repr=False,
        metadata=accepts(checked_api_key, "an Iterable key: printable ASCII, no spaces"),
    )
    iterable_api_base_url: str = field(
        default=DEFAULT_BASE_URL,
        metadata=accepts(
            checked_base_url,
            "an https address such as https://api.iterable.com"
            " (plain http for loopback only), without path, user or query",
        ),
    )
    use_jwt_auth: bool = field(default=False, metadata=accepts(true_or_false, "true or false"))
    iterable_jwt_secret: str = field(
        default="", repr=False, metadata=accepts(str, "the JWT key's secret")
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = field(
        default="INFO",
        metadata=accepts(
            one_of("DEBUG", "INFO", "WARNING", "ERROR"), "DEBUG, INFO, WARNING or ERROR"
        ),
    )
    log_format: Literal["text", "json"] = field(
        default="text", metadata=accepts(one_of("text", "json"), "text or json")
    )
    log_file: Path = field(
        default=Path("iterable_integration.log"), metadata=accepts(Path, "a path")
    )
    output_dir: Path = field(default=Path(), metadata=accepts(Path, "a folder"))
    journal_file: Path = field(
        default=DEFAULT_JOURNAL_FILE, metadata=accepts(journal_path, "the path of a file")
    )

    delivery_mode: Literal["auto", "single", "bulk"] = field(
        default="auto",
        metadata=accepts(one_of("auto", "single", "bulk"), "auto, single or bulk"),
    )
    max_workers: int | Literal["auto"] = field(
        default="auto",
        metadata=accepts(
            auto_or(whole_number(1, MAX_WORKERS)),
            f"auto or a whole number from 1 to {MAX_WORKERS}",
        ),
    )
    rate_limit_share: float = field(
        default=0.9, metadata=accepts(number_above(0), "a number above 0, such as 0.9")
    )
    request_timeout: float = field(
        default=10, metadata=accepts(number_above(0, 600), "seconds, above 0 and up to 600")
    )
    max_attempts: int = field(
        default=3, metadata=accepts(whole_number(1, 20), "a whole number from 1 to 20")
    )
    delivery_expected_every_hours: float | None = field(
        default=None,
        metadata=accepts(number_above(0, MAX_EXPECTED_HOURS), "hours, above 0 and up to 8784"),
    )

    @property
    def authentication(self) -> Literal["JWT", "API Key"]:
        """How the run authenticates, in the words of the summary and the results file."""
        return "JWT" if self.use_jwt_auth else "API Key"

    @property
    def connection_limit(self) -> int:
        """The maximum number of concurrent calls, however many users the run has."""
        return AUTO_WORKERS if self.max_workers == "auto" else self.max_workers

    @property
    def project(self) -> str:
        """Identifies the Iterable project (address and key) without revealing either."""
        return _project(self.iterable_api_base_url, self.iterable_api_key)

    @property
    def delivery(self) -> DeliveryOptions:
        """How users are sent."""
        return DeliveryOptions(
            mode=self.delivery_mode,
            workers=self.max_workers,
            uses_jwt=self.use_jwt_auth,
            quiet=self.log_level not in {"DEBUG", "INFO"} or self.log_format == "json",
        )

    @property
    def jwt_secret(self) -> str | None:
        """The secret that tokens are signed with, or None without JWT authentication."""
        return self.iterable_jwt_secret if self.use_jwt_auth else None

    def secrets(self) -> tuple[str, ...]:
        """The values that must never appear in a log, an error or a file."""
        options_of_engine = secret_options(self.db_engine, self.db_options)
        return (
            self.iterable_api_key,
            self.iterable_jwt_secret,
            self.db_password,
            *options_of_engine,
        )


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """The settings of `--status`: the journal and, if set, the Iterable project."""

    journal_file: Path = DEFAULT_JOURNAL_FILE
    delivery_expected_every_hours: float | None = None
    iterable_api_key: str | None = field(default=None, repr=False)
    iterable_api_base_url: str = DEFAULT_BASE_URL

    @property
    def project(self) -> str | None:
        """The same as `Settings.project`, or None without a key."""
        key = self.iterable_api_key
        return _project(self.iterable_api_base_url, key) if key else None


def _project(base_url: str, key: str) -> str:
    parts = (base_url, key)
    return ":".join(blake2b(part.encode(), digest_size=8).hexdigest() for part in parts)


FIELDS = {setting.name.upper(): setting for setting in fields(Settings)}
VARIABLES = tuple(FIELDS)
SECRET_VARIABLES = frozenset({"DB_PASSWORD", "ITERABLE_API_KEY", "ITERABLE_JWT_SECRET"})
_ALWAYS_REQUIRED = ("DB_NAME", "ITERABLE_API_KEY")


def load_settings(values: Mapping[str, str]) -> Settings:
    """Check and convert the variables.

    Raises:
        ConfigurationError: some are missing (all named in one line) or do not parse.
    """
    missing = [name for name in _required(values) if name not in values]
    if missing:
        raise ConfigurationError(f"Missing required environment variables: {', '.join(missing)}")
    settings = Settings(**converted(with_engine_defaults(values), FIELDS, SECRET_VARIABLES))
    if problem := unknown_options(settings.db_engine, {name for name, _ in settings.db_options}):
        raise ConfigurationError(problem)
    return settings


def load_status_settings(values: Mapping[str, str]) -> StatusSettings:
    """Check and convert the variables that `--status` uses; others may be missing or wrong.

    Raises:
        ConfigurationError: some do not parse.
    """
    names = tuple(setting.name.upper() for setting in fields(StatusSettings))
    used = {name: FIELDS[name] for name in names}
    return StatusSettings(**converted(values, used, SECRET_VARIABLES))


def _required(values: Mapping[str, str]) -> list[str]:
    jwt = values.get("USE_JWT_AUTH", "").lower() in TRUE_WORDS
    names = {*required_login(values), *_ALWAYS_REQUIRED, *(("ITERABLE_JWT_SECRET",) if jwt else ())}
    return [name for name in VARIABLES if name in names]
