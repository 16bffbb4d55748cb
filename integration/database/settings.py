"""What the database edge needs to know of its database."""

from __future__ import annotations

from dataclasses import dataclass, field
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
