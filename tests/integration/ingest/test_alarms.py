"""Each alarm of a run, in the log as a warning and in its row, on each engine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from integration.core.exit_codes import ExitCode
from integration.core.shutdown import Stop
from integration.ingest.run import Workplace, run_source
from integration.ingest.run_rules import RunRequest
from integration.ingest.runs import Run, last_runs
from integration.ingest.source_file import parse_sources
from integration.ingest.tables import prepare_tables
from tests.integration.ingest.test_run import Pages, customer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.database.writing import WriteSession
    from integration.ingest.models import RawPage, RawRecord, Window


MARK: dict[str, object] = {"mark": ["number", 1]}


class Renamed(Pages):
    """Pages whose records have other names for some fields."""

    def __init__(self, names: dict[str, str], *pages: Sequence[int]) -> None:
        super().__init__(*pages)
        self._names = names

    def record(self, number: int) -> RawRecord:
        """With a first name."""
        record = {**customer(number), "first_name": "Ada"}
        return {self._names.get(name, name): value for name, value in record.items()}


class Positioned(Pages):
    """Pages after which a run continues at a mark."""

    def pages(self, position: dict[str, object] | None, window: Window) -> Iterator[RawPage]:
        """With the same mark after each of them."""
        for page in super().pages(position, window):
            yield replace(page, position=MARK)


class Program:
    """One source."""

    def __init__(self, session: WriteSession) -> None:
        table: dict[str, object] = {"entity": "customers", "kind": "csv", "key": "id"}
        table["path"] = "none.csv"
        (self.source,), _ = parse_sources({"crm": table})
        self.session = session
        self.workplace = Workplace(session, prepare_tables(session), Stop())

    def run(self, reader: Pages, request: RunRequest | None = None) -> Run:
        """Run it; returns the row of the run."""
        self.exit_code = run_source(self.workplace, self.source, reader, request or RunRequest())
        return last_runs(self.session, "crm", 1)[0]

    def add_runs(
        self, count: int, records: int, seconds: int = 1, cursor_from: str | None = None
    ) -> None:
        """Earlier runs that have read so many records in so much time."""
        for _ in range(count):
            self.session.execute(
                "INSERT INTO etl_runs (source, kind, status, created_at, started_at, heartbeat_at,"
                " finished_at, records, cursor_from)"
                " VALUES ('crm', 'csv', 'completed', %s, %s, %s, %s, %s, %s)",
                (
                    *["2026-11-01 10:00:00.000000"] * 3,
                    f"2026-11-01 10:00:{seconds:02}",
                    records,
                    cursor_from,
                ),
            )


@pytest.fixture
def program(session: WriteSession) -> Program:
    """Nothing has run yet."""
    return Program(session)


@pytest.mark.parametrize(
    ("records", "text"),
    [
        (0, "no records; the median of the last 7 runs is 30"),
        (15, "only 15 records, half as many as usual or fewer; the median of the last 7 runs is"),
        (60, "60 records, twice as many as usual or more; the median of the last 7 runs is 30"),
    ],
)
def test_an_unusual_number_of_records(
    program: Program, caplog: pytest.LogCaptureFixture, records: int, text: str
) -> None:
    """Compared with the last seven runs; the ones before them do not count."""
    program.add_runs(9, 1000)
    program.add_runs(3, 100_000)
    program.add_runs(4, 30)

    run = program.run(Pages(range(1, records + 1)))

    assert (run.warnings or "").startswith(f"crm: {text}")
    assert run.warnings in [one.getMessage() for one in caplog.records if one.levelno == 30]
    assert (run.status, program.exit_code) == ("completed", ExitCode.OK)


def test_a_tenth_of_the_time(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    """The source may not have sent everything."""
    program.add_runs(7, 30, seconds=59)

    run = program.run(Pages(range(1, 31)))

    assert "a tenth of the usual 59 s or less: check whether the source sent" in str(run.warnings)
    assert run.warnings in [one.getMessage() for one in caplog.records if one.levelno == 30]


@pytest.mark.parametrize("request_", [RunRequest(limit=20), RunRequest(full_refresh=True)])
def test_a_run_with_options_has_no_usual_number(program: Program, request_: RunRequest) -> None:
    """It reads what it was asked for."""
    program.add_runs(7, 1000)
    assert "median" not in str(program.run(Pages(range(1, 21)), request_).warnings)


def test_a_run_is_compared_with_runs_that_began_where_it_began(program: Program) -> None:
    """A full refresh reads everything, and the run that follows it what has changed."""
    program.add_runs(3, 100_000)
    program.add_runs(3, 30, cursor_from="2026-11-01T10:00:00Z")
    program.session.execute(
        "INSERT INTO etl_checkpoint (source, position, version, run_id, updated_at)"
        " VALUES ('crm', %s, 1, 1, '2026-11-01 10:00:00')",
        (orjson.dumps(MARK).decode(),),
    )

    assert program.run(Pages(range(1, 31))).warnings is None

    program.session.execute("DELETE FROM etl_checkpoint")
    assert "half as many as usual" in str(program.run(Pages(range(1, 31))).warnings)


def test_a_full_refresh_starts_at_the_beginning(program: Program) -> None:
    """Which is what its row says, wherever the run before it ended."""
    program.run(Positioned([1]))
    assert program.run(Positioned([2])).cursor_from == "1"
    assert program.run(Positioned([3]), RunRequest(full_refresh=True)).cursor_from is None


def test_an_optional_field_that_was_renamed(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    """With its likely new name, and what to set."""
    program.run(Renamed({}, range(1, 21)))

    run = program.run(Renamed({"first_name": "firstname"}, range(1, 21)))

    text = "crm: first_name is missing, firstname is new: set first_name ="
    assert text in str(run.warnings)
    assert text in caplog.text
    assert (run.status, program.exit_code) == ("completed", ExitCode.OK)


def test_a_required_field_that_was_renamed(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    """The run ends before it stores the page."""
    program.run(Renamed({}, [1]))

    run = program.run(Renamed({"email": "e_mail"}, [2, 3]))

    text = 'crm: email is missing, e_mail is new: set email = "e_mail" in [sources.crm.fields]'
    assert (run.status, run.error_code, run.records) == ("failed", "SchemaError", 0)
    assert (run.error_detail, run.warnings) == (text, text)
    assert caplog.text.count(text) == 1
    assert program.exit_code == ExitCode.CONFIGURATION
