"""Whether `customers` and `page_views` can be used: characters, transactions, unique emails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.database.write_errors import WriteFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from integration.database.dialects import Column
    from integration.database.writing import WriteSession


def check_unique_email(session: WriteSession) -> None:
    """Check that two customers cannot have the same email, which conflicts are told by.

    Raises:
        WriteFailed: `customers.email` has no unique index of its own.
    """
    if not session.query(session.dialect.unique_index_on, ("customers", "email")):
        raise WriteFailed(
            "customers.email has no unique index, without which two customers could get the same "
            "email: CREATE UNIQUE INDEX idx_customers_email ON customers (email)"
        )


def check_storage(session: WriteSession, tables: Mapping[str, Iterable[Column]]) -> None:
    """Check character sets and storage engines; SQLite has one of each.

    Args:
        session: the writable session.
        tables: the columns of each table.

    Raises:
        WriteFailed: a table is not utf8mb4, where MariaDB would store "?" for a character that it
            cannot hold; or has no transactions, so that a page could be stored in part.
    """
    if session.engine == "sqlite":
        return
    for table, columns in tables.items():
        _check_charset(table, columns)
    rows = session.query(
        "SELECT t.table_name, t.engine FROM information_schema.tables t"
        " JOIN information_schema.engines e ON e.engine = t.engine"
        " WHERE t.table_schema = DATABASE() AND t.table_name IN (%s, %s)"
        " AND COALESCE(e.transactions, 'NO') <> 'YES'",
        tuple(tables),
    )
    for table, engine in rows:
        raise WriteFailed(
            f"The table {table} is {engine}, which has no transactions: "
            f"ALTER TABLE {table} ENGINE = InnoDB"
        )


def _check_charset(table: str, columns: Iterable[Column]) -> None:
    for column in columns:
        charset = (column.collation or "utf8mb4").partition("_")[0]
        if charset != "utf8mb4":
            raise WriteFailed(
                f"{table}.{column.name} is {charset}, which cannot hold every character: "
                f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4"
            )
