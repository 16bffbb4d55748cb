"""Where the SQL of the engines differs: rows passed as JSON, updates, locks, table definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Engine = Literal["mysql", "mariadb", "sqlite"]


class Column(NamedTuple):
    """A column of rows that are passed as JSON.

    Attributes:
        name: its name in the statement.
        kind: what its values are; a time is text as "YYYY-MM-DD HH:MM:SS".
        collation: that of the column it is compared with; without one, text is compared exactly.
    """

    name: str
    kind: Literal["text", "integer", "time"] = "text"
    collation: str | None = None


@dataclass(frozen=True)
class MySQLDialect:
    """MySQL and MariaDB.

    Attributes:
        engine: which of the two.
        serial: the type of a primary key that the database numbers.
        blob: the type of large binary values.
        json: the type of JSON texts.
        time: the type of times with microseconds.
        table_options: what follows the columns in CREATE TABLE.
        invoker: between CREATE and VIEW; a view needs no rights but its reader's.
        columns_of: statement with a marker for the table: names and collations of its columns.
        join: an inner join that reads the table to its left first, the few rows `p`.
        unkeyed: what stands for the key of the row `v` when its record has none.
        objects: statement for the names of all tables, views and indexes.
        unique_index_on: statement with markers for a table and a column: the unique indexes that
            have this column and no other.
    """

    engine: Engine
    serial: str = "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY"
    blob: str = "LONGBLOB"
    json: str = "JSON"
    time: str = "DATETIME(6)"
    table_options: str = "ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin"
    invoker: str = "SQL SECURITY INVOKER"
    join: str = "STRAIGHT_JOIN"
    unkeyed: str = "CONCAT('#', LPAD(v.id, 15, '0'))"
    columns_of: str = (
        "SELECT column_name, collation_name FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND table_name = %s"
    )
    objects: str = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        " UNION SELECT index_name FROM information_schema.statistics"
        " WHERE table_schema = DATABASE()"
    )
    unique_index_on: str = (
        "SELECT index_name FROM information_schema.statistics"
        " WHERE table_schema = DATABASE() AND table_name = %s AND non_unique = 0"
        " GROUP BY index_name HAVING COUNT(*) = 1 AND MAX(column_name) = %s"
    )

    def rows(self, columns: Sequence[Column]) -> str:
        """A table `p` for FROM, JSON_TABLE; its one marker takes a JSON list of lists."""
        typed = ", ".join(
            f"{column.name} {_mysql_type(column)} PATH '$[{place}]' ERROR ON ERROR"
            for place, column in enumerate(columns)
        )
        return f"JSON_TABLE(%s, '$[*]' COLUMNS ({typed})) AS p"

    def update(self, table: str, columns: Sequence[Column]) -> str:
        """Set all columns but the first, `id`, of the rows with these ids; marker as in `rows`."""
        changes = ", ".join(f"t.{column.name} = p.{column.name}" for column in columns[1:])
        return (
            f"UPDATE {self.rows(columns)} STRAIGHT_JOIN {table} AS t ON t.id = p.id SET {changes}"
        )

    def is_same(self, given: str, stored: str) -> str:
        """Whether a text of `rows` is stored exactly so; collations ignore case or final spaces."""
        return f"CAST({given} AS BINARY) <=> CAST(CONVERT({stored} USING utf8mb4) AS BINARY)"

    def for_update(self, *tables: str) -> str:
        """What locks the rows that a SELECT reads from these aliases.

        MySQL refuses to lock a JSON_TABLE; MariaDB has no list of tables, and ignores it.
        """
        return " FOR UPDATE" if self.engine == "mariadb" else f" FOR UPDATE OF {', '.join(tables)}"


def _mysql_type(column: Column) -> str:
    if column.kind == "integer":
        return "BIGINT"
    if column.kind == "time":
        return "DATETIME"
    # Longer than any column: MariaDB would cut off a longer text without an error.
    charset = (column.collation or "utf8mb4_bin").partition("_")[0]
    return f"VARCHAR(1000) CHARACTER SET {charset} COLLATE {column.collation or 'utf8mb4_bin'}"


@dataclass(frozen=True)
class SQLiteDialect:
    """SQLite; the attributes are those of `MySQLDialect`."""

    engine: Engine = "sqlite"
    serial: str = "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"
    blob: str = "BLOB"
    json: str = "TEXT"
    time: str = "TEXT"
    table_options: str = ""
    invoker: str = ""
    join: str = "CROSS JOIN"
    unkeyed: str = "printf('#%015d', v.id)"
    columns_of: str = (
        "SELECT t.name, (SELECT x.coll FROM pragma_index_list(a.name) AS l,"
        ' pragma_index_xinfo(l.name) AS x WHERE l."unique" = 1 AND x.name = t.name AND x."key" = 1)'
        " FROM (SELECT %s AS name) AS a, pragma_table_info(a.name) AS t"
    )
    objects: str = "SELECT name FROM sqlite_master"
    unique_index_on: str = (
        "SELECT l.name FROM pragma_index_list(%s) AS l, pragma_index_info(l.name) AS i"
        ' WHERE l."unique" = 1 AND l.partial = 0'
        " GROUP BY l.name HAVING COUNT(*) = 1 AND LOWER(MAX(i.name)) = %s"
    )

    def rows(self, columns: Sequence[Column]) -> str:
        """json_each."""
        values = ", ".join(
            f"json_extract(value, '$[{place}]') AS {column.name}"
            for place, column in enumerate(columns)
        )
        return f"(SELECT {values} FROM json_each(%s)) AS p"

    def update(self, table: str, columns: Sequence[Column]) -> str:
        """UPDATE … FROM."""
        changes = ", ".join(f"{column.name} = p.{column.name}" for column in columns[1:])
        return f"UPDATE {table} AS t SET {changes} FROM {self.rows(columns)} WHERE t.id = p.id"

    def is_same(self, given: str, stored: str) -> str:
        """Compared as binary."""
        return f"{stored} COLLATE BINARY IS {given}"

    def for_update(self, *tables: str) -> str:  # noqa: ARG002
        """A transaction locks the whole file."""
        return ""


Dialect = MySQLDialect | SQLiteDialect
