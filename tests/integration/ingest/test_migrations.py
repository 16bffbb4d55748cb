"""From the first version of the etl_ tables to the current one, on each engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.database.write_errors import WriteFailed
from integration.ingest import tables
from integration.ingest.runs import last_runs
from integration.ingest.statistics import statistics_of
from integration.ingest.tables import prepare_tables
from tests.support.ingest import links

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.database.writing import WriteSession

TIME = "2026-11-01 10:00:00.000000"


@pytest.fixture
def version_1(session: WriteSession, monkeypatch: pytest.MonkeyPatch) -> WriteSession:
    """A database with the tables of version 1, and a run in them."""
    with monkeypatch.context() as patch:
        patch.setattr(tables, "MIGRATIONS", tables.MIGRATIONS[:1])
        patch.setattr(tables, "SCHEMA_VERSION", 1)
        prepare_tables(session)
    session.execute(
        "INSERT INTO etl_runs (source, kind, status, created_at, started_at, heartbeat_at,"
        " finished_at, records, inserted) VALUES ('crm', 'csv', 'completed', %s, %s, %s, %s, 1, 1)",
        [TIME] * 4,
    )
    session.execute("INSERT INTO customers (id, email, plan_type) VALUES (7, 'a@x.com', 'pro')")
    session.execute("INSERT INTO etl_records VALUES ('crm', 'customers', '7', 7, 1)")
    return session


def check_current(session: WriteSession) -> None:
    """The tables are those of the current version, and the run is still there."""
    versions = [row[0] for row in session.query("SELECT version FROM etl_schema ORDER BY version")]
    assert versions == list(range(1, tables.SCHEMA_VERSION + 1))
    (run,) = last_runs(session, "crm", 5)
    assert (run.status, run.records, run.missing, run.deleted) == ("completed", 1, None, 0)
    assert links(session) == {("crm", "7"): 7}


def test_tables_of_version_1_are_brought_up_to_date(version_1: WriteSession) -> None:
    """With what they hold."""
    prepare_tables(version_1)
    check_current(version_1)


def test_stats_says_that_a_run_is_needed_first(version_1: WriteSession) -> None:
    """It changes nothing by itself."""
    with pytest.raises(WriteFailed, match=r"earlier version .* python cli\.py run brings them"):
        statistics_of(version_1, [])


@pytest.mark.parametrize("survives", [0, 1, 2])
def test_a_migration_that_was_killed_continues(
    version_1: WriteSession, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    """After any of its statements; MySQL has committed those before it."""
    execute, done = version_1.execute, 0

    def killed(sql: str, parameters: Sequence[object] = ()) -> int:
        nonlocal done
        if done == survives:
            raise WriteFailed("killed")
        done += 1
        return execute(sql, parameters)

    with monkeypatch.context() as patch:
        patch.setattr(version_1, "execute", killed)
        with pytest.raises(WriteFailed, match="killed"):
            prepare_tables(version_1)

    prepare_tables(version_1)
    check_current(version_1)
