"""The program's settings: one typed, frozen `Settings`, read once.

A variable comes from the environment, else from the `.env` file. An empty one counts as
not set, but for DB_PASSWORD, which may be empty.

    ConfigurationError    exit 78: the message says which variable to mend, and how
"""

from __future__ import annotations

import io
import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from dotenv import dotenv_values
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
from integration.core.files import FileError, is_there
from integration.core.redaction import SecretMask
from integration.database.settings import parse_hosts

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConfigurationError(AppError):
    """The program cannot run as it is set up; the message names the variable and the cure."""

    exit_code = ExitCode.CONFIGURATION


def _split_hosts(value: object) -> object:
    return parse_hosts(value) if isinstance(value, str) else value


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: localhost, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_api_key(key: str) -> str:
    """The key, if a header can carry it.

    Raises:
        ValueError: it is empty or not printable ASCII without spaces (RFC 9110, section 5.5).
    """
    if not key or not all("!" <= character <= "~" for character in key):
        raise ValueError("the API key is a value that is not shown, expected printable ASCII")
    return key


def checked_base_url(url: str) -> str:
    """The address without a slash at its end.

    Raises:
        ValueError: it is no origin, or would send the key in the clear.
    """
    if not _ORIGIN.fullmatch(url):
        raise ValueError("the base URL has more or less than scheme, host and port")
    parts = urlsplit(url)
    # Asking for the port raises when it is none.
    host, _port = parts.hostname, parts.port
    if not host or not (parts.scheme == "https" or is_loopback(host)):
        raise ValueError("the base URL is not https, which all but this machine needs")
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
    # SQLite's name for a database that ends with the process.
    if str(path) == ":memory:":
        raise ValueError(path)
    return path


_Model = TypeVar("_Model", bound=BaseModel)
MAX_WORKERS = 1024
# As many as a run without a number of its own has at most.
AUTO_WORKERS = 64
_ORIGIN = re.compile(r"https?://[^\s/?#@]+/?", re.IGNORECASE)

ApiKey = Annotated[SecretStr, AfterValidator(_header_safe)]
Origin = Annotated[str, AfterValidator(checked_base_url)]
JournalPath = Annotated[Path, AfterValidator(_not_in_memory)]
DEFAULT_BASE_URL = "https://api.iterable.com"
DEFAULT_JOURNAL_FILE = Path("iterable_journal.db")


class Settings(BaseModel):
    """Everything that can be set; field names are the variables in lower case.

    A field's `description` is what an error says was expected.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    db_engine: Annotated[Literal["mysql", "sqlite"], BeforeValidator(str.lower)] = Field(
        "mysql", description="mysql or sqlite"
    )
    db_host: Annotated[tuple[str, ...], BeforeValidator(_split_hosts)] = Field(
        (),
        min_length=1,
        description="a host, or several separated by commas, without a port:"
        " set DB_PORT, which is for all",
    )
    db_port: int = Field(3306, ge=1, le=65535, description="a whole number from 1 to 65535")
    db_user: str = Field("", description="a user of the database")
    db_password: SecretStr = Field(SecretStr(""), description="the user's password")
    db_name: str = Field(description="a database, or with DB_ENGINE=sqlite a file")
    db_ssl_ca: Annotated[Path, AfterValidator(_readable_file)] | None = Field(
        None, description="the path of a file that can be read: a CA certificate in PEM form"
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
        """The maximum number of concurrent calls, whatever the number of users turns out to be."""
        return AUTO_WORKERS if self.max_workers == "auto" else self.max_workers

    def secrets(self) -> tuple[str, ...]:
        """What must never be seen in a log, an error or a file."""
        hidden = (self.iterable_api_key, self.iterable_jwt_secret, self.db_password)
        return tuple(secret.get_secret_value() for secret in hidden)


class StatusSettings(BaseModel):
    """What `--status` uses: the journal and, for its advice, the Iterable project if it is set."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="ignore")

    journal_file: JournalPath = DEFAULT_JOURNAL_FILE
    iterable_api_key: ApiKey | None = None
    iterable_api_base_url: Origin = DEFAULT_BASE_URL


SECRET_VARIABLES = frozenset({"DB_PASSWORD", "ITERABLE_API_KEY", "ITERABLE_JWT_SECRET"})
VARIABLES = tuple(name.upper() for name in Settings.model_fields)
# A password may begin or end with a space.
_AS_WRITTEN = frozenset({"DB_PASSWORD"})
_MAY_BE_EMPTY = frozenset({"DB_PASSWORD"})
_ALWAYS_REQUIRED = ("DB_NAME", "ITERABLE_API_KEY")
_SERVER_REQUIRED = ("DB_HOST", "DB_USER", "DB_PASSWORD")


def find_env_file(named: Path | None, working_dir: Path, program_dir: Path) -> Path | None:
    """The `.env` to read: the one named, else the working directory's, else the program's.

    Raises:
        ConfigurationError: a named file does not exist, or it cannot be known which to read.
    """
    if named is not None:
        if not _is_env_file(named):
            raise ConfigurationError(f"No such file: {named} (named by --env-file)")
        return named
    candidates = (working_dir / ".env", program_dir / ".env")
    return next((path for path in candidates if _is_env_file(path)), None)


def _is_env_file(path: Path) -> bool:
    """Whether it can be read from; a folder may be named `.env`, too."""
    try:
        return is_there(path) and not path.is_dir()
    except FileError as error:
        raise ConfigurationError(
            f"{error}; name the file of the settings with --env-file"
        ) from error


def read_variables(environment: Mapping[str, str], env_file: Path | None) -> dict[str, str]:
    """The settings' variables that are set, from the environment first, then from the file.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    return {**_variables_set_in(_read_env_file(env_file)), **_variables_set_in(environment)}


def load_settings(values: Mapping[str, str]) -> Settings:
    """Check and type the variables that `read_variables` found.

    Raises:
        ConfigurationError: some are missing, all named in one line, or do not parse.
    """
    missing = [name for name in _required(values) if name not in values]
    if missing:
        raise ConfigurationError(f"Missing required environment variables: {', '.join(missing)}")
    return _checked(Settings, values)


def load_status_settings(values: Mapping[str, str]) -> StatusSettings:
    """Check and type those variables that `--status` uses; the others may be missing or wrong.

    Raises:
        ConfigurationError: some do not parse.
    """
    used = {name.upper() for name in StatusSettings.model_fields}
    return _checked(StatusSettings, {name: values[name] for name in values if name in used})


def _checked(model: type[_Model], values: Mapping[str, str]) -> _Model:
    garbled = [name for name, value in values.items() if not _is_text(value)]
    if garbled:
        raise ConfigurationError(f"Not valid UTF-8: {', '.join(garbled)}")
    with_nul = [name for name, value in values.items() if "\0" in value]
    if with_nul:
        raise ConfigurationError(f"Has a NUL character: {', '.join(with_nul)}")
    fields: dict[str, Any] = {name.lower(): value for name, value in values.items()}
    try:
        return model(**fields)
    except ValidationError as error:
        complaints = {str(problem["loc"][0]) for problem in error.errors()}
        raise ConfigurationError(_complain(sorted(complaints), values)) from None


def with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    """The settings with paths that hold wherever the process is, and whatever becomes of `folder`.

    Args:
        settings: with paths that may be relative.
        folder: what they are relative to.

    Raises:
        ConfigurationError: MySQL's driver would not take the path of its file.
    """
    paths = {
        name: folder / value
        for name in ("log_file", "output_dir", "journal_file", "db_ssl_ca")
        if (value := getattr(settings, name)) is not None
    }
    if "db_ssl_ca" in paths and not _is_text(str(paths["db_ssl_ca"])):
        raise ConfigurationError("The path of DB_SSL_CA is not valid UTF-8")
    database = {"db_name": str(folder / settings.db_name)} if settings.db_engine == "sqlite" else {}
    return settings.model_copy(update=paths | database)


def _variables_set_in(source: Mapping[str, str]) -> dict[str, str]:
    """The settings' variables of one source; an empty one does not hide the other source's."""
    found = {
        name: source[name] if name in _AS_WRITTEN else source[name].strip()
        for name in VARIABLES
        if name in source
    }
    return {name: value for name, value in found.items() if value or name in _MAY_BE_EMPTY}


def _read_env_file(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        # Read here, since dotenv takes a pipe under /dev/fd for a missing file.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Cannot read {path}: {error}") from error
    # Interpolation would change passwords that hold a "${".
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}


def _is_text(value: str) -> bool:
    """Whether it has no bytes that Python could not decode."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _required(values: Mapping[str, str]) -> list[str]:
    server = () if values.get("DB_ENGINE", "").lower() == "sqlite" else _SERVER_REQUIRED
    jwt = values.get("USE_JWT_AUTH", "").lower() in {"true", "1", "yes", "on", "t", "y"}
    names = {*server, *_ALWAYS_REQUIRED, *(("ITERABLE_JWT_SECRET",) if jwt else ())}
    return [name for name in VARIABLES if name in names]


def _complain(fields: list[str], values: Mapping[str, str]) -> str:
    # A secret may have been put into the wrong variable.
    mask = SecretMask(values[name] for name in SECRET_VARIABLES if name in values)
    return mask("; ".join(_complaint(field, values) for field in fields))


def _complaint(field: str, values: Mapping[str, str]) -> str:
    name = field.upper()
    # An address with an @ may hold a password.
    hidden = name in SECRET_VARIABLES or "@" in values[name]
    shown = "a value that is not shown" if hidden else repr(values[name])
    return f"{name} is {shown}, expected {Settings.model_fields[field].description}"
