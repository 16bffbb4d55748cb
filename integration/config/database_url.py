"""DATABASE_URL, the short form of the DB_ settings."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from integration.config.settings import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE_URL = "DATABASE_URL"
_EXPECTED = (
    f"{DATABASE_URL} is a value that is not shown, expected mysql://user:password@host:port/name,"
    " with special characters of the password percent-encoded and without a query"
    " (or sqlite:///file)"
)


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
    try:
        address = urlsplit(url)
        port = address.port
    except ValueError as error:
        raise ConfigurationError(_EXPECTED) from error
    engine = {"mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}.get(address.scheme)
    name = unquote(address.path.removeprefix("/"))
    if engine is None or not name or address.query or address.fragment:
        raise ConfigurationError(_EXPECTED)
    if engine == "sqlite":
        return _sqlite_parts(address.netloc, name)
    if not address.hostname or "/" in name:
        raise ConfigurationError(_EXPECTED)
    found = {
        "DB_HOST": address.hostname,
        "DB_PORT": None if port is None else str(port),
        "DB_USER": unquote(address.username) if address.username else None,
        "DB_PASSWORD": None if address.password is None else unquote(address.password),
        "DB_NAME": name,
    }
    return {"DB_ENGINE": engine} | {key: value for key, value in found.items() if value is not None}


def _sqlite_parts(host: str, name: str) -> dict[str, str]:
    """Three slashes before a relative path, four before an absolute one."""
    if host:
        raise ConfigurationError(_EXPECTED)
    return {"DB_ENGINE": "sqlite", "DB_NAME": name}
