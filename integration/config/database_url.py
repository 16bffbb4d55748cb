"""DATABASE_URL, the short form of the DB_ settings."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from integration.config.converting import ConfigurationError
from integration.config.engines import IN_MEMORY, options, unknown_options

if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE_URL = "DATABASE_URL"
_EXPECTED = (
    f"{DATABASE_URL} is a value that is not shown, expected mysql://user:password@host:port/name"
    " or postgresql://…, with special characters of the password percent-encoded,"
    f" sqlite:///file, duckdb:///file, duckdb:///{IN_MEMORY} or sc://host:port"
)
_ENGINES = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "sqlite": "sqlite",
    "duckdb": "duckdb",
    "sc": "spark",
}


def with_database_url(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of one source, with DATABASE_URL replaced by the DB_ settings it stands for.

    What the address leaves out, such as the password, may be set on its own.

    Raises:
        ConfigurationError: it is not such an address, or a DB_ setting says something else.
    """
    others = dict(variables)
    url = others.pop(DATABASE_URL, None)
    if url is None:
        return others
    parts = _parts(url)
    if differing := [name for name, value in parts.items() if others.get(name, value) != value]:
        raise ConfigurationError(
            f"{DATABASE_URL} and {', '.join(differing)} contradict each other: remove one of them"
        )
    return others | parts


def _parts(url: str) -> dict[str, str]:
    """The settings that an address stands for; those that it leaves out are missing."""
    try:
        address = urlsplit(url)
        engine = _ENGINES[address.scheme]
        found = _PARTS[engine](address)
        found |= _option_parts(engine, found.pop("DB_OPTIONS", ""))
    except (ValueError, KeyError) as error:
        raise ConfigurationError(_EXPECTED) from error
    if address.fragment or not found["DB_NAME"]:
        raise ConfigurationError(_EXPECTED)
    return {"DB_ENGINE": engine} | found


def _server(address: SplitResult) -> dict[str, str]:
    """`//user:password@host:port/name`, where host may be a list."""
    name = unquote(address.path.removeprefix("/"))
    if "/" in name:
        raise ValueError("a database has no folder")
    return _host(address) | {"DB_NAME": name, "DB_OPTIONS": address.query}


def _spark(address: SplitResult) -> dict[str, str]:
    """`//host:port/;name=value;name=value`; the path is a slash at most."""
    path, _, parameters = address.path.partition(";")
    if path.strip("/") or address.query:
        raise ValueError("Spark's addresses have no path")
    return _host(address) | {"DB_NAME": "default", "DB_OPTIONS": parameters.replace(";", "&")}


def _host(address: SplitResult) -> dict[str, str]:
    if not address.hostname:
        raise ValueError("there is no host")
    found = {
        "DB_HOST": address.hostname,
        "DB_PORT": None if address.port is None else str(address.port),
        "DB_USER": unquote(address.username) if address.username else None,
        "DB_PASSWORD": None if address.password is None else unquote(address.password),
    }
    return {name: value for name, value in found.items() if value is not None}


def _file(address: SplitResult) -> dict[str, str]:
    """Three slashes before a relative path, four before an absolute one."""
    if address.netloc:
        raise ValueError("a file has no host")
    return {"DB_NAME": unquote(address.path.removeprefix("/")), "DB_OPTIONS": address.query}


_PARTS = {
    "mysql": _server,
    "postgresql": _server,
    "sqlite": _file,
    "duckdb": _file,
    "spark": _spark,
}


def _option_parts(engine: str, text: str) -> dict[str, str]:
    """What follows the address: some of it has a setting of its own.

    Raises:
        ConfigurationError: the engine does not know an option.
        ValueError: it is not `name=value&…`.
    """
    found = dict(options(text)) if text else {}
    settings: dict[str, str] = {}
    if engine == "postgresql" and found.get("sslrootcert", "system") != "system":
        settings["DB_SSL_CA"] = found.pop("sslrootcert")
    if engine == "spark" and "token" in found:
        settings["DB_PASSWORD"] = found.pop("token")
    if problem := unknown_options(engine, set(found)):
        raise ConfigurationError(problem)
    return settings | ({"DB_OPTIONS": urlencode(found)} if found else {})
