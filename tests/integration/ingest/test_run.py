"""The run of one source whose pages are given, on each engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.core.shutdown import INTERRUPTIONS, Stop
from integration.database.errors import DatabaseUnavailable
from integration.ingest.errors import SourceError
from integration.ingest.models import RawPage
from integration.ingest.run import Workplace, run_source
from integration.ingest.run_rules import RunRequest
from integration.ingest.runs import Run, last_runs
from integration.ingest.source_file import parse_sources
from integration.ingest.tables import prepare_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.database.writing import WriteSession
    from integration.ingest.models import RawRecord, Window
    from integration.ingest.sources import Source


class Pages:
    """A reader with a page for each of these lists of ids."""

    def __init__(self, *pages: Sequence[int], error: SourceError | None = None) -> None:
        self._pages = pages
        self._error = error
        self.position: dict[str, object] | None = None

    def pages(self, position: dict[str, object] | None, window: Window) -> Iterator[RawPage]:
        """Yield them, whatever the window is."""
        self.position = position
        for number, ids in enumerate(self._pages, start=1):
            yield RawPage(
                number=number,
                content=b"[]",
                origin=f"file:{number}",
                records=[self.record(one) for one in ids],
                position={"page": number},
                is_last=number == len(self._pages),
                error=self._error if number == len(self._pages) else None,
            )

    def record(self, number: int) -> RawRecord:
        """The record with this id."""
        return customer(number)

    def records_of(self, content: bytes, origin: str) -> Sequence[RawRecord]:
        """Unused: nothing is replayed."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


class StoppingPages(Pages):
    """Requests a stop with the first page."""

    def __init__(self, stop: Stop, *pages: Sequence[int]) -> None:
        super().__init__(*pages)
        self._stop = stop

    def pages(self, position: dict[str, object] | None, window: Window) -> Iterator[RawPage]:
        """As a signal does while the page is read."""
        for page in super().pages(position, window):
            self._stop.request(next(iter(INTERRUPTIONS.values())))
            yield page


def customer(number: int) -> dict[str, object]:
    """A record; a negative number is one that is rejected."""
    plan = "pro" if number > 0 else "gold"
    return {"id": number, "email": f"a{number}@example.com", "plan_type": plan}


@pytest.fixture
def source() -> Source:
    """Its pages come from `Pages`."""
    table = {"entity": "customers", "kind": "csv", "path": "none.csv", "key": "id"}
    (source,), mistakes = parse_sources({"crm": {**table, "max_rejected_percent": 50}})
    assert not mistakes
    return source


@pytest.fixture
def workplace(session: WriteSession) -> Workplace:
    """The target's tables are empty."""
    return Workplace(session, prepare_tables(session), Stop())


def the_run(workplace: Workplace) -> Run:
    """The last run of the source."""
    return last_runs(workplace.session, "crm", 1)[0]


def test_a_stop_ends_the_run_after_its_page(workplace: Workplace, source: Source) -> None:
    """The next run continues there."""
    code = run_source(workplace, source, StoppingPages(workplace.stop, [1, 2], [3]), RunRequest())

    assert code == ExitCode.OK
    assert (the_run(workplace).status, the_run(workplace).records) == ("stopped", 2)
    again = Pages([3])
    run_source(Workplace(workplace.session, workplace.tables, Stop()), source, again, RunRequest())
    assert again.position is not None
    assert again.position["page"] == 1


def test_what_was_complete_counts_when_the_rest_cannot_be_read(
    workplace: Workplace, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    """The run has failed all the same."""
    error = SourceError("file.csv changed while it was read: run again")

    code = run_source(workplace, source, Pages([1, 2], [3], error=error), RunRequest())

    assert code == ExitCode.UNAVAILABLE
    run = the_run(workplace)
    assert (run.status, run.records, run.inserted) == ("failed", 3, 3)
    assert (run.error_code, run.error_detail) == ("SourceError", str(error))
    assert f"crm: {error}" in caplog.text


class BreakingPages(Pages):
    """Cannot be read after its pages."""

    def pages(self, position: dict[str, object] | None, window: Window) -> Iterator[RawPage]:
        """Yield them, then fail."""
        yield from super().pages(position, window)
        raise SourceError("the source is gone")


def test_pages_are_stored_before_the_error_of_a_later_one(
    workplace: Workplace, source: Source
) -> None:
    """The next page is read and validated while a page is stored; its error waits."""
    code = run_source(workplace, source, BreakingPages([1, -2], [3]), RunRequest())

    assert code == ExitCode.UNAVAILABLE
    run = the_run(workplace)
    assert (run.status, run.pages, run.inserted, run.rejected) == ("failed", 2, 2, 1)
    assert run.error_detail == "the source is gone"


def test_too_many_rejected_records_stop_the_run_before_their_page(
    workplace: Workplace, source: Source
) -> None:
    """The pages before it stay."""
    too_many = list(range(-30, -10))

    code = run_source(workplace, source, Pages([1, -2], [*too_many, 3], [4]), RunRequest())

    assert code == ExitCode.UNAVAILABLE
    run = the_run(workplace)
    assert (run.status, run.records, run.rejected) == ("failed", 2, 1)
    assert run.error_code == "TooManyRejected"


def test_an_unusual_run_has_a_warning(
    workplace: Workplace, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log and in its row."""
    for _ in range(3):
        run_source(workplace, source, Pages(range(1, 31)), RunRequest())
    assert the_run(workplace).warnings is None

    run_source(workplace, source, Pages(), RunRequest())

    text = "crm: no records; the median of the last 3 runs is 30"
    assert the_run(workplace).warnings == text
    assert text in caplog.text


def test_a_stale_source_is_reported_when_its_run_fails(
    workplace: Workplace, source: Source
) -> None:
    """With the end of its last successful run."""
    run_source(workplace, source, Pages([1]), RunRequest())
    workplace.session.execute("UPDATE etl_runs SET finished_at = '2026-01-01 00:00:00.000000'")

    run_source(workplace, source, Pages([2], error=SourceError("gone")), RunRequest())

    assert the_run(workplace).warnings == (
        "crm: stale: the last successful run ended at 2026-01-01 00:00 UTC, more than 24 hours ago"
    )


def test_a_failure_of_the_database_is_recorded(
    workplace: Workplace, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the database still takes it; other sources are not read."""

    def refuse(*_: object) -> None:
        raise DatabaseUnavailable("No connection: check DB_HOST")

    monkeypatch.setattr("integration.ingest.target.store_page", refuse)
    with pytest.raises(DatabaseUnavailable):
        run_source(workplace, source, Pages([1]), RunRequest())

    run = the_run(workplace)
    assert (run.status, run.error_code, run.records) == ("failed", "DatabaseUnavailable", 0)
