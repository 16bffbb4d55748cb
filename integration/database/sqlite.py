"""SQLite instead of MySQL: the same SQL files, translated as they are read.

The files are written for MySQL. sqlglot translates most of it; `to_sqlite` adds date arithmetic,
ENUM columns and the omission of server statements.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

import sqlglot
from sqlglot import exp

from integration.core.files import FileError, is_there
from integration.database.call_thread import CallThread
from integration.database.errors import DatabaseRefused, QueryFailed

ROWS_PER_BATCH = 1_000
TIME_COLUMN = "event_time"
CLOSE_SECONDS = 1

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from integration.database.query_file import Dialect


def to_sqlite(sql: str) -> list[str]:
    """Translate a file of MySQL statements into SQLite's, one string each.

    Statements about a server (CREATE DATABASE, USE, SET) have no counterpart and are omitted,
    and so are comments.

    Raises:
        QueryFailed: the SQL cannot be parsed.
    """
    try:
        statements = [tree for tree in sqlglot.parse(sql, read="mysql") if tree]
    except sqlglot.ParseError as error:
        summary = str(error).splitlines()[0]
        raise QueryFailed(f"The SQL cannot be translated for SQLite: {summary}") from error
    kept = (tree for tree in statements if not _is_omitted(tree))
    return [tree.transform(_to_sqlite_node).sql(dialect="sqlite", comments=False) for tree in kept]


def _is_omitted(tree: exp.Expr) -> bool:
    if isinstance(tree, exp.Create):
        return tree.kind == "DATABASE"
    return isinstance(tree, exp.Set | exp.Use | exp.Semicolon)


def _to_sqlite_node(node: exp.Expression) -> exp.Expression:
    """Translate what sqlglot leaves unchanged."""
    if _is_moved(node):
        return _moved(node)
    if isinstance(node, exp.ColumnDef):
        return _column(node)
    if isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.BINARY:
        return exp.Collate(this=node.this.copy(), expression=exp.var("BINARY"))
    if isinstance(node, exp.UtcTimestamp):
        return exp.CurrentTimestamp()
    if isinstance(node, exp.UtcDate):
        return exp.CurrentDate()
    if isinstance(node, exp.Create):
        node.set("properties", None)  # ENGINE, CHARSET, COLLATE
    return node


def _is_moved(node: exp.Expression) -> bool:
    """Whether it is DATE_SUB, DATE_ADD, or a time plus or minus an INTERVAL."""
    if isinstance(node, exp.DateSub | exp.DateAdd):
        return True
    return isinstance(node, exp.Sub | exp.Add) and isinstance(node.expression, exp.Interval)


def _moved(node: exp.Expression) -> exp.Expression:
    """DATE_SUB(NOW(), INTERVAL 5 HOUR) is DATETIME('now', '-5 HOUR') in SQLite.

    CURDATE() too: DATETIME gives midnight, and event_time compares with it as text.
    """
    amount = node.expression.this if isinstance(node.expression, exp.Interval) else node.expression
    sign = "-" if isinstance(node, exp.DateSub | exp.Sub) else "+"
    unit = node.expression.text("unit") or node.text("unit")
    modifier = exp.Literal.string(f"{sign}{amount.name} {unit}")
    return exp.Anonymous(this="DATETIME", expressions=[*_start(node.this), modifier])


def _start(moment: exp.Expression) -> list[exp.Expression]:
    """The first arguments of DATETIME for this time."""
    now = exp.Literal.string("now")
    if isinstance(moment, exp.CurrentDate | exp.UtcDate):
        return [now, exp.Literal.string("start of day")]
    is_now = isinstance(moment, exp.CurrentTimestamp | exp.UtcTimestamp)
    return (
        [now]
        if is_now or moment.name.upper() == "NOW"
        else [moment.copy().transform(_to_sqlite_node)]
    )


def _column(column: exp.ColumnDef) -> exp.Expression:
    """Make an ENUM column TEXT with a CHECK, and a TIMESTAMP column plain TEXT."""
    kind = column.args["kind"]
    if kind.this == exp.DataType.Type.ENUM:
        allowed = exp.column(column.this.copy()).isin(*kind.expressions)
        column.append(
            "constraints", exp.ColumnConstraint(kind=exp.CheckColumnConstraint(this=allowed))
        )
        column.set("kind", exp.DataType.build("text"))
    elif kind.this in {exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPTZ}:
        column.set("kind", exp.DataType.build("text"))
    return column


def _in_sqlite(query: str, dialect: Dialect) -> str:
    """The query in SQLite's dialect; EXPLAIN asks for the plan, and not for the byte code."""
    statement = query.removeprefix("EXPLAIN ")
    own = statement if dialect == "native" else ";".join(to_sqlite(statement))
    return own if statement == query else f"EXPLAIN QUERY PLAN {own}"


class SQLiteSession:
    """An SQLite file, opened read-only. A separate thread makes all calls to SQLite.

    Raises:
        DatabaseRefused: the file does not exist or is not a database.
    """

    def __init__(self, file: Path) -> None:
        if not _is_file(file):
            raise DatabaseRefused(
                f"There is no SQLite database {file}: check DB_NAME, "
                f"or create one with python -m sandbox.database {file}"
            )
        self._driver = CallThread(f"database {file}")
        self._connection: sqlite3.Connection | None = None
        try:
            self._driver.run(partial(self._open, file))
        except BaseException as error:
            self._driver.finish(self._end)
            if isinstance(error, sqlite3.Error):
                raise DatabaseRefused(f"Cannot read {file}: check DB_NAME ({error})") from error
            raise

    def _open(self, file: Path) -> None:
        self._connection = sqlite3.connect(f"file:{quote(os.fsencode(file))}?mode=ro", uri=True)
        self._cursor = self._connection.cursor()
        # SQLite opens any file; only reading shows whether it is a database.
        self._cursor.execute("SELECT COUNT(*) FROM sqlite_master")

    def execute(
        self,
        query: str,
        limit: int | None = None,  # noqa: ARG002
        dialect: Dialect = "mysql",
    ) -> Sequence[str]:
        """Start a query and return the names of its columns.

        SQLite computes rows as they are fetched, so the caller applies the limit.
        """
        own = _in_sqlite(query, dialect)
        with _translated_errors():
            self._driver.run(partial(self._cursor.execute, own))
        return self._columns

    @property
    def _columns(self) -> tuple[str, ...]:
        return tuple(column[0] for column in self._cursor.description or ())

    def batches(self) -> Iterator[list[tuple[object, ...]]]:
        """Yield the rows, with the text column `event_time` converted to datetime."""
        times = [place for place, name in enumerate(self._columns) if name == TIME_COLUMN]
        fetch = partial(self._cursor.fetchmany, ROWS_PER_BATCH)
        while True:
            with _translated_errors():
                batch = self._driver.run(fetch)
            if not batch:
                break
            yield [_with_times(row, times) for row in batch]

    def close(self) -> None:
        """Close the file, without waiting for a running query."""
        if self._connection is not None:
            self._connection.interrupt()
        with suppress(TimeoutError):
            self._driver.run(self._end, CLOSE_SECONDS)
        self._driver.finish(lambda: None)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _is_file(path: Path) -> bool:
    try:
        return is_there(path) and path.is_file()
    except FileError as error:
        raise DatabaseRefused(f"{error}: check DB_NAME") from error


def _with_times(row: tuple[object, ...], places: Sequence[int]) -> tuple[object, ...]:
    values = list(row)
    for place in places:
        values[place] = _as_time(values[place])
    return tuple(values)


def _as_time(value: object) -> object:
    """The time in a text, in UTC without a zone; any other value unchanged."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        return value
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Translate SQLite's errors."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise QueryFailed(
            f"The SQLite database cannot run the query ({error}): check DB_NAME, "
            "or recreate the file with python -m sandbox.database FILE"
        ) from error
