"""What the database edge needs to know of its database."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Literal

Engine = Literal["mysql", "sqlite"]


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where the database is and who signs in.

    Attributes:
        engine: "mysql" (MariaDB too) or "sqlite".
        hosts: Tried in order; not used by SQLite, like the rest but `name`.
        port: The same for all hosts.
        user: The database user.
        password: May be empty.
        name: The database; for SQLite its file.
        ssl_ca: PEM file; when given, TLS is required, certificate and host name verified.
    """

    engine: Engine
    hosts: tuple[str, ...]
    port: int
    user: str
    password: str = field(repr=False)
    name: str
    ssl_ca: str | None = None


def parse_hosts(text: str) -> tuple[str, ...]:
    """Split hosts that are separated by commas; an IPv6 address may stand in brackets.

    Raises:
        ValueError: one has a port with it, or is no address; the message names it.
    """
    return tuple(_bare_host(host.strip()) for host in text.split(",") if host.strip())


def _bare_host(host: str) -> str:
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if bracketed or ":" in bare:
        try:
            IPv6Address(bare)
        except ValueError:
            raise ValueError(f"{host} is no host: give its port apart from it") from None
    return bare


def address_text(host: str, port: int) -> str:
    """`host:port`, as messages name a server."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
