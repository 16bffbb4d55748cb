"""The other commands of `cli.py` as real processes, on each engine."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from integration.core.clock import utc_now
from integration.core.exit_codes import ExitCode
from integration.core.facts import DeliveryFacts, Facts, SourceFacts
from integration.core.verdict import judge
from integration.database.writing import WriteSession, open_writer
from integration.ingest.tables import has_tables
from tests.support.cli_runs import environment_of, run_cli

if TYPE_CHECKING:
    from pathlib import Path

    from db_connection import DatabaseSettings
    from tests.support.runs import RunResult

SOURCES = """
[sources.crm]
entity = "customers"
kind = "csv"
path = "customers.csv"
key = "id"
owns_ids = true
max_rejected_percent = 60
"""
CUSTOMERS = "id,email,first_name,last_name,plan_type,candidate,plan\n"
ROWS = "1,a@example.com,A,B,pro,yes,free\n2,b@example.com,A,B,gold,no,pro\n"
SECRET = """
[sources.erp]
entity = "customers"
kind = "http"
url = "https://erp.example.com/customers"
auth = { variable = "ERP_TOKEN" }
"""
MAPPED = '[sources.crm.fields]\nplan_type = "plan"\n'


class Program:
    """`cli.py` in a folder, with one source of which a record is rejected."""

    def __init__(self, folder: Path, database: DatabaseSettings) -> None:
        self.folder = folder
        self.database = database
        (folder / "sources.toml").write_text(SOURCES)
        (folder / "customers.csv").write_text(CUSTOMERS + ROWS)

    def __call__(self, *arguments: str) -> RunResult:
        """Run a command."""
        return run_cli(self.folder, environment_of(self.database), *arguments)

    def correct_mapping(self) -> None:
        """Read the plan from the other column, which has no mistakes."""
        (self.folder / "sources.toml").write_text(SOURCES + MAPPED)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query on the target."""
        session = open_writer(self.database)
        try:
            return session.query(sql)
        finally:
            session.close()

    def execute(self, sql: str) -> None:
        """Run a statement on the target."""
        with closing(open_writer(self.database)) as session:
            session.execute(sql)

    def plans(self) -> dict[str, str]:
        """The customers' plans by email."""
        return dict(self.query("SELECT email, plan_type FROM customers"))


@pytest.fixture
def program(tmp_path: Path, target_settings: DatabaseSettings, session: WriteSession) -> Program:
    """Nothing has run yet; the database is empty."""
    session.close()
    return Program(tmp_path, target_settings)


@pytest.fixture
def ran(program: Program) -> Program:
    """One run, which rejected one of two records."""
    assert program("run").exit_code == ExitCode.SOME_FAILED
    return program


def test_stats_shows_each_source_and_creates_nothing(program: Program) -> None:
    """Before the first run there is nothing to show."""
    before = program("stats", "--json")
    assert (before.exit_code, before.stderr) == (ExitCode.OK, "")
    (empty,) = json.loads(before.stdout)["sources"]
    assert (empty["source"], empty["records"], empty["last_run"]) == ("crm", 0, None)
    assert program("stats").stdout.startswith("Healthy: Nothing has run yet. Next: python cli.py ")
    assert "etl_runs" not in program("stats").stdout

    program("run")

    (shown,) = json.loads(program("stats", "--json").stdout)["sources"]
    assert (shown["records"], shown["open_rejections"]) == (1, 1)
    assert shown["last_success"]["records"] == 2
    assert shown["lag_seconds"] >= 0
    assert shown["checkpoint"].endswith(f"customers.csv:{len(CUSTOMERS + ROWS)}")
    text = program("stats").stdout
    assert "2 records: 1 inserted, 0 updated, 0 unchanged, 1 rejected" in text
    sources = [SourceFacts(name="crm", status="completed", has_succeeded=True, open_rejections=1)]
    verdict = judge(Facts(now=utc_now(), deliveries=DeliveryFacts(), sources=sources))
    assert verdict.status == "healthy"
    assert text.splitlines()[0] == verdict.line
    assert json.loads(program("stats", "--json").stdout)["verdict"] == {
        "status": "healthy",
        "sentence": verdict.sentence,
        "advice": verdict.advice,
        "problems": [asdict(problem) for problem in verdict.problems],
    }


def test_stats_judges_a_journal_that_cannot_be_read(ran: Program) -> None:
    """It is one of the things that may be wrong; the sources are shown all the same."""
    (ran.folder / "iterable_journal.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)

    result = ran("stats")

    assert (result.exit_code, result.stderr) == (ExitCode.OK, "")
    assert result.stdout.startswith("Unhealthy: The journal cannot be read. Next: The journal ")
    assert "2 records: 1 inserted" in result.stdout


def test_only_run_needs_the_secrets_of_the_sources(ran: Program) -> None:
    """The other commands read nothing from a source."""
    file = ran.folder / "sources.toml"
    file.write_text(file.read_text() + SECRET)

    assert ran("stats").exit_code == ExitCode.OK
    assert "crm run 1 page 1 record 1" in ran("rejected").stdout
    assert ran("rejected", "--retry").exit_code == ExitCode.SOME_FAILED
    assert ran("replay", "1").exit_code == ExitCode.SOME_FAILED
    assert ran("forget", "a@example.com").exit_code == ExitCode.OK
    assert ran("reset", "--source", "erp").exit_code == ExitCode.OK
    result = ran("run")
    assert result.exit_code == ExitCode.CONFIGURATION
    assert result.stderr.endswith("Missing required environment variables: ERP_TOKEN\n")


def test_rejected_shows_the_reason_and_the_origin(ran: Program) -> None:
    """Without a value of the record, but with the values that are accepted."""
    result = ran("rejected")

    assert result.exit_code == ExitCode.OK
    assert (
        "crm run 1 page 1 record 1 key 2: not_allowed plan_type: expected one of free, basic, pro,"
        " enterprise ("
    ) in result.stdout
    assert "customers.csv:" in result.stdout
    assert "plan_type must be one of free, basic, pro, enterprise" in result.stdout
    assert "example.com" not in result.stdout
    assert ran("rejected", "--source", "erp").exit_code == ExitCode.CONFIGURATION


def test_rejected_shows_why_a_record_is_malformed(program: Program) -> None:
    """Found out again from the raw page; a record that could be stored now is named, too."""
    rows = "3,c@example.com\n4,d@example.com,A,B,pro,yes,free\n"
    (program.folder / "customers.csv").write_text(CUSTOMERS + ROWS + rows)
    program("run")
    assert ": malformed: 2 cells, expected 7 (" in program("rejected").stdout

    program.correct_mapping()

    assert "not_allowed plan_type: valid as the source is configured now" in (
        program("rejected").stdout
    )
    program.execute("DELETE FROM etl_raw_data")
    result = program("rejected")
    assert result.exit_code == ExitCode.OK
    assert "record 1 key 2: not_allowed plan_type (no longer stored)" in result.stdout


def test_a_conflict_is_stored_by_retry_once_its_cause_is_gone(program: Program) -> None:
    """The list says so."""
    rows = "1,a@example.com,A,B,pro,yes,free\n2,a@example.com,A,B,pro,no,pro\n"
    (program.folder / "customers.csv").write_text(CUSTOMERS + rows)
    program("run")
    shown = program("rejected").stdout
    assert "1 conflict: another customer has this email address; once that changes, --retry" in (
        shown
    )


def test_rejected_records_are_stored_after_the_mapping_was_corrected(ran: Program) -> None:
    """By `--retry`; the others stay as they are."""
    assert ran("rejected", "--retry").exit_code == ExitCode.SOME_FAILED
    ran.correct_mapping()

    assert ran("rejected", "--retry").exit_code == ExitCode.OK

    assert ran.plans() == {"a@example.com": "pro", "b@example.com": "pro"}
    assert "No rejected records." in ran("rejected").stdout


def test_replay_stores_all_records_of_a_run_again(ran: Program) -> None:
    """Without reading the source."""
    (ran.folder / "customers.csv").unlink()
    ran.correct_mapping()

    result = ran("replay", "1")

    assert (result.exit_code, result.stderr) == (ExitCode.OK, "")
    assert ran.plans() == {"a@example.com": "free", "b@example.com": "pro"}
    rows = ran.query("SELECT kind, status, records, inserted, updated, rejected FROM etl_runs")
    assert rows[-1] == ("replay", "completed", 2, 1, 1, 0)
    assert ran.query("SELECT resolved_run FROM etl_rejected") == [(2,)]


def test_replay_rejects_records_that_no_longer_fit(ran: Program) -> None:
    """Each record is rejected once, however often a run is replayed."""
    ran.correct_mapping()
    assert ran("replay", "1").exit_code == ExitCode.OK
    (ran.folder / "sources.toml").write_text(SOURCES)

    for _ in range(2):
        assert ran("replay", "1").exit_code == ExitCode.SOME_FAILED

    assert ran.query("SELECT position, resolved_run FROM etl_rejected") == [(1, None)]


def test_a_run_that_is_not_there_cannot_be_replayed(ran: Program) -> None:
    """Nor one whose raw pages were deleted."""
    unknown = ran("replay", "99")
    assert unknown.exit_code == ExitCode.CONFIGURATION
    assert "No such run: 99" in unknown.stderr
    session = open_writer(ran.database)
    session.execute("DELETE FROM etl_raw_data")
    session.close()

    gone = ran("replay", "1")

    assert gone.exit_code == ExitCode.UNAVAILABLE
    assert "Only 0 of 1 pages of run 1 are still stored: see RAW_RETENTION_DAYS" in gone.stderr


def test_reset_forgets_a_source_and_keeps_its_customers(ran: Program) -> None:
    """Only with `--yes`; then everything is read again, and nothing is stored twice."""
    shown = ran("reset", "--source", "crm")
    assert "1 checkpoint, 1 rejected records, 1 raw pages, 1 runs" in shown.stdout
    assert len(ran.query("SELECT * FROM etl_runs")) == 1

    assert ran("reset", "--source", "crm", "--yes").exit_code == ExitCode.OK

    for table in ("etl_runs", "etl_checkpoint", "etl_raw_data", "etl_rejected"):
        assert ran.query(f"SELECT * FROM {table}") == [], table
    assert ran.plans() == {"a@example.com": "pro"}
    assert ran("run").exit_code == ExitCode.SOME_FAILED
    counts = ran.query("SELECT records, inserted, unchanged, rejected FROM etl_runs")
    assert counts == [(2, 0, 1, 1)]
    assert ran("reset", "--source", "erp").exit_code == ExitCode.CONFIGURATION


def test_rejected_creates_nothing(program: Program) -> None:
    """Like `stats`, it needs no more than the right to read."""
    listed = program("rejected")
    assert (listed.exit_code, listed.stdout) == (ExitCode.OK, "No rejected records.\n")
    session = open_writer(program.database)
    assert not has_tables(session)
    session.close()


def test_old_raw_pages_are_deleted_unless_a_record_of_them_is_rejected(ran: Program) -> None:
    """By each run."""
    session = open_writer(ran.database)
    session.execute("UPDATE etl_raw_data SET fetched_at = '2020-01-01 00:00:00.000000'")
    session.close()
    assert ran("run").exit_code == ExitCode.OK
    assert len(ran.query("SELECT * FROM etl_raw_data")) == 1
    ran.correct_mapping()
    assert ran("rejected", "--retry").exit_code == ExitCode.OK

    assert ran("run").exit_code == ExitCode.OK

    assert ran.query("SELECT * FROM etl_raw_data") == []
