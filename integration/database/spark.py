"""Spark through Spark Connect: the query runs on the cluster, and its rows stream back."""

from __future__ import annotations

import logging
import os
import socket
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import grpc
from pyspark.errors import AnalysisException, PySparkException
from pyspark.errors.exceptions.connect import SparkConnectGrpcException
from pyspark.sql import Row, types
from pyspark.sql.connect.client.retries import DefaultPolicy
from pyspark.sql.connect.session import SparkSession

from integration.core.hosts import address_text
from integration.database.driver_session import EXPLAIN, DriverSession
from integration.database.errors import DatabaseRefused, DatabaseUnavailable, QueryFailed, one_line
from integration.database.row_values import plain
from integration.database.translation import translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.database.errors import DatabaseError
    from integration.database.settings import DatabaseSettings

ROWS_PER_BATCH = 1_000
# A cluster that is gone is reported after half a minute; the client would wait for ten.
RETRIES = {"max_retries": 5, "initial_backoff": 500, "max_backoff": 10_000}
START_SECONDS = 120  # a cluster may have to be started for the session
_NESTED = (types.StructType, types.ArrayType, types.MapType)
_REFUSED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})


class SparkConnectSession(DriverSession):
    """A session of a Spark Connect server, in UTC.

    Args:
        settings: the server, a token as the password, the current database, and options.
        host: one of the settings' hosts.
        timeout_seconds: until the server accepts a connection.

    Raises:
        DatabaseUnavailable: the host cannot be reached, or (DatabaseRefused) refuses.
    """

    errors = (PySparkException, grpc.RpcError, OSError)

    def __init__(self, settings: DatabaseSettings, host: str, timeout_seconds: float) -> None:
        super().__init__(address_text(host, settings.port))
        self._settings = settings
        self._address = (host, settings.port)
        self._seconds = timeout_seconds
        self._session: Any = None
        self._rows: Iterator[Any] = iter(())
        self._connect(START_SECONDS)

    def _open(self) -> None:
        # It prints to the console what the exceptions say as well.
        logging.getLogger("SQLQueryContextLogger").disabled = True
        # The client itself would try for minutes to reach a port that nothing listens on.
        socket.create_connection(self._address, self._seconds).close()
        if self._settings.ssl_ca:
            os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = self._settings.ssl_ca
        self._session = SparkSession.builder.remote(self._url()).create()
        self._session.client.set_retry_policies([DefaultPolicy(**RETRIES)])
        self._session.conf.set("spark.sql.session.timeZone", "UTC")
        if self._settings.name != "default":
            self._session.catalog.setCurrentDatabase(self._settings.name)

    def _url(self) -> str:
        """https://spark.apache.org/docs/latest/spark-connect-overview.html."""
        options = dict(self._settings.options)
        if self._settings.ssl_ca:
            options.setdefault("use_ssl", "true")
        if self._settings.user:
            options.setdefault("user_id", self._settings.user)
        if self._settings.password:
            options["token"] = self._settings.password
        parts = [f"{name}={quote(value, safe='')}" for name, value in options.items()]
        return ";".join([f"sc://{self._name}/", *parts])

    def _start(self, query: str, limit: int | None) -> Sequence[str]:
        # Spark has no read-only session: what is in a FROM can only be a query.
        statement = query.rstrip().rstrip(";")
        frame = self._session.sql(f"SELECT * FROM (\n{statement}\n)")  # noqa: S608  the user's
        fields = frame.schema.fields
        # By place: names may have dots, or occur twice.
        frame = frame.toDF(*(f"c{place}" for place in range(len(fields))))
        kinds = [_without_zones(field.dataType) for field in fields]
        frame = frame.select(*(frame[f"c{place}"].cast(kind) for place, kind in enumerate(kinds)))
        self._rows = (frame if limit is None else frame.limit(limit)).toLocalIterator()
        variants = [place for place, kind in enumerate(kinds) if kind.typeName() == "variant"]
        nested = [place for place, kind in enumerate(kinds) if isinstance(kind, _NESTED)]
        self._json = variants
        self._converters = {
            **dict.fromkeys(nested, _plain),
            **dict.fromkeys(variants, lambda value: value.toJson()),
        }
        return tuple(field.name for field in fields)

    def _start_plan(self, query: str, limit: int | None) -> Sequence[str]:  # noqa: ARG002
        (row,) = self._session.sql(EXPLAIN + query).collect()
        self._json, self._converters = (), {}
        self._rows = iter([(line,) for line in row[0].splitlines() if line])
        return ("plan",)

    def _fetch(self) -> Sequence[tuple[Any, ...]]:
        return [tuple(row) for row in islice(self._rows, ROWS_PER_BATCH)]

    def _end(self) -> None:
        if self._session is not None:
            self._session.stop()

    def _interrupt(self) -> None:
        if self._session is not None:
            self._session.interruptAll()

    def _translate(self, query: str) -> str:
        return translated(query, "spark")

    def _connect_error(self, error: Exception) -> DatabaseError:
        detail = one_line(str(error))
        if isinstance(error, socket.gaierror):
            return DatabaseUnavailable(
                f"Unknown database host {self._name}: check DB_HOST or DATABASE_URL"
            )
        if _status(error) in _REFUSED or isinstance(error, AnalysisException):
            return DatabaseRefused(
                f"{self._name} refuses the session: check the token and the database of "
                f"DATABASE_URL ({detail})"
            )
        return DatabaseUnavailable(
            f"Cannot connect to Spark at {self._name}: check that its Connect server runs, host, "
            f"port, use_ssl and the firewall ({detail})"
        )

    def _query_error(self, error: Exception) -> DatabaseError:
        # The query's text and a Java stack trace follow.
        detail = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if isinstance(error, grpc.RpcError | OSError) or _status(error):
            return DatabaseUnavailable(
                f"Lost the connection to the database at {self._name} during the query: check the "
                f"server and the network, then run again ({detail})"
            )
        return QueryFailed(
            f"Spark cannot run the query ({detail}): check the query, its tables and your rights"
        )


def _status(error: Exception) -> str | None:
    """The name of the status of a call that failed on its way, or None."""
    if not isinstance(error, SparkConnectGrpcException) or error.getCondition():
        return None
    cause = error.__cause__
    return cause.code().name if isinstance(cause, grpc.RpcError) else "UNKNOWN"


def _without_zones(kind: Any) -> Any:  # noqa: ANN401  the driver has no stubs here
    """The type with times in UTC: the client would convert the others to this machine's zone."""
    if isinstance(kind, types.TimestampType):
        return types.TimestampNTZType()
    if isinstance(kind, types.ArrayType):
        return types.ArrayType(_without_zones(kind.elementType), kind.containsNull)
    if isinstance(kind, types.MapType):
        return types.MapType(kind.keyType, _without_zones(kind.valueType), kind.valueContainsNull)
    if isinstance(kind, types.StructType):
        fields = [
            types.StructField(field.name, _without_zones(field.dataType), field.nullable)
            for field in kind.fields
        ]
        return types.StructType(fields)
    return kind


def _plain(value: object) -> object:
    return plain(_as_dicts(value))


def _as_dicts(value: object) -> object:
    """Structures as dicts, with all that they contain."""
    if isinstance(value, Row):
        return {name: _as_dicts(one) for name, one in value.asDict().items()}
    if isinstance(value, dict):
        return {name: _as_dicts(one) for name, one in value.items()}
    return [_as_dicts(one) for one in value] if isinstance(value, list) else value
