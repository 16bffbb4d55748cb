"""The program's settings as one typed, frozen `Settings`; `loading` says where they come from.

ConfigurationError    exit 78: the message names the variable to fix
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.core.hosts import is_loopback, parse_hosts
from integration.core.redaction import SecretMask

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConfigurationError(AppError):
    """The program cannot run with these settings; the message says what to fix."""

    exit_code = ExitCode.CONFIGURATION


def _split_hosts(value: object) -> object:
    return parse_hosts(value) if isinstance(value, str) else value


def checked_api_key(key: str) -> str:
    """The key, if it is valid in an HTTP header.

    Raises:
        ValueError: it is empty or not printable ASCII without spaces (RFC 9110, section 5.5).
    """
    if not key or not all("!" <= character <= "~" for character in key):
        raise ValueError("the API key is a value that is not shown, expected printable ASCII")
    return key


def checked_base_url(url: str) -> str:
    """The address without a trailing slash.

    Raises:
        ValueError: it is not an origin, or the key would be sent unencrypted.
    """
    if not _ORIGIN.fullmatch(url):
        raise ValueError("the base URL must consist of scheme, host and port")
    parts = urlsplit(url)
    # Reading the port raises a ValueError if it is invalid.
    host, _port = parts.hostname, parts.port
    if not host or not (parts.scheme == "https" or is_loopback(host)):
        raise ValueError("the base URL must be https, except for a loopback address")
    return url.rstrip("/")


def _header_safe(key: SecretStr) -> SecretStr:
    checked_api_key(key.get_secret_value())
    return key


def _readable_file(path: Path) -> Path:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(error) from error
    return path


def _not_in_memory(path: Path) -> Path:
    # SQLite's name for a database that is lost when the process ends.
    if str(path) == ":memory:":
        raise ValueError(path)
    return path


_Model = TypeVar("_Model", bound=BaseModel)
MAX_WORKERS = 1024
# The maximum with MAX_WORKERS=auto.
AUTO_WORKERS = 64
_ORIGIN = re.compile(r"https?://[^\s/?#@]+/?", re.IGNORECASE)

ApiKey = Annotated[SecretStr, AfterValidator(_header_safe)]
Origin = Annotated[str, AfterValidator(checked_base_url)]
JournalPath = Annotated[Path, AfterValidator(_not_in_memory)]
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


class Settings(BaseModel):
    """All settings; field names are the variables in lower case.

    An error message uses a field's `description` for what was expected.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    db_engine: Annotated[Literal["mysql", "sqlite"], BeforeValidator(str.lower)] = Field(
        "mysql", description="mysql or sqlite"
    )
    db_host: Annotated[tuple[str, ...], BeforeValidator(_split_hosts)] = Field(
        (),
        min_length=1,
        description="one or more hosts separated by commas, without a port"
        " (DB_PORT applies to all)",
    )
    db_port: int = Field(3306, ge=1, le=65535, description="a whole number from 1 to 65535")
    db_user: str = Field("", description="a database user")
    db_password: SecretStr = Field(SecretStr(""), description="the user's password")
    db_name: str = Field(description="the name of a database, or a file with DB_ENGINE=sqlite")
    db_ssl_ca: Annotated[Path, AfterValidator(_readable_file)] | None = Field(
        None, description="the path of a readable CA certificate file in PEM form"
    )

    iterable_api_key: ApiKey = Field(description="an Iterable key: printable ASCII, no spaces")
    iterable_api_base_url: Origin = Field(
        DEFAULT_BASE_URL,
        description="an https address such as https://api.iterable.com"
        " (plain http for loopback only), without path, user or query",
    )
    use_jwt_auth: bool = Field(default=False, description="true or false")
    iterable_jwt_secret: SecretStr = Field(SecretStr(""), description="the JWT key's secret")

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)
    ] = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_file: Path = Field(Path("iterable_integration.log"), description="a path")
    output_dir: Path = Field(Path(), description="a folder")
    journal_file: JournalPath = Field(DEFAULT_JOURNAL_FILE, description="the path of a file")

    delivery_mode: Annotated[Literal["auto", "single", "bulk"], BeforeValidator(str.lower)] = Field(
        "auto", description="auto, single or bulk"
    )
    max_workers: Annotated[
        Annotated[int, Field(ge=1, le=MAX_WORKERS)] | Literal["auto"], BeforeValidator(str.lower)
    ] = Field("auto", description=f"auto or a whole number from 1 to {MAX_WORKERS}")
    rate_limit_share: float = Field(
        0.9, gt=0, allow_inf_nan=False, description="a number above 0, such as 0.9"
    )
    request_timeout: float = Field(
        10, gt=0, le=600, allow_inf_nan=False, description="seconds, above 0 and up to 600"
    )
    max_attempts: int = Field(3, ge=1, le=20, description="a whole number from 1 to 20")

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
            quiet=self.log_level not in {"DEBUG", "INFO"},
        )

    @property
    def jwt_secret(self) -> str | None:
        """The secret that tokens are signed with, or None without JWT authentication."""
        return self.iterable_jwt_secret.get_secret_value() if self.use_jwt_auth else None

    def secrets(self) -> tuple[str, ...]:
        """The values that must never appear in a log, an error or a file."""
        hidden = (self.iterable_api_key, self.iterable_jwt_secret, self.db_password)
        return tuple(secret.get_secret_value() for secret in hidden)


class StatusSettings(BaseModel):
    """The settings of `--status`: the journal and, if set, the Iterable project."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="ignore")

    journal_file: JournalPath = DEFAULT_JOURNAL_FILE
    iterable_api_key: ApiKey | None = None
    iterable_api_base_url: Origin = DEFAULT_BASE_URL

    @property
    def project(self) -> str | None:
        """The same as `Settings.project`, or None without a key."""
        key = self.iterable_api_key
        return _project(self.iterable_api_base_url, key) if key else None


def _project(base_url: str, key: SecretStr) -> str:
    parts = (base_url, key.get_secret_value())
    return ":".join(blake2b(part.encode(), digest_size=8).hexdigest() for part in parts)


SECRET_VARIABLES = frozenset({"DB_PASSWORD", "ITERABLE_API_KEY", "ITERABLE_JWT_SECRET"})
VARIABLES = tuple(name.upper() for name in Settings.model_fields)
_ALWAYS_REQUIRED = ("DB_NAME", "ITERABLE_API_KEY")
_SERVER_REQUIRED = ("DB_HOST", "DB_USER", "DB_PASSWORD")


def load_settings(values: Mapping[str, str]) -> Settings:
    """Check and convert the variables.

    Raises:
        ConfigurationError: some are missing (all named in one line) or do not parse.
    """
    missing = [name for name in _required(values) if name not in values]
    if missing:
        raise ConfigurationError(f"Missing required environment variables: {', '.join(missing)}")
    return _checked(Settings, values)


def load_status_settings(values: Mapping[str, str]) -> StatusSettings:
    """Check and convert the variables that `--status` uses; others may be missing or wrong.

    Raises:
        ConfigurationError: some do not parse.
    """
    used = {name.upper() for name in StatusSettings.model_fields}
    return _checked(StatusSettings, {name: values[name] for name in values if name in used})


def _checked(model: type[_Model], values: Mapping[str, str]) -> _Model:
    undecodable = [name for name, value in values.items() if not is_text(value)]
    if undecodable:
        raise ConfigurationError(f"Not valid UTF-8: {', '.join(undecodable)}")
    with_nul = [name for name, value in values.items() if "\0" in value]
    if with_nul:
        raise ConfigurationError(f"Has a NUL character: {', '.join(with_nul)}")
    fields: dict[str, Any] = {name.lower(): value for name, value in values.items()}
    try:
        return model(**fields)
    except ValidationError as error:
        invalid = {str(problem["loc"][0]) for problem in error.errors()}
        raise ConfigurationError(_error_message(sorted(invalid), values)) from None


def is_text(value: str) -> bool:
    """Whether all bytes of the value could be decoded."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _required(values: Mapping[str, str]) -> list[str]:
    server = () if values.get("DB_ENGINE", "").lower() == "sqlite" else _SERVER_REQUIRED
    jwt = values.get("USE_JWT_AUTH", "").lower() in {"true", "1", "yes", "on", "t", "y"}
    names = {*server, *_ALWAYS_REQUIRED, *(("ITERABLE_JWT_SECRET",) if jwt else ())}
    return [name for name in VARIABLES if name in names]


def _error_message(fields: list[str], values: Mapping[str, str]) -> str:
    # A secret may have been put into the wrong variable.
    mask = SecretMask(values[name] for name in SECRET_VARIABLES if name in values)
    return mask("; ".join(_field_error(field, values) for field in fields))


def _field_error(field: str, values: Mapping[str, str]) -> str:
    name = field.upper()
    # An address with an @ may contain a password.
    hidden = name in SECRET_VARIABLES or "@" in values[name]
    shown = "a value that is not shown" if hidden else repr(values[name])
    return f"{name} is {shown}, expected {Settings.model_fields[field].description}"
