"""The database engines, and which of the DB_ settings each one has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Mapping

Engine = Literal["mysql", "sqlite", "postgresql", "duckdb", "spark"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
# A DuckDB database that is not in a file: the query names Parquet, CSV or JSON files.
IN_MEMORY = ":memory:"
_LOGIN = ("DB_HOST", "DB_USER", "DB_PASSWORD")
_REQUIRED: dict[str, tuple[str, ...]] = {"sqlite": (), "duckdb": (), "spark": ("DB_HOST",)}
_PORTS = {"postgresql": "5432", "spark": "15002"}
# Spark sends any other option as a header to the server.
_OPTIONS: dict[str, frozenset[str]] = {
    "postgresql": frozenset(
        {
            "application_name",
            "channel_binding",
            "options",
            "sslcert",
            "sslcrl",
            "sslkey",
            "sslmode",
            "sslrootcert",
            "target_session_attrs",
        }
    ),
    "duckdb": frozenset({"memory_limit", "temp_directory", "threads"}),
    "spark": frozenset({"session_id", "use_ssl", "user_agent", "user_id"}),
}


def engine_of(values: Mapping[str, str]) -> str:
    """The engine that DB_ENGINE names, which need not exist."""
    return values.get("DB_ENGINE", "mysql").lower()


def required_login(values: Mapping[str, str]) -> tuple[str, ...]:
    """The settings without which this engine cannot be reached, beside DB_NAME."""
    return _REQUIRED.get(engine_of(values), _LOGIN)


def with_engine_defaults(values: Mapping[str, str]) -> dict[str, str]:
    """The variables, with the port that the engine's servers listen on."""
    port = _PORTS.get(engine_of(values))
    return {"DB_PORT": port, **values} if port else dict(values)


def is_in_file(engine: str, name: str) -> bool:
    """Whether DB_NAME is the path of a file."""
    return engine == "sqlite" or (engine == "duckdb" and name != IN_MEMORY)


def options(text: str) -> tuple[tuple[str, str], ...]:
    """The names and values of `name=value&name=value`, percent-encoded.

    Raises:
        ValueError: it has another form, or a name twice.
    """
    found = tuple(parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=100))
    if len(dict(found)) < len(found):
        raise ValueError("a name occurs twice")
    return found


def unknown_options(engine: str, names: set[str]) -> str | None:
    """What is wrong with the options of an engine, in one line, or None."""
    known = _OPTIONS.get(engine, frozenset())
    if engine == "spark" or not (unknown := sorted(names - known)):
        return None
    accepted = f"accepts {', '.join(sorted(known))}" if known else "accepts none"
    return f"{', '.join(unknown)} in DB_OPTIONS or DATABASE_URL: {engine} {accepted}"


def secret_options(engine: str, found: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The values that may be secrets: of the headers that Spark sends."""
    return tuple(value for name, value in found if name not in _OPTIONS.get(engine, frozenset()))
