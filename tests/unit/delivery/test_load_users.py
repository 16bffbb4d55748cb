"""The rows of Query 2 on their way into the journal and the CSV."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import pytest

from integration.database.errors import QueryFailed
from integration.delivery.new_users import RecordError
from integration.delivery.reports import CSV_HEADER, write_csv
from integration.delivery.run_files import RunFiles
from integration.delivery.start_run import load_users
from integration.journal.queries import count_outcomes, recent_runs
from integration.journal.store import Journal
from tests.support.journals import HEADER, assert_whole, emails
from tests.support.users import page_view

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from integration.core.models import NewRun, PageView
    from integration.database.query_file import Query


def as_time(text: str) -> datetime:
    """What a driver returns for a time."""
    return datetime.fromisoformat(text)


class Batches:
    """A database with these batches of rows, that may break off."""

    def __init__(self, *batches: list[PageView], error: Exception | None = None) -> None:
        self._batches = batches
        self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is no connection."""

    def stream_rows(
        self, query: Query, limit: int | None = None
    ) -> tuple[tuple[str, ...], Iterator[Sequence[tuple[Any, ...]]]]:
        """The batches, then the error."""
        return CSV_HEADER, self._rows()

    def _rows(self) -> Iterator[Sequence[tuple[Any, ...]]]:
        for batch in self._batches:
            yield [(*view[:-1], as_time(view.event_time)) for view in batch]
        if self._error:
            raise self._error


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


@pytest.fixture
def header(tmp_path: Path) -> NewRun:
    """A run whose CSV is in a folder of its own."""
    (tmp_path / "output").mkdir()
    return replace(HEADER, csv_file=str(tmp_path / "output" / "list.csv"))


VIEWS = [page_view(number) for number in range(1, 2501)]


def test_the_csv_is_complete_when_the_users_are_stored(
    tmp_path: Path, journal: Journal, header: NewRun
) -> None:
    """It gets its name later; its lines are those that the journal would give."""
    rejected = page_view(1, "nowhere")._replace(id=7, location='=1, "2"\n')
    batches = [VIEWS[:1000], [rejected], VIEWS[1000:]]
    with RunFiles(tmp_path / "output") as files:
        run = load_users(journal, header, files, Batches(*batches))
        assert files.csv
        assert [path.name for path in (tmp_path / "output").iterdir()] == ["list.csv.part"]
        assert files.csv.finish() == 2501

    assert_whole(journal, run)
    assert emails(journal, run) == [view.email for batch in batches for view in batch]
    assert write_csv(tmp_path / "again.csv", journal.rows(run)) == 2501
    written = (tmp_path / "output" / "list.csv").read_bytes()
    assert written == (tmp_path / "again.csv").read_bytes()
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["list.csv"]


def test_no_rows_are_an_empty_csv(tmp_path: Path, journal: Journal, header: NewRun) -> None:
    """With the header, as an export that found no users."""
    with RunFiles(tmp_path / "output") as files:
        run = load_users(journal, header, files, Batches())
        assert files.csv
        assert files.csv.finish() == 0
    assert count_outcomes(journal, run).total_users == 0
    text = (tmp_path / "output" / "list.csv").read_text()
    assert text == ",".join(CSV_HEADER) + "\n"


@pytest.mark.parametrize(
    ("bad", "error"),
    [("\ud800", RecordError), (b"bytes", QueryFailed)],
    ids=["half a character", "bytes"],
)
def test_a_row_that_cannot_be_sent_ends_the_load_with_its_customer(
    tmp_path: Path,
    journal: Journal,
    header: NewRun,
    bad: Any,
    error: type[Exception],
) -> None:
    """One line, not a traceback of the CSV; nothing is half-exported or half-stored."""
    rows = [*VIEWS[:1500], page_view(7)._replace(id="A-7", location=bad)]
    with (
        RunFiles(tmp_path / "output") as files,
        pytest.raises(error, match=r"^Customer '?A-7"),
    ):
        load_users(journal, header, files, Batches(rows[:1000], rows[1000:]))

    (run,) = recent_runs(journal, 10)
    assert (run.is_loaded, count_outcomes(journal, run.number).total_users) == (False, 0)
    assert list((tmp_path / "output").iterdir()) == []


def test_a_connection_that_is_lost_leaves_no_csv(
    tmp_path: Path, journal: Journal, header: NewRun
) -> None:
    """Neither under its name nor as a part."""
    database = Batches(VIEWS, error=ConnectionError("lost"))
    with RunFiles(tmp_path / "output") as files, pytest.raises(ConnectionError):
        load_users(journal, header, files, database)
    assert list((tmp_path / "output").iterdir()) == []
