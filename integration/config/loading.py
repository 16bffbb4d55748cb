"""Where settings come from: the command line, then the environment, then one `.env` file.

An empty variable counts as not set, except the passwords of the database, which may be empty.
A secret may be in a file that the variable with `_FILE` at its end names.
"""

from __future__ import annotations

import io
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from integration.config.converting import ConfigurationError, is_text
from integration.config.engines import is_in_file
from integration.config.notify_settings import NOTIFY_SECRET_VARIABLES, NOTIFY_VARIABLES
from integration.config.settings import (
    SECRET_VARIABLES,
    VARIABLES,
    Settings,
    load_settings,
    load_status_settings,
)
from integration.core.files import FileError, is_same_file, is_there

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from integration.config.ingest_settings import IngestSettings
    from integration.config.settings import StatusSettings

SomeSettings = TypeVar("SomeSettings", Settings, "IngestSettings")
# A password may begin or end with a space, and may be empty.
_PASSWORDS = frozenset({"DB_PASSWORD", "INGEST_DB_PASSWORD"})
FILE_SUFFIX = "_FILE"
_SQLITE_COMPANIONS = ("-wal", "-shm", "-journal", ".lock")


def load(variables: Mapping[str, str], overrides: Mapping[str, str], working_dir: Path) -> Settings:
    """The settings of a run, with absolute paths.

    Args:
        variables: what `read_variables` found.
        overrides: variables set on the command line.
        working_dir: what relative paths are relative to.

    Raises:
        ConfigurationError: a required variable is missing, or a value cannot be used.
    """
    values = with_secrets({**variables, **overrides}, SECRET_VARIABLES)
    return with_absolute_paths(load_settings(values), working_dir)


def load_status(variables: Mapping[str, str], working_dir: Path) -> StatusSettings:
    """The settings of `--status`, with absolute paths; the arguments are those of `load`.

    Raises:
        ConfigurationError: a value cannot be used.
    """
    settings = load_status_settings(with_secrets(variables, ["ITERABLE_API_KEY"]))
    return replace(settings, journal_file=working_dir / settings.journal_file)


def read_variables(
    environment: Mapping[str, str], env_file: Path | None, sync_file: Path | None = None
) -> dict[str, str]:
    """The settings' variables that are set: environment first, then a sync's file, then `.env`.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    found = read_all_variables(environment, env_file)
    if sync_file is not None:
        found |= read_all_variables(environment, sync_file)
    secrets = (name + FILE_SUFFIX for name in sorted(SECRET_VARIABLES | NOTIFY_SECRET_VARIABLES))
    names = (*VARIABLES, *NOTIFY_VARIABLES, *secrets)
    return {name: found[name] for name in names if name in found}


def read_all_variables(environment: Mapping[str, str], env_file: Path | None) -> dict[str, str]:
    """All variables that are set, from the environment first, then from the file.

    Settings of other programs are among them, and the secrets that sources of the ingest name.

    Raises:
        ConfigurationError: a file cannot be read, or DATABASE_URL cannot be used.
    """
    first = _variables_set_in(environment)
    from_file = _variables_set_in(_read_env_file(env_file))
    kept = {name: value for name, value in from_file.items() if _other_form(name) not in first}
    return {**kept, **first}


def with_secrets(variables: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The variables, with the secrets that are in files that NAME_FILE names.

    Args:
        variables: what `read_all_variables` found.
        names: the secrets to look for.

    Raises:
        ConfigurationError: a file cannot be used, or the secret is set in both forms. What the
            variable holds is not shown: it may be the secret itself, by mistake.
    """
    files = {name: path for name in names if (path := variables.get(name + FILE_SUFFIX))}
    if doubled := sorted(name for name in files if variables.get(name)):
        texts = (f"{name} and {name}{FILE_SUFFIX} are both set" for name in doubled)
        raise ConfigurationError(f"{'; '.join(texts)}: remove one of them")
    secrets = {name: _read_secret(name + FILE_SUFFIX, Path(path)) for name, path in files.items()}
    read = {name + FILE_SUFFIX for name in files}
    return {name: text for name, text in variables.items() if name not in read} | secrets


def readable_secrets(variables: Mapping[str, str], names: Iterable[str]) -> set[str]:
    """The secrets that can be read now, to mask them; a pipe is left to its only reader.

    Args:
        variables: what `read_all_variables` found.
        names: the secrets to look for.
    """
    found = {variables.get(name, "") for name in names}
    files = [(name + FILE_SUFFIX, variables.get(name + FILE_SUFFIX)) for name in names]
    for variable, path in files:
        with suppress(ConfigurationError, ValueError):
            if path and Path(path).is_file():
                found.add(_read_secret(variable, Path(path)))
    return found


def find_env_file(named: Path | None, working_dir: Path, program_dir: Path) -> Path | None:
    """The `.env` to read: the named one, else the working directory's, else the program's.

    Raises:
        ConfigurationError: the named file does not exist, or a folder cannot be searched.
    """
    if named is not None:
        if not _is_env_file(named):
            raise ConfigurationError(f"No such file: {named} (named by --env-file)")
        return named
    candidates = (working_dir / ".env", program_dir / ".env")
    return next((path for path in candidates if _is_env_file(path)), None)


def current_folder() -> Path:
    """The working directory.

    Raises:
        ConfigurationError: it no longer exists or cannot be used.
    """
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


def with_absolute_paths(settings: SomeSettings, folder: Path) -> SomeSettings:
    """The settings with paths that stay valid if the working directory changes or is removed.

    Args:
        settings: with paths that may be relative.
        folder: what they are relative to.

    Raises:
        ConfigurationError: MySQL's driver cannot take the path of DB_SSL_CA.
    """
    paths: dict[str, Path] = {
        name: folder / value
        for name in ("log_file", "output_dir", "journal_file", "db_ssl_ca")
        if (value := getattr(settings, name)) is not None
    }
    if "db_ssl_ca" in paths and not is_text(str(paths["db_ssl_ca"])):
        raise ConfigurationError("The path of DB_SSL_CA is not valid UTF-8")
    in_file = is_in_file(settings.db_engine, settings.db_name)
    database = {"db_name": str(folder / settings.db_name)} if in_file else {}
    query_file = getattr(settings, "query_file", None)
    query = {"query_file": query_file._replace(path=folder / query_file.path)} if query_file else {}
    changes: dict[str, Any] = {**paths, **database, **query}
    return replace(settings, **changes)


def check_log_and_journal(log: Path, rotated_logs: Iterable[Path], journal: Path) -> None:
    """Check that log and journal share no file, including rotated logs and SQLite's own files.

    Raises:
        ConfigurationError: one would overwrite the other.
    """
    real_path = os.path.realpath(journal)
    journal_files = [journal, *(Path(real_path + suffix) for suffix in _SQLITE_COMPANIONS)]
    logs = [log, *rotated_logs]
    if any(is_same_file(one, other) for one in logs for other in journal_files):
        raise ConfigurationError(
            f"JOURNAL_FILE and LOG_FILE must be two files: {journal} and {log} are the same,"
            " or one is a file that the other creates; change either"
        )


def _is_env_file(path: Path) -> bool:
    """Whether it can be read from; a folder may be named `.env`, too."""
    try:
        return is_there(path) and not path.is_dir()
    except FileError as error:
        raise ConfigurationError(f"{error}; name the settings file with --env-file") from error


def _variables_set_in(source: Mapping[str, str]) -> dict[str, str]:
    """The variables of one source; an empty one does not hide the other source's."""
    texts = {name: value if name in _PASSWORDS else value.strip() for name, value in source.items()}
    set_ones = {name: value for name, value in texts.items() if value or name in _PASSWORDS}
    found = with_secrets(set_ones, ["DATABASE_URL"])
    if "DATABASE_URL" not in found:
        return found
    from integration.config.database_url import (  # noqa: PLC0415  few use it
        with_database_url,
    )

    return with_database_url(found)


def _other_form(name: str) -> str:
    """DB_PASSWORD_FILE for DB_PASSWORD, and the reverse; the same for a setting like LOG_FILE."""
    file = name if name.endswith(FILE_SUFFIX) else name + FILE_SUFFIX
    if file in VARIABLES:
        return name
    return name.removesuffix(FILE_SUFFIX) if name == file else file


def _read_secret(variable: str, path: Path) -> str:
    """What the file holds, without the newline at its end."""
    problem = f"{variable} names a file that cannot be used"
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigurationError(f"{problem}: {error.strerror or 'not readable'}") from error
    except ValueError as error:  # not UTF-8, or a path with a NUL character
        raise ConfigurationError(f"{problem}: not valid UTF-8") from error
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret and variable.removesuffix(FILE_SUFFIX) not in _PASSWORDS:
        raise ConfigurationError(f"{problem}: it is empty")
    return secret


def _read_env_file(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    from dotenv import dotenv_values  # noqa: PLC0415  only a file needs it

    try:
        # Not dotenv's own reader: it treats a pipe under /dev/fd as a missing file.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Cannot read {path}: {error}") from error
    # Interpolation would change passwords that contain "${".
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}
