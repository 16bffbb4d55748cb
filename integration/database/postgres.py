"""PostgreSQL through psycopg 3, with a server-side cursor."""

from __future__ import annotations

from contextlib import suppress
from math import ceil
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.types.string import TextLoader

from integration.core.hosts import address_text
from integration.database.driver_session import CLOSE_SECONDS, EXPLAIN, DriverSession
from integration.database.errors import QueryFailed
from integration.database.postgres_errors import connect_error, query_error
from integration.database.row_values import naive_utc, plain
from integration.database.translation import translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.database.errors import DatabaseError
    from integration.database.settings import DatabaseSettings

ROWS_PER_BATCH = 1_000
# Of the transaction, so that a connection pool between does not keep it. The driver reads ISO only.
SESSION_SETUP = (
    "SET LOCAL TIME ZONE 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'"
)
# All rows will be read: the plan need not be quick for the first of them.
ALL_ROWS = "; SET LOCAL cursor_tuple_fraction = 1"
# Types whose values Python would have objects of its own for.
_AS_TEXT = ("uuid", "inet", "cidr", "interval", "json", "jsonb")
_JSON = frozenset({"json", "jsonb"})


class PostgreSQLSession(DriverSession):
    """One connection to one host, in a read-only transaction for each query.

    Args:
        settings: the database, user, password, TLS and options.
        host: one of the settings' hosts.
        timeout_seconds: until the login is complete.

    Raises:
        DatabaseUnavailable: the host cannot be reached, or (DatabaseRefused) refuses.
    """

    errors = (psycopg.Error, UnicodeError)

    def __init__(self, settings: DatabaseSettings, host: str, timeout_seconds: float) -> None:
        super().__init__(address_text(host, settings.port))
        self._values = {"host": self._name, "user": settings.user, "name": settings.name}
        self._arguments = connect_arguments(settings, host, timeout_seconds)
        self._connection: psycopg.Connection | None = None
        self._cursor: psycopg.Cursor[Any] | psycopg.ServerCursor[Any] | None = None
        self._connect(timeout_seconds)

    def _open(self) -> None:
        self._connection = psycopg.connect(**self._arguments)
        self._connection.read_only = True
        for name in _AS_TEXT:
            self._connection.adapters.register_loader(name, TextLoader)

    def _start(self, query: str, limit: int | None) -> Sequence[str]:
        assert self._connection is not None
        self._connection.rollback()
        self._close_cursor()
        self._connection.execute(SESSION_SETUP + (ALL_ROWS if limit is None else ""))
        # Only the rows of a query can have a cursor of the server.
        has_plan = query.startswith(EXPLAIN)
        cursor = self._connection.cursor() if has_plan else self._connection.cursor("rows")
        self._cursor = cursor
        cursor.execute(query.encode())
        columns = cursor.description or []
        types = [self._type_name(column.type_code) for column in columns]
        self._json = [place for place, name in enumerate(types) if name in _JSON]
        self._converters = {
            place: naive_utc if name == "timestamptz" else plain
            for place, name in enumerate(types)
            if name == "timestamptz" or name.endswith("[]")
        }
        return tuple(column.name for column in columns)

    def _close_cursor(self) -> None:
        """It ended with its transaction; the driver warns of one that was not closed as well."""
        if self._cursor is not None:
            with suppress(psycopg.Error):
                self._cursor.close()

    def _type_name(self, oid: int) -> str:
        assert self._connection is not None
        found = self._connection.adapters.types.get(oid)
        if found is None:
            return ""
        return found.name if found.oid == oid else f"{found.name}[]"

    def _fetch(self) -> Sequence[tuple[Any, ...]]:
        assert self._cursor is not None
        return self._cursor.fetchmany(ROWS_PER_BATCH)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._close_cursor()

    def _interrupt(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=CLOSE_SECONDS)

    def _translate(self, query: str) -> str:
        return translated(query, "postgres")

    def _connect_error(self, error: Exception) -> DatabaseError:
        return connect_error(str(error), **self._values)

    def _query_error(self, error: Exception) -> DatabaseError:
        if isinstance(error, psycopg.Error) and (
            error.sqlstate or isinstance(error, psycopg.OperationalError)
        ):
            detail = error.diag.message_primary or str(error)
            return query_error(error.sqlstate, detail, **self._values)
        return QueryFailed(f"A value of the query cannot be read: {error}")


def connect_arguments(
    settings: DatabaseSettings, host: str, timeout_seconds: float
) -> dict[str, Any]:
    """The driver's arguments; a certificate of DB_SSL_CA means that TLS is verified."""
    tls = {"sslmode": "verify-full", "sslrootcert": settings.ssl_ca} if settings.ssl_ca else {}
    arguments = {
        "host": host,
        "port": settings.port,
        "user": settings.user,
        "password": settings.password,
        "dbname": settings.name,
        "client_encoding": "utf8",
        "connect_timeout": ceil(timeout_seconds),
        "fallback_application_name": "iterable-integration",
        # A network that swallows everything is noticed within two minutes.
        "keepalives_idle": 60,
        "keepalives_interval": 10,
        "keepalives_count": 6,
        **tls,
        **dict(settings.options),
    }
    if arguments.get("sslmode") == "verify-full":
        arguments.setdefault("sslrootcert", "system")
    return arguments
