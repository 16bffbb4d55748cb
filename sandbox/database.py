"""The demo's database: `database_setup.sql` in an SQLite file.

    python -m sandbox.database demo.db

creates one to use with `DB_ENGINE=sqlite` and `DB_NAME=demo.db`; with `--empty` without rows.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from integration.database.errors import DatabaseError
from integration.database.sqlite import to_sqlite

SETUP_SQL = Path(__file__).resolve().parent.parent / "database_setup.sql"


def create_database(path: Path, setup_sql: Path = SETUP_SQL, *, empty: bool = False) -> None:
    """Create an SQLite database with the tables and rows of `database_setup.sql`.

    An existing file keeps its other tables; these two are dropped and recreated, as in MySQL.

    Args:
        path: the database's file.
        setup_sql: the SQL.
        empty: create the tables without rows.

    Raises:
        OSError, sqlite3.Error: the files cannot be read or written.
        QueryFailed: the SQL cannot be translated.
    """
    statements = to_sqlite(setup_sql.read_text(encoding="utf-8"))
    if empty:
        statements = [one for one in statements if not one.startswith("INSERT")]
    # The rows are personal data: only the owner may read the file.
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.database",
        description="Create an SQLite database with the customers and page views of the demo.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the database to make")
    parser.add_argument("--empty", action="store_true", help="only the tables, without rows")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Create the file that the command line names."""
    options = build_parser().parse_args(arguments)
    file: Path = options.file
    try:
        create_database(file, empty=options.empty)
    except (OSError, sqlite3.Error, DatabaseError) as error:
        sys.stderr.write(f"Cannot make {file}: {error}\n")
        return os.EX_CANTCREAT
    sys.stdout.write(f"Made {file}. To use it: DB_ENGINE=sqlite DB_NAME={shlex.quote(str(file))}\n")
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
