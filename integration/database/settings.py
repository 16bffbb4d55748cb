"""The connection settings of a database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from integration.config.engines import Engine

if TYPE_CHECKING:
    from integration.config.ingest_settings import IngestSettings
    from integration.config.settings import Settings

__all__ = ["DatabaseSettings", "Engine", "reader_settings", "writer_settings"]


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Address and login of a database.

    Attributes:
        engine: "mysql" (MariaDB too), "postgresql", "sqlite", "duckdb" or "spark".
        hosts: Tried in order. SQLite and DuckDB use only `engine`, `name` and `options`.
        port: The same for all hosts.
        user: The database user.
        password: May be empty.
        name: The database; for SQLite and DuckDB the file.
        ssl_ca: PEM file; if set, TLS is required, and certificate and host name are verified.
        prefix: What precedes DB_USER in the name of the setting that has the user.
        options: What only this engine has, names and values.
    """

    engine: Engine
    hosts: tuple[str, ...]
    port: int
    user: str
    password: str = field(repr=False)
    name: str
    ssl_ca: str | None = None
    prefix: str = ""
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def reader_settings(settings: Settings) -> DatabaseSettings:
    """The database of a delivery."""
    return DatabaseSettings(
        engine=settings.db_engine,
        hosts=settings.db_host,
        port=settings.db_port,
        user=settings.db_user,
        password=settings.db_password,
        name=settings.db_name,
        ssl_ca=str(settings.db_ssl_ca) if settings.db_ssl_ca else None,
        options=settings.db_options,
    )


def writer_settings(settings: IngestSettings) -> DatabaseSettings:
    """The database of the ingest, with the account that writes."""
    user, password = settings.writer
    return DatabaseSettings(
        engine=settings.db_engine,
        hosts=settings.db_host,
        port=settings.db_port,
        user=user,
        password=password,
        name=settings.db_name,
        ssl_ca=str(settings.db_ssl_ca) if settings.db_ssl_ca else None,
        prefix="INGEST_" if settings.ingest_db_user else "",
    )
