"""Storing rejected records after all, from their raw pages: what became possible since.

Page views that came before their customers are retried at the end of each run of customers.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from integration.core.clock import utc_now
from integration.ingest.counts import Counts
from integration.ingest.customers import Writer, write_customers
from integration.ingest.errors import IngestError, SourceBusy
from integration.ingest.locks import source_lock
from integration.ingest.outcome import Outcome
from integration.ingest.page_views import with_customer, write_page_views
from integration.ingest.raw_pages import read_page
from integration.ingest.rejections import OpenPage, open_pages, resolve, update_codes
from integration.ingest.runs import add_counts, end_run, start_run
from integration.ingest.transactions import repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.database.writing import WriteSession
    from integration.ingest.models import Code, Rejection, ValidRow
    from integration.ingest.outcome import Destination
    from integration.ingest.runs import Status
    from integration.ingest.tables import TargetTables

logger = logging.getLogger(__name__)

RETRY = "retry"


class Decode(Protocol):
    """Decodes and validates a stored page again, as its source is configured now."""

    def __call__(
        self, content: bytes, origin: str
    ) -> tuple[Sequence[ValidRow], Sequence[Rejection]]:
        """The valid records of a page, and the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What storing the records of a source again needs.

    Attributes:
        session: the writable session.
        tables: from `prepare_tables`.
        source: the configuration of the source, as it is now.
        decode: decodes its pages.
        sleep: waits before a page is repeated; takes seconds.
    """

    session: WriteSession
    tables: TargetTables
    source: Destination
    decode: Decode
    sleep: Callable[[float], object] = time.sleep


class Retry:
    """Retries the open rejections of one source, in a run of its own of the kind `retry`.

    The run is recorded with the first page that has something to store; a source without any
    leaves no trace. Its records are those that were retried.
    """

    def __init__(self, stored: Stored) -> None:
        self._session = stored.session
        self._tables = stored.tables
        self._source = stored.source
        self._decode = stored.decode
        self._sleep = stored.sleep
        self._run_id: int | None = None
        self.counts = Counts()

    def run(
        self, code: Code | None = None, *, stopping: Callable[[], bool] = lambda: False
    ) -> Counts:
        """Retry the records rejected with this code, or all; the counts are of those retried.

        Args:
            code: only records rejected with it.
            stopping: whether to stop after the page that is being stored; the others stay open.

        Raises:
            SourceBusy: a run of the source is in progress.
            DatabaseError: the database cannot be used.
        """
        with source_lock(self._session, self._source.name):
            try:
                for page in open_pages(self._session, source=self._source.name, code=code):
                    if stopping():
                        break
                    self._retry_page(page)
            except Exception as error:
                self._end("failed", error)
                raise
            self._end("stopped" if stopping() else "completed")
        return self.counts

    def _retry_page(self, page: OpenPage) -> None:
        try:
            stored = read_page(self._session, page.run_id, page.number)
        except IngestError as error:
            logger.warning("%s. Its rejected records stay open", error)
            return
        rows, rejections = self._decode(stored.content, stored.origin)
        positions = frozenset(page.positions)
        rows = self._possible([row for row in rows if row.index in positions])
        rejections = [one for one in rejections if one.index in positions]
        if rows:
            self._store(page, rows, rejections)

    def _possible(self, rows: Sequence[ValidRow]) -> Sequence[ValidRow]:
        """The rows without those whose customer is still unknown."""
        if self._source.entity == "customers" or not rows:
            return rows
        return with_customer(self._writer(0, split=False), rows)

    def _store(
        self, page: OpenPage, rows: Sequence[ValidRow], rejections: Sequence[Rejection]
    ) -> None:
        if self._run_id is None:
            self._run_id = start_run(self._session, self._source.name, RETRY, utc_now())
        run_id = self._run_id
        outcome = repeat(
            self._session,
            lambda split: self._attempt(run_id, page, rows, rejections, split=split),
            committed=lambda: None,  # the second attempt finds its rows unchanged
            sleep=self._sleep,
        )
        self.counts += outcome.counts

    def _attempt(
        self,
        run_id: int,
        page: OpenPage,
        rows: Sequence[ValidRow],
        rejections: Sequence[Rejection],
        *,
        split: bool,
    ) -> Outcome:
        write = write_customers if self._source.entity == "customers" else write_page_views
        with self._session.transaction():
            outcome = write(self._writer(page.run_id, split=split), rows)
            still = {one.index for one in outcome.rejections}
            stored = [row.index for row in rows if row.index not in still]
            outcome += Outcome(rejections=tuple(rejections))
            resolve(self._session, page, stored, run_id)
            update_codes(self._session, page, outcome.rejections)
            add_counts(self._session, run_id, outcome.counts)
        return outcome

    def _writer(self, read_by: int, *, split: bool) -> Writer:
        return Writer(self._session, self._tables, self._source, read_by, split)

    def _end(self, status: Status, error: Exception | None = None) -> None:
        if self._run_id is not None:
            end_run(self._session, self._run_id, status, error=error)


def retry_unknown_customers(
    session: WriteSession,
    sources: Sequence[Stored],
    *,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Counts]:
    """Store the page views whose customers have arrived; the counts are by source.

    A source with a run in progress is skipped, and so are those that remain when a stop is
    requested: the next run of customers retries them.
    """
    waiting = {page.source for page in open_pages(session, code="unknown_customer")}
    results = {}
    for stored in sources:
        source = stored.source
        if source.name not in waiting or source.entity != "page_views" or stopping():
            continue
        try:
            counts = Retry(stored).run("unknown_customer", stopping=stopping)
        except SourceBusy as error:
            logger.info("%s", error)
            continue
        results[source.name] = counts
    return results
