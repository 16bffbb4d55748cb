"""Storing a run again from its raw pages, without fetching: after a mapping was corrected.

The replay is a run of its own, of the kind `replay`. Rejections stay with the page that has the
record: those that can be stored now are resolved, and new ones are added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from integration.core.clock import utc_now
from integration.ingest.counts import Counts
from integration.ingest.customers import Writer, write_customers
from integration.ingest.errors import IngestError
from integration.ingest.locks import source_lock
from integration.ingest.outcome import Outcome
from integration.ingest.page_views import write_page_views
from integration.ingest.raw_pages import pages_of
from integration.ingest.rejections import (
    OpenPage,
    reopen,
    resolve,
    states_of,
    store_rejections,
    update_codes,
)
from integration.ingest.runs import add_counts, end_run, start_run
from integration.ingest.transactions import repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.ingest.models import Rejection, ValidRow
    from integration.ingest.raw_pages import StoredPage
    from integration.ingest.retry import Stored
    from integration.ingest.runs import Run

REPLAY = "replay"


class _Page(NamedTuple):
    """A stored page, decoded again."""

    stored: StoredPage
    rows: Sequence[ValidRow]
    rejections: Sequence[Rejection]


class Replay:
    """Replays runs of one source."""

    def __init__(self, stored: Stored) -> None:
        self._session = stored.session
        self._tables = stored.tables
        self._source = stored.source
        self._decode = stored.decode
        self._sleep = stored.sleep
        self._run_id = 0
        self.counts = Counts()

    def run(self, run: Run, stopping: Callable[[], bool] = lambda: False) -> Counts:
        """Store all pages of a run again; the outcome of its records.

        Raises:
            SourceBusy: a run of the source is in progress.
            IngestError: a page is no longer stored, or cannot be decoded.
            DatabaseError: the database cannot be used.
        """
        with source_lock(self._session, self._source.name):
            self._run_id = start_run(self._session, self._source.name, REPLAY, utc_now())
            try:
                _check_complete(run, self._replay_pages(run, stopping), stopping=stopping())
            except Exception as error:
                end_run(self._session, self._run_id, "failed", error=error)
                raise
            end_run(self._session, self._run_id, "stopped" if stopping() else "completed")
        return self.counts

    def _replay_pages(self, run: Run, stopping: Callable[[], bool]) -> int:
        pages = 0
        for stored in pages_of(self._session, run.run_id):
            page = _Page(stored, *self._decode(stored.content, stored.origin))
            self.counts += repeat(
                self._session,
                lambda split, page=page: self._attempt(page, split=split),  # type: ignore[misc]
                committed=lambda: None,  # the second attempt finds its rows unchanged
                sleep=self._sleep,
            ).counts
            pages += 1
            if stopping():
                break
        return pages

    def _attempt(self, page: _Page, *, split: bool) -> Outcome:
        write = write_customers if self._source.entity == "customers" else write_page_views
        with self._session.transaction():
            read_by = page.stored.run_id
            writer = Writer(self._session, self._tables, self._source, read_by, split)
            outcome = write(writer, page.rows) + Outcome(rejections=tuple(page.rejections))
            self._update_rejections(page.stored, outcome.rejections)
            add_counts(self._session, self._run_id, outcome.counts)
        return outcome

    def _update_rejections(self, stored: StoredPage, rejections: Sequence[Rejection]) -> None:
        is_open = states_of(self._session, stored.run_id, stored.number)
        rejected = {one.index for one in rejections}
        page = OpenPage(self._source.name, stored.run_id, stored.number, tuple(is_open))
        resolved = [place for place, still in is_open.items() if still and place not in rejected]
        again = [place for place, still in is_open.items() if not still and place in rejected]
        resolve(self._session, page, resolved, self._run_id)
        reopen(self._session, page, again)
        update_codes(self._session, page, [one for one in rejections if one.index in is_open])
        new = [one for one in rejections if one.index not in is_open]
        store_rejections(self._session, stored.run_id, stored.number, self._source.entity, new)


def _check_complete(run: Run, pages: int, *, stopping: bool) -> None:
    if pages < run.pages and not stopping:
        replayed = ", which were replayed" if pages else ""
        raise IngestError(
            f"Only {pages} of {run.pages} pages of run {run.run_id} are still stored{replayed}: "
            "see RAW_RETENTION_DAYS"
        )
