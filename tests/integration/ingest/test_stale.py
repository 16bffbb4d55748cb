"""Sources without a successful run for longer than expected, on each engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.core.shutdown import Stop
from integration.core.verdict import Verdict
from integration.database.writing import open_writer
from integration.ingest.errors import SourceError
from integration.ingest.locks import source_lock
from integration.ingest.run import Workplace
from integration.ingest.run_all import Ingest
from integration.ingest.run_rules import RunRequest
from integration.ingest.runs import last_runs
from integration.ingest.source_file import parse_sources
from integration.ingest.statistics import as_json, as_lines, statistics_of
from integration.ingest.tables import prepare_tables
from tests.integration.ingest.test_run import Pages

if TYPE_CHECKING:
    from db_connection import DatabaseSettings
    from integration.database.writing import WriteSession
    from integration.ingest.sources import Source

NEVER = "stale: no run has been successful yet"
OLD = "stale: the last successful run ended at 2026-01-01 00:00 UTC, more than 36 hours ago"
REGULAR = RunRequest()
VERDICT = Verdict("healthy", "All is well.")


class Program:
    """Two sources, crm and erp, whose pages are given."""

    def __init__(self, session: WriteSession) -> None:
        self.session = session
        self.readers = {"crm": Pages([1]), "erp": Pages([])}
        table: dict[str, object] = {"entity": "customers", "kind": "csv", "path": "x.csv"}
        table["expected_every_hours"] = 36
        sources, mistakes = parse_sources({name: {**table, "key": "id"} for name in self.readers})
        assert not mistakes
        self.sources = {source.name: source for source in sources}
        self.tables = prepare_tables(session)

    def run(self, *names: str, request: RunRequest = REGULAR) -> ExitCode:
        """Run some of the sources."""
        workplace = Workplace(self.session, self.tables, Stop())
        ingest = Ingest(workplace, self._open, list(self.sources.values()))
        return ingest.run([self.sources[name] for name in names], request)

    def _open(self, source: Source) -> Pages:
        return self.readers[source.name]

    def age(self, name: str) -> None:
        """Let all runs of a source be old."""
        self.session.execute(
            "UPDATE etl_runs SET finished_at = '2026-01-01 00:00:00.000000' WHERE source = %s",
            (name,),
        )


@pytest.fixture
def program(session: WriteSession) -> Program:
    """Nothing has run yet."""
    return Program(session)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings since the last call."""
    texts = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    caplog.clear()
    return texts


def test_a_run_warns_of_stale_sources_that_it_does_not_read(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    """Also of those that were never read; not of those that were read in time."""
    program.run("crm")
    assert warnings(caplog) == [f"erp: {NEVER}"]

    program.run("erp")
    assert warnings(caplog) == []

    program.age("crm")
    program.run("erp")
    assert warnings(caplog) == [f"crm: {OLD}"]
    program.run("erp", request=RunRequest(dry_run=True))
    assert warnings(caplog) == []

    program.run("crm", "erp")
    assert warnings(caplog) == []


def test_a_run_that_fails_warns_once_and_keeps_the_warning(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the first success as well as after the last one."""
    program.readers["crm"] = Pages([1], error=SourceError("gone"))
    program.run("crm", "erp")
    assert warnings(caplog) == [f"crm: {NEVER}"]
    assert last_runs(program.session, "crm", 1)[0].warnings == f"crm: {NEVER}"

    program.session.execute("UPDATE etl_runs SET status = 'completed' WHERE source = 'crm'")
    program.age("crm")
    program.run("crm", "erp")
    assert warnings(caplog) == [f"crm: {OLD}"]
    assert last_runs(program.session, "crm", 1)[0].warnings == f"crm: {OLD}"


def test_a_source_whose_run_never_ends_becomes_stale(
    program: Program, target_settings: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Other runs find it locked."""
    other = open_writer(target_settings)
    with source_lock(other, "crm"):
        assert program.run("crm", "erp") == ExitCode.LOCKED
    other.close()
    assert warnings(caplog) == [f"crm: {NEVER}"]


def test_stats_shows_that_a_source_is_stale(program: Program) -> None:
    """In text and JSON, until it is read."""
    sources = list(program.sources.values())
    program.run("erp")
    program.age("erp")

    shown = statistics_of(program.session, sources)
    assert [one.stale for one in shown] == [NEVER, OLD]
    assert {f"  {NEVER}", f"  {OLD}"} <= set(as_lines(VERDICT, shown))
    assert [one["stale"] for one in json.loads(as_json(VERDICT, shown))["sources"]] == [NEVER, OLD]

    program.run("crm", "erp")
    assert [one.stale for one in statistics_of(program.session, sources)] == [None, None]
