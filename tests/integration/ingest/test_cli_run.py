"""`python cli.py run` as a real process: HTTP and CSV into each engine."""

from __future__ import annotations

import signal
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from integration.core.exit_codes import ExitCode
from integration.database.writing import WriteSession, open_writer
from sandbox.source import SourceOptions, SourceProcess
from tests.support.cli_runs import (
    CUSTOMERS,
    PAGE_VIEWS,
    environment_of,
    run_cli,
    start_cli,
)
from tests.support.runs import ROOT, finish, has_logged, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from db_connection import DatabaseSettings

VIEWS = "user_id,page,device,browser,location,event_time\n"
VIEW = "{user},home,mobile,Chrome,London,2026-01-01 10:00:00\n"
# As docs/sql.md has them, and monitoring that exists.
DOCUMENTED_STATEMENTS = (
    "SELECT source, COUNT(*) FROM normalized_data GROUP BY source;",
    "SELECT * FROM etl_runs ORDER BY created_at DESC LIMIT 5;",
    "SELECT * FROM etl_checkpoint;",
    "SELECT COUNT(*) FROM normalized_data;",
)
Counts = tuple[int, int, int, int, int]


@pytest.fixture(scope="module")
def source_process() -> Iterator[SourceProcess]:
    """One server for all tests of this module."""
    with SourceProcess() as process:
        yield process


@pytest.fixture
def source(source_process: SourceProcess) -> SourceProcess:
    """A source with 25 customers."""
    source_process.configure(**asdict(SourceOptions(customers=25)))
    source_process.reset()
    return source_process


@pytest.fixture
def folder(tmp_path: Path, source: SourceProcess, session: WriteSession) -> Path:
    """A working directory with both sources; the database is empty."""
    (tmp_path / "sources.toml").write_text(CUSTOMERS.format(url=source.url) + PAGE_VIEWS)
    (tmp_path / "views.csv").write_text(VIEWS + VIEW.format(user=1) + VIEW.format(user=2))
    session.close()
    return tmp_path


def counts_of(settings: DatabaseSettings) -> dict[str, Counts]:
    """Read, inserted, updated, unchanged, rejected of each source's last run."""
    rows = query(
        settings,
        "SELECT source, records, inserted, updated, unchanged, rejected FROM etl_runs"
        " WHERE kind <> 'retry' ORDER BY run_id",
    )
    return {name: tuple(numbers) for name, *numbers in rows}


def query(settings: DatabaseSettings, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query on the target."""
    session = open_writer(settings)
    try:
        return session.query(sql)
    finally:
        session.close()


def test_the_first_run_stores_everything_and_the_second_writes_nothing(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """Then only what has changed is written."""
    environment = environment_of(target_settings)

    first = run_cli(folder, environment, "run")
    assert (first.exit_code, first.stderr) == (ExitCode.OK, "")
    assert counts_of(target_settings) == {"crm": (25, 25, 0, 0, 0), "web": (2, 2, 0, 0, 0)}
    assert query(target_settings, "SELECT COUNT(*), MAX(id) FROM customers") == [(25, 25)]
    stored = query(target_settings, "SELECT * FROM page_views ORDER BY id")
    assert len(stored) == 2

    assert run_cli(folder, environment, "run").exit_code == ExitCode.OK
    again = counts_of(target_settings)
    assert again["web"] == (0, 0, 0, 0, 0)
    assert again["crm"][1:3] == (0, 0)
    assert again["crm"][0] == again["crm"][3] <= 6

    source.touch("customers", 3)
    with (folder / "views.csv").open("a") as file:
        file.write(VIEW.format(user=3))
    assert run_cli(folder, environment, "run").exit_code == ExitCode.OK
    changed = counts_of(target_settings)
    assert changed["web"] == (1, 1, 0, 0, 0)
    assert changed["crm"][2] == 3
    assert query(target_settings, "SELECT status FROM etl_runs WHERE status <> 'completed'") == []


def test_rejected_records_are_counted_and_the_exit_code_says_so(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """With the reasons in a warning; no value of a record is in the log."""
    source.configure(customers=40, bad=0.3)
    with (folder / "views.csv").open("a") as file:
        file.write(VIEW.format(user=1000))

    result = run_cli(folder, environment_of(target_settings), "run")

    assert result.exit_code == ExitCode.SOME_FAILED
    assert "crm: " in result.stderr
    assert "rejected: " in result.stderr
    assert "unknown_customer user_id" in result.stderr
    assert "example.com" not in result.log
    read, *outcomes = counts_of(target_settings)["crm"]
    assert read == 40 == sum(outcomes)
    assert outcomes[3] > 0
    assert query(
        target_settings, "SELECT COUNT(*) FROM etl_rejected WHERE entity = 'customers'"
    ) == [(outcomes[3],)]


def test_the_documented_statements_run_verbatim(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """Records by source and of all, the last runs, the checkpoints."""
    assert "\n".join(DOCUMENTED_STATEMENTS) in (ROOT / "docs" / "sql.md").read_text(
        encoding="utf-8"
    )
    environment = environment_of(target_settings)
    for _ in range(3):
        assert run_cli(folder, environment, "run").exit_code == ExitCode.OK

    by_source, last_runs, checkpoints, count = (
        query(target_settings, statement) for statement in DOCUMENTED_STATEMENTS
    )

    assert sorted(by_source) == [("crm", 25), ("web", 2)]
    assert count == [(27,)]
    assert [row[:4] for row in last_runs] == [
        (6, "web", "csv", "completed"),
        (5, "crm", "http", "completed"),
        (4, "web", "csv", "completed"),
        (3, "crm", "http", "completed"),
        (2, "web", "csv", "completed"),
    ]
    assert sorted(row[0] for row in checkpoints) == ["crm", "web"]


def test_page_views_are_stored_as_soon_as_their_customers_arrive(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """In the same run that brings the customers."""
    environment = environment_of(target_settings)
    assert run_cli(folder, environment, "run", "--source", "web").exit_code == ExitCode.SOME_FAILED
    assert query(target_settings, "SELECT COUNT(*) FROM page_views") == [(0,)]

    assert run_cli(folder, environment, "run", "--source", "crm").exit_code == ExitCode.OK

    assert query(target_settings, "SELECT COUNT(*) FROM page_views") == [(2,)]
    open_ones = "SELECT COUNT(*) FROM etl_rejected WHERE resolved_run IS NULL"
    assert query(target_settings, open_ones) == [(0,)]


def test_a_dry_run_stores_nothing(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """Neither records nor runs nor a checkpoint."""
    result = run_cli(folder, environment_of(target_settings), "run", "--dry-run", "--source", "crm")

    assert result.exit_code == ExitCode.OK
    assert "25 records: 25 inserted" in result.stdout
    for table in ("customers", "etl_runs", "etl_checkpoint", "etl_raw_data", "etl_records"):
        assert query(target_settings, f"SELECT COUNT(*) FROM {table}") == [(0,)], table


def test_a_second_run_of_a_source_exits_with_75(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """And the first one completes; other sources can be read meanwhile."""
    environment = environment_of(target_settings)
    source.configure(latency=1.0)
    first = start_cli(folder, environment, "run", "--source", "crm")
    wait_until(first, lambda: has_logged(folder, "crm: reading from"))

    second = run_cli(folder, environment, "run", "--source", "crm")

    assert second.exit_code == ExitCode.LOCKED
    assert "Another run is reading the source crm" in second.stderr
    assert finish(folder, first).exit_code == ExitCode.OK
    assert counts_of(target_settings)["crm"] == (25, 25, 0, 0, 0)


def test_a_full_refresh_reads_everything_and_counts_what_is_missing(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """It deletes nothing; an ordinary run cannot know."""
    environment = environment_of(target_settings)
    assert run_cli(folder, environment, "run", "--source", "crm").exit_code == ExitCode.OK
    source.configure(customers=22)

    ordinary = run_cli(folder, environment, "run", "--source", "crm")
    complete = run_cli(folder, environment, "run", "--source", "crm", "--full-refresh")

    assert "no longer has" not in ordinary.stderr
    assert complete.exit_code == ExitCode.OK
    assert "crm: the source no longer has 3 records that it had before" in complete.stderr
    assert counts_of(target_settings)["crm"][0] == 22
    assert query(target_settings, "SELECT COUNT(*) FROM customers") == [(25,)]
    missing = query(target_settings, "SELECT missing, deleted FROM etl_runs ORDER BY run_id")
    assert missing == [(None, 0), (None, 0), (3, 0)]


def test_delete_missing_deletes_what_a_full_refresh_did_not_find(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """And `stats` shows it; a source that has lost more is an error."""
    environment = environment_of(target_settings)
    file = folder / "sources.toml"
    file.write_text(file.read_text().replace("owns_ids", "delete_missing = true\nowns_ids"))
    assert run_cli(folder, environment, "run", "--source", "crm").exit_code == ExitCode.OK
    source.configure(customers=20)

    complete = run_cli(folder, environment, "run", "--source", "crm", "--full-refresh")

    assert complete.exit_code == ExitCode.OK
    assert "crm: deleted 5 customers that the source no longer has" in complete.stdout
    assert query(target_settings, "SELECT COUNT(*) FROM customers") == [(20,)]
    assert "0 rejected; 5 missing, 5 deleted" in run_cli(folder, environment, "stats").stdout
    source.configure(customers=15)
    refused = run_cli(folder, environment, "run", "--source", "crm", "--full-refresh")
    assert refused.exit_code == ExitCode.UNAVAILABLE
    assert "no longer has 5 of 20 stored customers, more than 20 %" in refused.stderr
    assert query(target_settings, "SELECT COUNT(*) FROM customers") == [(20,)]


def test_runs_with_a_limit_continue_where_the_last_one_ended(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """Within a page, too; a run without a limit reads the rest."""
    arguments = ("run", "--source", "crm", "web")
    environment = environment_of(target_settings)

    codes = [run_cli(folder, environment, *arguments, "--limit", "1").exit_code for _ in range(2)]
    codes.append(run_cli(folder, environment, *arguments).exit_code)

    assert codes == [ExitCode.OK] * 3
    counted = query(
        target_settings, "SELECT source, status, records, inserted FROM etl_runs ORDER BY run_id"
    )
    limited = [("crm", "stopped", 1, 1), ("web", "stopped", 1, 1)]
    assert counted == [*limited, *limited, ("crm", "completed", 23, 23), ("web", "completed", 0, 0)]
    assert query(target_settings, "SELECT COUNT(*) FROM customers") == [(25,)]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_run_is_continued_at_its_page(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess, ending: signal.Signals
) -> None:
    """Nothing is lost and nothing is stored twice."""
    environment = environment_of(target_settings)
    # Answers the first page, then takes long for the second.
    source.faults({"kind": "slow", "delay_seconds": 4, "skip": 1})
    first = start_cli(folder, environment, "run", "--source", "crm", "--verbose")
    wait_until(first, lambda: has_page(target_settings))
    first.send_signal(ending)
    code = finish(folder, first).exit_code
    assert code == (ExitCode.SIGTERM if ending == signal.SIGTERM else -ending)

    assert run_cli(folder, environment, "run", "--source", "crm").exit_code == ExitCode.OK

    status = "stopped" if ending == signal.SIGTERM else "crashed"
    runs = query(target_settings, "SELECT status, records, inserted FROM etl_runs ORDER BY run_id")
    assert [row[0] for row in runs] == [status, "completed"]
    assert sum(row[1] for row in runs) == sum(row[2] for row in runs) == 25
    assert query(target_settings, "SELECT COUNT(*) FROM customers") == [(25,)]


def has_page(settings: DatabaseSettings) -> bool:
    """Whether a page has been committed."""
    try:
        return query(settings, "SELECT COUNT(*) FROM etl_raw_data") != [(0,)]
    except Exception:  # noqa: BLE001  the table does not exist yet, or is being created
        return False


def test_refused_credentials_exit_with_77(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """The other sources are read all the same, and no secret is in the log."""
    source.configure(token="the-right-token")
    auth = 'auth = { prefix = "Bearer ", variable = "CRM_TOKEN" }\n'
    file = folder / "sources.toml"
    file.write_text(file.read_text().replace('key = "id"', f'{auth}key = "id"'))
    environment = environment_of(target_settings) | {"CRM_TOKEN": "a-wrong-token"}

    result = run_cli(folder, environment, "run")

    assert result.exit_code == ExitCode.KEY_REFUSED
    assert "CRM_TOKEN" in result.stderr
    assert "a-wrong-token" not in result.log + result.stdout + result.stderr
    runs = query(target_settings, "SELECT source, status, error_code FROM etl_runs ORDER BY run_id")
    assert runs == [("crm", "failed", "SourceRefused"), ("web", "completed", None)]


def test_a_missing_required_field_exits_with_78(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """With the likely rename; nothing is stored."""
    (folder / "views.csv").write_text(VIEWS.replace("user_id", "customer_id") + VIEW.format(user=1))

    result = run_cli(folder, environment_of(target_settings), "run", "--source", "web")

    assert result.exit_code == ExitCode.CONFIGURATION
    assert "user_id is missing, customer_id is new" in result.stderr
    assert query(target_settings, "SELECT COUNT(*) FROM etl_raw_data") == [(0,)]


def test_a_new_field_is_reported_once(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """In the run that sees it first, and not in later ones."""
    environment = environment_of(target_settings)
    file = folder / "views.csv"
    assert run_cli(folder, environment, "run").exit_code == ExitCode.OK
    header = VIEWS.strip() + ",referrer\n"
    file.write_text(header + VIEW.strip().format(user=3) + ",x\n")

    second = run_cli(folder, environment, "run", "--source", "web")
    file.write_text(header + VIEW.strip().format(user=4) + ",x\n")
    third = run_cli(folder, environment, "run", "--source", "web")

    assert "web: new fields, which are not stored: referrer" in second.stderr
    assert (third.exit_code, third.stderr) == (ExitCode.OK, "")


def test_every_repeats_until_stopped(
    target_settings: DatabaseSettings, folder: Path, source: SourceProcess
) -> None:
    """And ends with the signal's exit code."""
    process = start_cli(folder, environment_of(target_settings), "run", "--every", "0.1")
    wait_until(process, lambda: (folder / "run.log").exists() and "web: " in log_of(folder, 3))
    process.send_signal(signal.SIGINT)

    assert finish(folder, process).exit_code == ExitCode.SIGINT


def log_of(folder: Path, times: int) -> str:
    """The log, once it has this many completed runs of the page views."""
    text = (folder / "run.log").read_text()
    return text if text.count("web: completed") >= times else ""


@pytest.mark.parametrize("target_settings", ["sqlite"], indirect=True)
def test_mistakes_in_the_configuration_exit_with_78(
    target_settings: DatabaseSettings, folder: Path
) -> None:
    """In one line each."""
    environment = environment_of(target_settings)
    unknown = run_cli(folder, environment, "run", "--source", "erp")
    assert unknown.exit_code == ExitCode.CONFIGURATION
    assert "No such source: erp; there is crm, web" in unknown.stderr

    (folder / "sources.toml").unlink()
    none = run_cli(folder, environment, "run")
    assert none.exit_code == ExitCode.CONFIGURATION
    assert "No sources: create sources.toml" in none.stderr
    assert run_cli(folder, environment).exit_code == ExitCode.USAGE
