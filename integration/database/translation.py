"""MySQL's queries in the dialects of the other engines.

sqlglot translates most of it: functions, names in backquotes, intervals, and where NULLs are in an
ORDER BY. Here is what it leaves: all sessions are in UTC, so that UTC_TIMESTAMP() is
CURRENT_TIMESTAMP; and `BINARY text` is the order of its bytes, as in MySQL.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from integration.database.errors import QueryFailed

_NAMES = {"postgres": "PostgreSQL", "duckdb": "DuckDB", "spark": "Spark"}


def translated(query: str, dialect: str) -> str:
    """A query of MySQL's in another dialect of sqlglot's.

    Raises:
        QueryFailed: it cannot be parsed, or is not one statement.
    """
    try:
        statements = [tree for tree in sqlglot.parse(query, read="mysql") if tree]
    except sqlglot.ParseError as error:
        summary = str(error).splitlines()[0]
        raise QueryFailed(
            f"The query cannot be translated for {_NAMES[dialect]}: {summary}"
        ) from error
    if len(statements) != 1:
        raise QueryFailed("The query must be one statement")
    tree = statements[0].transform(_node, dialect)
    return tree.sql(dialect=dialect, comments=False, unsupported_level=sqlglot.ErrorLevel.IGNORE)


def _node(node: exp.Expr, dialect: str) -> exp.Expr:
    if isinstance(node, exp.UtcTimestamp):
        return exp.CurrentTimestamp()
    if isinstance(node, exp.UtcDate):
        return exp.CurrentDate()
    if isinstance(node, exp.DateSub | exp.DateAdd) and dialect == "spark":
        return _spark_interval(node)
    if isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.BINARY:
        return _bytes(node.this, dialect)
    return node


def _spark_interval(node: exp.DateSub | exp.DateAdd) -> exp.Expr:
    """Spark's DATE_SUB takes days only."""
    interval = exp.Interval(this=node.expression.copy(), unit=exp.var(node.text("unit")))
    kind = exp.Sub if isinstance(node, exp.DateSub) else exp.Add
    # What is within a replaced node is not visited.
    moment = node.this.copy().transform(_node, "spark")
    return exp.paren(kind(this=moment, expression=interval))


def _bytes(text: exp.Expr, dialect: str) -> exp.Expr:
    """DuckDB and Spark compare the bytes of all texts."""
    if dialect != "postgres":
        return text
    return exp.Collate(this=text.copy(), expression=exp.to_identifier("C", quoted=True))
