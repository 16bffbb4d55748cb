"""database_setup.sql and phase2_queries.sql, in the real client and on a real server."""

from __future__ import annotations

import dataclasses
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from db_connection import DatabaseConnection, load_query
from integration.core.models import PageView
from tests.conftest import QUERIES_SQL, ROOT, SETUP_SQL
from tests.support.users import page_views

if TYPE_CHECKING:
    from db_connection import DatabaseSettings
    from tests.support.mysql_server import MySQLServer

# The documented CSV, except for the times.
HITS = """\
1,delgadoalex10@gmail.com,Alex,Delgado,pro,Alex Delgado,pricing,desktop,Chrome,San Francisco CA
2,sarah.johnson@email.com,Sarah,Johnson,pro,yes,settings,mobile,Safari,New York NY
3,mia.harris@email.com,Mia,Harris,pro,yes,pricing,tablet,Safari,Philadelphia PA
"""
TIMES_OF_DAY = ["00:00:00", "00:00:01", "02:59:59", "12:00:00", "21:00:01", "23:59:59"]


def _rows(server: MySQLServer, name: str, query: int, *before: str) -> list[tuple[Any, ...]]:
    return server.run(*before, load_query(QUERIES_SQL, query), name=name)


def _csv_without_time(rows: list[tuple[Any, ...]]) -> str:
    return "".join(",".join(map(str, row[:-1])) + "\n" for row in rows)


def test_the_setup_file_runs_twice_in_the_real_client_with_the_same_result(
    mysql_server: MySQLServer, empty_database: DatabaseSettings
) -> None:
    """A second run of database_setup.sql leaves the same tables and rows, and prints nothing."""
    seen = []
    for _ in range(2):
        done = mysql_server.client(SETUP_SQL.read_text(encoding="utf-8"), empty_database.name)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        seen.append(
            mysql_server.run(
                "SELECT (SELECT COUNT(*) FROM customers), COUNT(*), MAX(id) FROM page_views",
                name=empty_database.name,
            )
        )
    assert seen == [[(15, 40, 40)]] * 2


def account_statements(text: str) -> list[str]:
    """The statements that create a read-only account, as a reader would copy them."""
    return re.findall(r"^(?:--)? *((?:CREATE USER|GRANT) .*;)$", text, flags=re.MULTILINE)


def test_the_account_of_the_comments_can_read_and_nothing_else(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """Copied from database_setup.sql unchanged, the statements are sufficient for Query 2."""
    user = f"reader_{time.monotonic_ns() % 10**9}"
    statements = account_statements(SETUP_SQL.read_text(encoding="utf-8"))
    mysql_server.client(
        "\n".join(statements).replace("iterable_reader", user), seeded_database.name
    ).check_returncode()
    account = dataclasses.replace(seeded_database, user=user, password="choose-a-password")
    try:
        with DatabaseConnection.from_settings(account) as database:
            views = list(page_views(database.stream_page_views(load_query(QUERIES_SQL, 2))))
        grants = [row[0] for row in mysql_server.run(f"SHOW GRANTS FOR '{user}'@'%'")]
    finally:
        mysql_server.run(f"DROP USER '{user}'@'%'")
    assert [view.id for view in views] == [1, 2, 3]
    assert sorted(re.sub(r" (TO|IDENTIFIED) .*", "", grant) for grant in grants) == [
        f"GRANT SELECT ON `{seeded_database.name}`.`customers`",
        f"GRANT SELECT ON `{seeded_database.name}`.`page_views`",
        "GRANT USAGE ON *.*",
    ]


def test_the_documents_show_the_same_account() -> None:
    """The same three statements are in the file's comments and in docs/sql.md."""
    statements = account_statements(SETUP_SQL.read_text(encoding="utf-8"))
    assert len(statements) == 3
    assert account_statements((ROOT / "docs" / "sql.md").read_text(encoding="utf-8")) == statements


def test_the_setup_file_leaves_other_tables_alone(
    mysql_server: MySQLServer, empty_database: DatabaseSettings
) -> None:
    """The file drops its own two tables and no others."""
    mysql_server.run("CREATE TABLE kept (id INT)", name=empty_database.name)
    mysql_server.client(SETUP_SQL.read_text(encoding="utf-8"), empty_database.name)
    tables = {row[0] for row in mysql_server.run("SHOW TABLES", name=empty_database.name)}
    assert tables == {"customers", "page_views", "kept"}


def test_the_queries_file_gives_three_result_sets_in_the_real_client(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """phase2_queries.sql runs unchanged; each of its queries returns rows."""
    queries = QUERIES_SQL.read_text(encoding="utf-8")
    done = mysql_server.client(queries, seeded_database.name, ["--table"])
    assert (done.returncode, done.stderr) == (0, "")
    borders = [line for line in done.stdout.splitlines() if line.startswith("+-")]
    assert len(borders) == 3 * 3  # above the header, below it, below the rows
    assert done.stdout.count("delgadoalex10@gmail.com") == 3 + 1 + 1


def test_query_1_ranks_every_qualifying_view(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """Each view of the three customers has its rank, the latest first."""
    rows = _rows(mysql_server, seeded_database.name, 1)
    ranks = [(row[0], row[2], row[3], row[-1]) for row in rows]
    assert ranks == [
        (1, "pricing", "desktop", 1),
        (1, "settings", "mobile", 2),
        (1, "pricing", "tablet", 3),
        (2, "settings", "mobile", 1),
        (2, "settings", "desktop", 2),
        (2, "pricing", "desktop", 3),
        (3, "pricing", "tablet", 1),
        (3, "settings", "desktop", 2),
        (3, "pricing", "desktop", 3),
    ]


def test_query_2_finds_the_three_customers_of_the_example(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """Query 2 returns exactly the three rows of the documented CSV, except for their times."""
    rows = _rows(mysql_server, seeded_database.name, 2)
    assert _csv_without_time(rows) == HITS


def test_query_3_counts_each_customers_views(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """The summary has one line per customer: views, pages, first and last view."""
    rows = _rows(mysql_server, seeded_database.name, 3)
    assert [row[:4] for row in rows] == [
        (1, "delgadoalex10@gmail.com", 3, 2),
        (2, "sarah.johnson@email.com", 3, 2),
        (3, "mia.harris@email.com", 3, 2),
    ]
    assert all(first < last for *_, first, last in rows)


@pytest.mark.parametrize("zone", ["+00:00", "-11:00", "+13:00"])
@pytest.mark.parametrize("time_of_day", TIMES_OF_DAY)
def test_the_time_of_day_does_not_change_the_result(
    mysql_server: MySQLServer, empty_database: DatabaseSettings, time_of_day: str, zone: str
) -> None:
    """At any hour, in any time zone, Query 2 finds the same three customers."""
    name = empty_database.name
    moment = f"SET timestamp = UNIX_TIMESTAMP('2026-03-10 {time_of_day}')"
    setup = SETUP_SQL.read_text(encoding="utf-8")
    with mysql_server.connected(name) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET time_zone = '{zone}'")
        cursor.execute(moment)
        cursor.execute(setup.replace("iterable_challenge", name))
        while cursor.nextset():
            pass
        cursor.execute(f"SET time_zone = '{zone}'")
        cursor.execute(load_query(QUERIES_SQL, 2))
        assert _csv_without_time(cursor.fetchall()) == HITS


def test_query_2_returns_the_columns_of_a_page_view(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """Query 2's columns are PageView's fields, in that order, and so are the CSV's."""
    with mysql_server.connected(seeded_database.name) as connection:
        cursor = connection.cursor(buffered=True)
        cursor.execute(load_query(QUERIES_SQL, 2))
        assert cursor.column_names == PageView._fields
        cursor.close()


def test_of_two_views_in_one_second_the_higher_id_is_the_later(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """Query 2 is deterministic: the id decides between views of the same second."""
    times = mysql_server.run(
        "SELECT COUNT(DISTINCT event_time) FROM page_views WHERE id IN (12, 13)",
        name=seeded_database.name,
    )
    assert times == [(1,)]
    mysql_server.run(
        "UPDATE page_views SET page = 'settings' WHERE id = 13", name=seeded_database.name
    )
    assert _rows(mysql_server, seeded_database.name, 2)[2][6:8] == ("settings", "tablet")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE page_views SET event_time = NOW() WHERE id = 16", [1, 2, 3, 4]),
        ("UPDATE page_views SET page = 'pricing' WHERE id = 19", [1, 2, 3, 5]),
        ("UPDATE page_views SET event_time = NOW() WHERE id = 23", [1, 2, 3, 7]),
        ("UPDATE customers SET plan_type = 'pro' WHERE id = 8", [1, 2, 3, 8]),
        ("UPDATE customers SET plan_type = 'pro' WHERE id = 10", [1, 2, 3, 10]),
        ("UPDATE customers SET plan_type = 'pro' WHERE id = 14", [1, 2, 3, 14]),
        ("INSERT INTO page_views (user_id, page) VALUES (6, 'settings')", [1, 2, 3, 6]),
        ("UPDATE customers SET plan_type = 'basic' WHERE id = 1", [2, 3]),
    ],
)
def test_each_near_miss_misses_by_one_condition_only(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings, change: str, found: list[int]
) -> None:
    """Each condition of Query 2 excludes some customer of the demo."""
    mysql_server.run(change, name=seeded_database.name)
    assert [row[0] for row in _rows(mysql_server, seeded_database.name, 2)] == found


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO customers (email, plan_type) VALUES ('MIA.HARRIS@email.com', 'pro')",
        "INSERT INTO customers (email, plan_type) VALUES (NULL, 'pro')",
        "INSERT INTO customers (email, plan_type) VALUES ('a@example.com', 'gold')",
        "INSERT INTO page_views (user_id, page) VALUES (1, 'checkout')",
        "INSERT INTO page_views (user_id, page, device) VALUES (1, 'blog', 'watch')",
        "INSERT INTO page_views (user_id, page) VALUES (999, 'blog')",
    ],
)
def test_the_tables_refuse_what_cannot_be(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings, statement: str
) -> None:
    """Unique emails, known plans, pages and devices, and views of existing customers."""
    strict = "SET SESSION sql_mode = 'STRICT_ALL_TABLES'"
    with pytest.raises(Exception, match=r"Duplicate|null|truncated|foreign key"):
        mysql_server.run(strict, statement, name=seeded_database.name)


def test_the_tables_are_innodb_in_full_unicode(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """Both tables are InnoDB in utf8mb4, whatever the server's defaults."""
    rows = mysql_server.run(
        "SELECT engine, table_collation FROM information_schema.tables "
        f"WHERE table_schema = '{seeded_database.name}'"
    )
    assert rows == [("InnoDB", "utf8mb4_unicode_520_ci")] * 2


def test_query_2_reads_the_views_through_an_index(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """The plan of Query 2 has no full scan of page_views."""
    name = seeded_database.name
    # The optimizer scans tables that fit on a page: give it a larger one.
    mysql_server.run(
        "INSERT INTO customers (email, plan_type) SELECT CONCAT(a.id, '-', b.id, '@example.com'),"
        " ELT(1 + MOD(a.id + b.id, 5), 'free', 'free', 'basic', 'basic', 'pro')"
        " FROM page_views a, page_views b",
        "INSERT INTO page_views (user_id, page, event_time) SELECT c.id, v.page,"
        " DATE_SUB(v.event_time, INTERVAL MOD(c.id, 60) DAY) FROM customers c, page_views v",
        name=name,
    )
    mysql_server.run("ANALYZE TABLE customers, page_views", name=name)
    plan = mysql_server.run("EXPLAIN " + load_query(QUERIES_SQL, 2), name=name)
    assert "idx_page_views_user_page_time" in str(plan)
