"""DuckDB: a database file, or Parquet, CSV and JSON files that the query names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from integration.config.engines import IN_MEMORY
from integration.core.files import FileError, is_there
from integration.database.driver_session import EXPLAIN, DriverSession
from integration.database.errors import (
    DatabaseRefused,
    DatabaseUnavailable,
    QueryFailed,
    one_line,
)
from integration.database.row_values import plain
from integration.database.translation import translated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from integration.database.errors import DatabaseError
    from integration.database.settings import DatabaseSettings

ROWS_PER_BATCH = 1_000
# Without a file: what DuckDB writes at the beginning of its own, after eight bytes.
_MARK = b"DUCK"
_ZONED = "TIMESTAMP WITH TIME ZONE"
_NESTED = frozenset({"struct", "list", "map", "array", "union", "uuid"})
_QUERY_ERRORS: dict[type[Exception], str] = {
    duckdb.CatalogException: "A table or function is missing ({detail}): check DB_NAME and the "
    "query",
    duckdb.BinderException: "The tables do not match the query ({detail}): check its columns",
    duckdb.ParserException: "DuckDB does not understand the query ({detail}): a query in MySQL's "
    "dialect begins with the line -- dialect: mysql",
    duckdb.OutOfMemoryException: "DuckDB ran out of memory ({detail}): raise memory_limit or name "
    "a temp_directory in DB_OPTIONS",
    duckdb.IOException: "A file of the query cannot be read ({detail}): check its path, which is "
    "relative to the working directory, and its rights",
}


class DuckDBSession(DriverSession):
    """A DuckDB file, opened read-only, or none; a session runs SELECT only.

    Raises:
        DatabaseUnavailable: another program writes to the file, or (DatabaseRefused) there is none.
    """

    errors = (duckdb.Error,)

    def __init__(self, settings: DatabaseSettings, timeout_seconds: float) -> None:
        super().__init__(settings.name)
        self._in_memory = settings.name == IN_MEMORY
        if not self._in_memory:
            _check_file(Path(settings.name))
        self._options = dict(settings.options)
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._connect(timeout_seconds)

    def _open(self) -> None:
        # No extension is downloaded unless the user has installed it.
        config: dict[str, Any] = {"autoinstall_known_extensions": "false", **self._options}
        self._connection = duckdb.connect(self._name, read_only=not self._in_memory, config=config)
        self._connection.execute("SET TimeZone = 'UTC'")

    def _start(self, query: str, limit: int | None) -> Sequence[str]:  # noqa: ARG002
        assert self._connection is not None
        if query.startswith(EXPLAIN):
            self._connection.execute(query)
            return self._columns()
        statements = self._connection.extract_statements(query)
        if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
            raise QueryFailed("The query must be one SELECT")
        described = self._connection.execute(f"DESCRIBE {query}").fetchall()
        types = {name: str(kind) for name, kind, *_ in described}
        zoned = {name: kind for name, kind in types.items() if _ZONED in kind}
        if zoned and len(types) == len(described):
            query = _without_zones(query, zoned)
        self._connection.execute(query)
        description = self._connection.description or []
        self._json = [place for place, kind in enumerate(types.values()) if kind == "JSON"]
        self._converters: Mapping[int, Any] = {
            place: plain for place, one in enumerate(description) if one[1].id in _NESTED
        }
        return self._columns()

    def _columns(self) -> tuple[str, ...]:
        assert self._connection is not None
        return tuple(one[0] for one in self._connection.description or ())

    def _fetch(self) -> Sequence[tuple[Any, ...]]:
        assert self._connection is not None
        return self._connection.fetchmany(ROWS_PER_BATCH)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _interrupt(self) -> None:
        if self._connection is not None:
            self._connection.interrupt()

    def _translate(self, query: str) -> str:
        return translated(query, "duckdb")

    def _connect_error(self, error: Exception) -> DatabaseError:
        detail = one_line(str(error))
        if isinstance(error, duckdb.IOException):
            return DatabaseUnavailable(
                f"Cannot open {self._name}: check its rights, and that no other program has it "
                f"open for writing ({detail})"
            )
        return DatabaseRefused(f"Cannot open {self._name}: check DB_NAME and DB_OPTIONS ({detail})")

    def _query_error(self, error: Exception) -> DatabaseError:
        for kind, text in _QUERY_ERRORS.items():
            if isinstance(error, kind):
                # The query's own text follows the first line.
                return QueryFailed(text.format(detail=str(error).split("\n", 1)[0]))
        return QueryFailed(f"DuckDB cannot run the query: {one_line(str(error))}")


def _without_zones(query: str, zoned: Mapping[str, str]) -> str:
    """The query with times in UTC: Python would need a package for those with a zone."""
    casts = (
        f"CAST({_quoted(name)} AS {kind.replace(_ZONED, 'TIMESTAMP')}) AS {_quoted(name)}"
        for name, kind in zoned.items()
    )
    statement = query.rstrip().rstrip(";")
    return f"SELECT * REPLACE ({', '.join(casts)}) FROM ({statement}\n)"  # noqa: S608  the user's


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_file(path: Path) -> None:
    try:
        if is_there(path) and path.is_file():
            with path.open("rb") as file:
                if file.read(12)[8:] == _MARK:
                    return
            raise DatabaseRefused(f"{path} is not a DuckDB database: check DB_NAME")
    except (FileError, OSError) as error:
        raise DatabaseRefused(f"Cannot read {path}: check DB_NAME ({error})") from error
    raise DatabaseRefused(
        f"There is no DuckDB database {path}: check DB_NAME, or use duckdb:///{IN_MEMORY} for a "
        "query that names files"
    )
