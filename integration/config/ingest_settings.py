"""The settings of `cli.py`: those of its own, and those that it shares with `main.py`.

They are apart from `Settings`, because a delivery reads none of them and the ingest needs no key of
Iterable.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from integration.config.converting import ConfigurationError, accepts, converted
from integration.config.engines import ENGINES, engine_of, required_login
from integration.config.settings import (
    DEFAULT_JOURNAL_FILE,
    FIELDS,
    SECRET_VARIABLES,
)
from integration.config.values import number_above, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RETENTION_DAYS = 3650
MAX_INTERVAL_SECONDS = 31 * 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """All settings; field names are the variables in lower case. Secrets have no repr."""

    db_engine: Literal["mysql", "sqlite"] = "mysql"
    db_host: tuple[str, ...] = ()
    db_port: int = 3306
    db_user: str = ""
    db_password: str = field(default="", repr=False)
    db_name: str
    db_ssl_ca: Path | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    log_file: Path = Path("iterable_integration.log")
    output_dir: Path = Path()
    journal_file: Path = DEFAULT_JOURNAL_FILE
    request_timeout: float = 10
    max_attempts: int = 3
    delivery_expected_every_hours: float | None = None

    ingest_db_user: str = field(default="", metadata=accepts(str, "a database user"))
    ingest_db_password: str = field(
        default="", repr=False, metadata=accepts(str, "the user's password")
    )
    raw_retention_days: int = field(
        default=30,
        metadata=accepts(
            whole_number(1, MAX_RETENTION_DAYS),
            f"a whole number of days from 1 to {MAX_RETENTION_DAYS}",
        ),
    )
    etl_interval: float = field(
        default=3600,
        metadata=accepts(
            number_above(0, MAX_INTERVAL_SECONDS),
            f"seconds, above 0 and up to {MAX_INTERVAL_SECONDS}",
        ),
    )
    api_host: str | None = field(default=None, metadata=accepts(str, "an address"))
    api_key: str | None = field(default=None, repr=False, metadata=accepts(str, "a key"))
    csv_url: str | None = field(default=None, metadata=accepts(str, "an address or a file"))

    @property
    def writer(self) -> tuple[str, str]:
        """User and password of the account that writes."""
        if self.ingest_db_user:
            return self.ingest_db_user, self.ingest_db_password
        return self.db_user, self.db_password

    def secrets(self) -> tuple[str, ...]:
        """The values that must never appear in a log, an error or a file."""
        return self.db_password, self.ingest_db_password, self.api_key or ""


INGEST_FIELDS = {
    setting.name.upper(): setting for setting in fields(IngestSettings) if setting.metadata
}
INGEST_VARIABLES = tuple(INGEST_FIELDS)
INGEST_SECRET_VARIABLES = SECRET_VARIABLES | {"INGEST_DB_PASSWORD", "API_KEY"}
# Those that the ingest uses; the others may be in files that it cannot read.
INGEST_SECRETS = INGEST_SECRET_VARIABLES - {"ITERABLE_API_KEY", "ITERABLE_JWT_SECRET"}
_USED = {
    name: setting
    for name, setting in {**FIELDS, **INGEST_FIELDS}.items()
    if name.lower() in {one.name for one in fields(IngestSettings)}
}


def load_ingest_settings(values: Mapping[str, str]) -> IngestSettings:
    """Check and convert the variables.

    Raises:
        ConfigurationError: some are missing (all named in one line) or do not parse.
    """
    engine = engine_of(values)
    if engine in ENGINES and engine not in {"mysql", "sqlite"}:
        raise ConfigurationError(
            f"cli.py and --explain use MySQL, MariaDB or SQLite, not {engine}, which only main.py"
            " can read: change DATABASE_URL or DB_ENGINE"
        )
    missing = [name for name in _required(values) if name not in values]
    if missing:
        raise ConfigurationError(f"Missing required environment variables: {', '.join(missing)}")
    return IngestSettings(**converted(values, _USED, INGEST_SECRET_VARIABLES))


def _required(values: Mapping[str, str]) -> list[str]:
    """An account that writes stands in for the one that reads."""
    login = required_login(values)
    if not login:
        return ["DB_NAME"]
    own_account = "INGEST_DB_USER" in values
    server = [name for name in login if name == "DB_HOST" or not own_account]
    return [*server, "DB_NAME", *(("INGEST_DB_PASSWORD",) if own_account else ())]
