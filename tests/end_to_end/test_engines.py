"""Whole runs whose users come from PostgreSQL and DuckDB, against the mock Iterable server."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.integration.database.test_engines_agree import query_2_of
from tests.support.engine_tables import (
    Tables,
    load_duckdb,
    load_postgres,
    make_tables,
    write_parquet,
)
from tests.support.postgres_server import private_server
from tests.support.runs import environment_for, finish, run, start, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.private_postgres import PostgreSQLServer
    from sandbox.process import SandboxProcess

MANY = 3_000
# Sends profiles; one row takes a minute, unless the table `hurry` has a row.
SLOW_QUERY = """
SELECT id, 'user' || id || '@example.com' AS email, id * 2 AS "profile.points",
    CASE WHEN id = 2500 AND NOT EXISTS (SELECT FROM hurry) THEN pg_sleep(60)::text END
        AS "profile.note"
FROM generate_series(1, 3000) AS id
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQLServer]:
    """A private server."""
    with private_server() as server:
        yield server


@pytest.fixture
def tables() -> Tables:
    """A few customers."""
    return make_tables(datetime.now(UTC).date(), 300)


def environment(folder: Path, sandbox: SandboxProcess, url: str, **others: str) -> dict[str, str]:
    """The configuration of a run whose database is an address."""
    values = environment_for(folder, sandbox, None)
    kept = {name: value for name, value in values.items() if not name.startswith("DB_")}
    return {**kept, "DATABASE_URL": url, **others}


@pytest.mark.parametrize("engine", ["postgresql", "duckdb"])
def test_what_is_delivered_is_what_query_2_finds(
    tmp_path: Path,
    sandbox: SandboxProcess,
    tables: Tables,
    request: pytest.FixtureRequest,
    engine: str,
) -> None:
    """DuckDB reads the page views from a Parquet file."""
    if engine == "duckdb":
        write_parquet(tmp_path, tables)
        load_duckdb(tmp_path / "shop.duckdb", tmp_path)
        url = "duckdb:///shop.duckdb"
    else:
        server: PostgreSQLServer = request.getfixturevalue("postgres")
        name = server.new_database()
        load_postgres(server, name, tables)
        url = server.url(name)

    result = run(tmp_path, environment(tmp_path, sandbox, url))

    assert (result.exit_code, result.stderr) == (0, "")
    expected = query_2_of(tables)
    assert len(expected) > 50
    state = sandbox.state()
    assert {email: user["dataFields"]["first_name"] for email, user in state["users"].items()} == {
        row[1].lower(): row[2] for row in expected
    }
    assert sorted(event["createdAt"] for event in state["events"].values()) == sorted(
        int(row[-1].replace(tzinfo=UTC).timestamp()) for row in expected
    )
    assert [row["email"] for row in result.csv_rows] == [row[1] for row in expected]


def test_a_server_that_crashes_mid_stream_ends_the_run_which_can_be_resumed(
    tmp_path: Path, sandbox: SandboxProcess, postgres: PostgreSQLServer
) -> None:
    """One line, exit code 69 and no call; when the server is back, --resume delivers them all."""
    name = postgres.new_database()
    postgres.run("CREATE TABLE hurry (id int)", name=name)
    (tmp_path / "slow.sql").write_text(SLOW_QUERY, encoding="utf-8")
    variables = environment(tmp_path, sandbox, postgres.url(name), QUERY_FILE="slow.sql")
    process = start(tmp_path, variables)
    sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_until(process, lambda: bool(postgres.run(sleeping)))
    ((pid,),) = postgres.run(sleeping)
    os.kill(pid, signal.SIGKILL)

    crashed = finish(tmp_path, process)

    assert crashed.exit_code == 69
    (line,) = crashed.stderr.splitlines()
    assert "Lost the connection to the database at 127.0.0.1" in line
    assert sandbox.calls() == []
    assert not list(tmp_path.glob("*_results_*"))
    wait_until_it_is_back(postgres)
    postgres.run("INSERT INTO hurry VALUES (1)", name=name)

    resumed = run(tmp_path, variables, "--resume")

    assert (resumed.exit_code, resumed.stderr) == (0, "")
    users = sandbox.state()["users"]
    assert {email: user["dataFields"]["points"] for email, user in users.items()} == {
        f"user{number}@example.com": 2 * number for number in range(1, MANY + 1)
    }


def wait_until_it_is_back(server: PostgreSQLServer) -> None:
    """After the death of one of its processes, a server ends all sessions and starts again."""
    give_up = time.monotonic() + 30
    while True:
        try:
            server.run("SELECT 1")
        except psycopg.OperationalError:
            assert time.monotonic() < give_up
            time.sleep(0.1)
        else:
            return


def test_a_wrong_password_is_one_line_without_it(
    tmp_path: Path, sandbox: SandboxProcess, postgres: PostgreSQLServer
) -> None:
    """Neither in the console nor in the log."""
    url = postgres.url(password="geh%65im-Pass%2Fwort")

    result = run(tmp_path, environment(tmp_path, sandbox, url))

    assert result.exit_code == 69
    (line,) = result.stderr.splitlines()
    assert "Access denied for user tester at 127.0.0.1" in line
    for text in (result.stdout, result.stderr, result.log):
        assert "geheim" not in text
        assert "geh%65im" not in text
    assert sandbox.calls() == []


def test_check_shows_the_mapping_and_the_plan(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Also of a query that names files, and without a database."""
    (tmp_path / "people.csv").write_text("id,mail,score\n1,ada@example.com,1.5\n", encoding="utf-8")
    (tmp_path / "own.sql").write_text(
        "SELECT id, mail AS email, score AS \"profile.score\" FROM 'people.csv'", encoding="utf-8"
    )
    variables = environment(tmp_path, sandbox, "duckdb:///:memory:", QUERY_FILE="own.sql")

    checked = run(tmp_path, variables, "--check")
    delivered = run(tmp_path, variables)

    assert (checked.exit_code, checked.stderr) == (0, "")
    assert "profile.score" in checked.stdout
    assert "Plan:" in checked.stdout
    assert (delivered.exit_code, delivered.stderr) == (0, "")
    (user,) = sandbox.state()["users"].values()
    assert user["dataFields"]["score"] == 1.5
