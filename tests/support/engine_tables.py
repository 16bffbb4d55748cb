"""The same customers and page views in the tables of every engine.

The data have what engines differ in: ties, NULLs, characters of four bytes, texts that collations
order in different ways, times around the edge of the seven days, and times in the hour that a time
zone has twice when its summer time ends.
"""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.private_postgres import PostgreSQLServer
    from tests.support.mysql_server import MySQLServer

CUSTOMER_COLUMNS = "id, email, first_name, last_name, plan_type, candidate"
VIEW_COLUMNS = "id, user_id, page, device, browser, location, event_time"
NAMES = [None, "", "Ada", "ada", "Ädä", "Zoë", "ß", "💠 Ines", "李雷", "O'Neil", "_x", "a b", "A-b"]
PLANS = ["pro", "pro", "pro", "free", "enterprise", None]
PAGES = ["pricing", "settings", "home", "docs"]
BROWSERS = ["Chrome", "Firefox", "", None, "Safari 🧭"]


@dataclass(frozen=True)
class Tables:
    """The rows of both tables; times are in UTC."""

    customers: list[tuple[Any, ...]]
    views: list[tuple[Any, ...]]


def summer_time_rule(end: date) -> str:
    """A time zone, as POSIX writes it, whose summer time ends at 2 o'clock of this day."""
    start = end - timedelta(days=60)
    return f"XST5XDT,J{_julian(start)},J{_julian(end)}"


def _julian(day: date) -> int:
    """Counted without the 29th of February."""
    return (day.replace(year=2001) - date(2000, 12, 31)).days


def make_tables(today: date, count: int = 5_000, seed: int = 1) -> Tables:
    """`count` customers, of which one in eight has no view."""
    chance = random.Random(seed)
    midnight = datetime(today.year, today.month, today.day, tzinfo=UTC)
    moments = _moments(midnight)
    customers, views = [], []
    for number in range(1, count + 1):
        customers.append(_customer(chance, number))
        # Few different times: many customers have several views in the same second.
        views += [
            (number, *_view(chance), chance.choice(moments)) for _ in range(chance.randrange(8))
        ]
    chance.shuffle(views)
    numbered = [(place, *view) for place, view in enumerate(views, start=1)]
    return Tables(customers, numbered)


def _moments(midnight: datetime) -> list[datetime]:
    edge = midnight - timedelta(days=7)
    second = timedelta(seconds=1)
    # 2 o'clock of a summer time five hours behind UTC, three days ago: 5 and 6 UTC are both 1.
    twice = midnight - timedelta(days=3) + timedelta(hours=5, minutes=30)
    return [
        *(edge - second, edge, edge + second, edge - timedelta(hours=5)),
        *(twice, twice + timedelta(hours=1), twice + timedelta(hours=2)),
        *(midnight - second, midnight, midnight - timedelta(days=60)),
    ]


def _customer(chance: random.Random, number: int) -> tuple[Any, ...]:
    return (
        number,
        f"{chance.choice(['User', 'user', 'ü_ser', 'us-er', 'u.ser'])}.{number}@example.com",
        chance.choice(NAMES),
        chance.choice(NAMES),
        chance.choice(PLANS),
        chance.choice(["yes", "no", None]),
    )


def _view(chance: random.Random) -> tuple[Any, ...]:
    return (
        chance.choice(PAGES),
        chance.choice(["desktop", "mobile", None]),
        chance.choice(BROWSERS),
        chance.choice(["London", "São Paulo", "東京", None]),
    )


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _as_text(views: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(*view[:-1], _text(view[-1])) for view in views]


def load_mysql(server: MySQLServer, name: str, tables: Tables) -> None:
    """Tables as those of database_setup.sql, without what would refuse a row."""
    with server.connected(name) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE customers (id INT PRIMARY KEY, email VARCHAR(255), first_name"
            " VARCHAR(100), last_name VARCHAR(100), plan_type ENUM('free', 'pro', 'enterprise'),"
            " candidate VARCHAR(10)) CHARACTER SET utf8mb4"
        )
        cursor.execute(
            "CREATE TABLE page_views (id INT PRIMARY KEY, user_id INT, page VARCHAR(20),"
            " device VARCHAR(20), browser VARCHAR(50), location VARCHAR(100),"
            " event_time TIMESTAMP NOT NULL, KEY (user_id)) CHARACTER SET utf8mb4"
        )
        connection.autocommit = False
        cursor.executemany(_insert("customers", CUSTOMER_COLUMNS, "%s"), tables.customers)
        cursor.executemany(_insert("page_views", VIEW_COLUMNS, "%s"), _as_text(tables.views))
        connection.commit()


def load_sqlite(file: Path, tables: Tables) -> None:
    """Tables without types."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"CREATE TABLE customers ({CUSTOMER_COLUMNS})")
        connection.execute(f"CREATE TABLE page_views ({VIEW_COLUMNS})")
        connection.executemany(_insert("customers", CUSTOMER_COLUMNS, "?"), tables.customers)
        connection.executemany(_insert("page_views", VIEW_COLUMNS, "?"), _as_text(tables.views))


def _insert(table: str, columns: str, marker: str) -> str:
    markers = ", ".join([marker] * len(columns.split(",")))
    return f"INSERT INTO {table} ({columns}) VALUES ({markers})"


def load_postgres(server: PostgreSQLServer, name: str, tables: Tables) -> None:
    """Times with a zone, an ENUM, and a collation that is not the order of the bytes."""
    with server.connected(name) as connection:
        connection.execute("CREATE TYPE plan AS ENUM ('free', 'pro', 'enterprise')")
        connection.execute(
            "CREATE TABLE customers (id int PRIMARY KEY, email text, first_name text,"
            ' last_name text COLLATE "und-x-icu", plan_type plan, candidate varchar(10))'
        )
        connection.execute(
            "CREATE TABLE page_views (id bigint PRIMARY KEY, user_id int, page text, device text,"
            " browser text, location text, event_time timestamptz)"
        )
        for table, rows in (("customers", tables.customers), ("page_views", tables.views)):
            with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        connection.execute("ANALYZE")


def write_parquet(folder: Path, tables: Tables) -> None:
    """`customers.parquet` and `page_views.parquet`; times with a zone, in microseconds."""
    types = {
        "customers": "id BIGINT, email VARCHAR, first_name VARCHAR, last_name VARCHAR,"
        " plan_type VARCHAR, candidate VARCHAR",
        "page_views": "id BIGINT, user_id BIGINT, page VARCHAR, device VARCHAR, browser VARCHAR,"
        " location VARCHAR, event_time TIMESTAMPTZ",
    }
    with duckdb.connect() as connection:
        for table, rows in (("customers", tables.customers), ("page_views", tables.views)):
            file = folder / f"{table}.csv"
            with file.open("w", encoding="utf-8", newline="") as output:
                output.writelines(_csv_line(row) for row in rows)
            connection.execute(f"CREATE TABLE {table} ({types[table]})")
            connection.execute(f"COPY {table} FROM '{file}' (HEADER false, NULLSTR '\\N')")
            connection.execute(f"COPY {table} TO '{folder / table}.parquet' (FORMAT parquet)")


def _csv_line(row: tuple[Any, ...]) -> str:
    texts = ("\\N" if value is None else f'"{value}"' for value in row)
    return ",".join(texts) + "\n"


def load_duckdb(file: Path, folder: Path) -> None:
    """A table of the customers; the views stay in `folder`/page_views.parquet."""
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE TABLE customers AS SELECT * FROM '{folder}/customers.parquet'")
        connection.execute(f"CREATE VIEW page_views AS SELECT * FROM '{folder}/page_views.parquet'")
