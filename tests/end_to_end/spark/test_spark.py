"""A real Spark cluster of two executors, asked through Spark Connect."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from db_connection import (
    DatabaseConnection,
    DatabaseSettings,
    DatabaseUnavailable,
    Query,
    QueryFailed,
)
from integration.config.loading import load, read_variables
from tests.end_to_end.test_engines import environment
from tests.integration.database.test_engines_agree import (
    QUERIES,
    in_times,
    query_2_of,
    rows_of,
    time_zone,
)
from tests.support.engine_tables import (
    Tables,
    load_duckdb,
    make_tables,
    summer_time_rule,
    write_parquet,
)
from tests.support.runs import run
from tests.support.spark_server import EXECUTORS, LOG, spark_connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.process import SandboxProcess


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the cluster and the Parquet files are."""
    return tmp_path_factory.mktemp("spark")


@pytest.fixture(scope="module")
def tables(folder: Path) -> Tables:
    """The same customers as for the other engines, in Parquet files."""
    found = make_tables(datetime.now(UTC).date())
    write_parquet(folder, found)
    load_duckdb(folder / "shop.duckdb", folder)
    return found


@pytest.fixture(scope="module")
def url(folder: Path, tables: Tables) -> Iterator[str]:
    """A cluster whose catalog has both tables."""
    from pyspark.sql.connect.session import SparkSession  # noqa: PLC0415  not in other environments

    with spark_connect(folder) as address:
        session = SparkSession.builder.remote(address).create()
        for table in ("customers", "page_views"):
            session.sql(
                f"CREATE TABLE {table} USING parquet LOCATION '{folder}/{table}.parquet'"
            ).collect()
        session.stop()
        yield address


def settings_of(url: str) -> DatabaseSettings:
    """The database of an address."""
    found = load(
        read_variables({"DATABASE_URL": url, "ITERABLE_API_KEY": "k"}, None), {}, Path("/")
    )
    return DatabaseSettings(
        found.db_engine,
        found.db_host,
        found.db_port,
        found.db_user,
        found.db_password,
        found.db_name,
        options=found.db_options,
    )


def values_of(url: str, sql: str) -> tuple[Any, ...]:
    """The only row of a query of Spark's."""
    with DatabaseConnection.from_settings(settings_of(url)) as connection:
        _, batches = connection.stream_rows(Query(sql, "native"))
        ((row,),) = list(batches)
        return row


def test_the_cluster_has_two_executors(url: str, folder: Path) -> None:
    """Each is a process of its own, which the driver has started."""
    values_of(url, "SELECT COUNT(*) AS n FROM page_views")
    log = (folder / LOG).read_text(encoding="utf-8")
    assert log.count("Executor updated") >= EXECUTORS
    assert log.count("Registered executor") == EXECUTORS


def test_query_2_finds_the_latest_view_of_each_customer(url: str, tables: Tables) -> None:
    """In a process whose time zone has just ended its summer time."""
    with time_zone(summer_time_rule(datetime.now(UTC).date() - timedelta(days=3))):
        rows = rows_of(settings_of(url), QUERIES["Query 2"])
    assert len(rows) > 1_000
    assert rows == query_2_of(tables)


@pytest.mark.parametrize("query", QUERIES)
def test_spark_returns_the_same_rows_as_duckdb(
    url: str, folder: Path, tables: Tables, query: str
) -> None:
    """Which returns those of MySQL; also the order of ties, of NULLs and of texts."""
    duckdb = DatabaseSettings("duckdb", (), 0, "", "", str(folder / "shop.duckdb"))
    found = in_times(rows_of(settings_of(url), QUERIES[query]))
    assert len(found) > 500
    assert found == in_times(rows_of(duckdb, QUERIES[query]))


def test_values_have_the_types_of_a_run(url: str) -> None:
    """Times in UTC without a zone, structures as objects."""
    row = values_of(
        url,
        "SELECT timestamp '2026-03-29 03:30:00+02:00' AS t, date '2026-03-29' AS d, true AS b,"
        " 1.50BD AS n, named_struct('at', timestamp '2026-03-29 03:30:00+02:00', 'x', 1) AS s,"
        " array(named_struct('y', 'z')) AS l, map('k', 2) AS m, parse_json('{\"a\": 1.5}') AS j,"
        " CAST(NULL AS STRING) AS x",
    )
    moment = datetime(2026, 3, 29, 1, 30)  # noqa: DTZ001
    assert row == (
        *(moment, date(2026, 3, 29), True, Decimal("1.50"), {"at": moment, "x": 1}),
        *([{"y": "z"}], {"k": 2}, '{"a":1.5}', None),
    )


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT id FROM nope", "Spark cannot run the query ([TABLE_OR_VIEW_NOT_FOUND]"),
        ("SELECT nope FROM customers", "Spark cannot run the query ([UNRESOLVED_COLUMN"),
        ("SELEC 1", "Spark cannot run the query ([PARSE_SYNTAX_ERROR]"),
        ("DROP TABLE customers", "Spark cannot run the query ([PARSE_SYNTAX_ERROR]"),
    ],
)
def test_a_failed_query_says_what_to_check(url: str, sql: str, message: str) -> None:
    """In one line; a statement that is no query is not run."""
    with pytest.raises(QueryFailed) as caught:
        values_of(url, sql)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert values_of(url, "SELECT COUNT(*) AS n FROM customers") == (5_000,)


def test_a_port_that_nothing_listens_on_is_one_line() -> None:
    """At once, and not after the minutes that the driver would try."""
    settings = settings_of("sc://127.0.0.1:1")
    connection = DatabaseConnection.from_settings(settings, sleep=lambda seconds: None)
    with pytest.raises(DatabaseUnavailable) as caught, connection:
        pass
    assert str(caught.value).startswith("Cannot connect to Spark at 127.0.0.1:1: check that its")


def test_a_run_delivers_what_query_2_finds(
    tmp_path: Path, sandbox: SandboxProcess, url: str, tables: Tables
) -> None:
    """From the cluster to the mock Iterable server."""
    variables = environment(tmp_path, sandbox, url)

    checked = run(tmp_path, variables, "--check")
    result = run(tmp_path, variables)

    assert (checked.exit_code, checked.stderr) == (0, "")
    assert (result.exit_code, result.stderr) == (0, "")
    expected = query_2_of(tables)
    users = sandbox.state()["users"]
    assert {email: user["dataFields"]["first_name"] for email, user in users.items()} == {
        row[1].lower(): row[2] for row in expected
    }
    assert [row["email"] for row in result.csv_rows] == [row[1] for row in expected]
