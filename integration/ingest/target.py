"""One page, one transaction.

Raw page, rows, rejections, the run's counts and the checkpoint are committed together or not at
all, so a kill at any moment loses nothing and repeats nothing. A deadlock or a lost connection
repeats the page.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from integration.ingest.checkpoints import Checkpoint, move_checkpoint, read_checkpoint
from integration.ingest.counts import Counts
from integration.ingest.customers import Writer, write_customers
from integration.ingest.errors import TooManyRejected
from integration.ingest.models import Rejection
from integration.ingest.outcome import Outcome
from integration.ingest.page_views import write_page_views
from integration.ingest.raw_pages import pack, store_page
from integration.ingest.rejections import (
    MAX_KEY_CHARACTERS,
    OpenPage,
    has_open_keys,
    key_of,
    resolve,
    store_rejections,
    supersede,
)
from integration.ingest.row_schema import requirements
from integration.ingest.run_rules import reasons_text
from integration.ingest.runs import add_counts
from integration.ingest.transactions import repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.database.writing import WriteSession
    from integration.ingest.models import RawPage, ValidRow
    from integration.ingest.outcome import Destination
    from integration.ingest.raw_pages import PackedPage
    from integration.ingest.tables import TargetTables

# Of fewer records, a single one may be a large share.
MIN_RECORDS_TO_JUDGE = 20


class Undo(Exception):  # noqa: N818  # not an error
    """Rolls a dry run's transaction back."""


class Target:
    """Where the pages of one run go.

    Args:
        session: the writable session; the caller holds the lock of the source.
        tables: from `prepare_tables`.
        source: the configuration of the source.
        run_id: the run.
        checkpoint: of the source when the run started.
        dry_run: roll each page back after it was counted.
        sleep: waits before a page is repeated; takes seconds.
    """

    def __init__(
        self,
        session: WriteSession,
        tables: TargetTables,
        source: Destination,
        run_id: int,
        checkpoint: Checkpoint,
        *,
        dry_run: bool = False,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._session = session
        self._tables = tables
        self._source = source
        self._run_id = run_id
        self._version = checkpoint.version
        self._dry_run = dry_run
        self._sleep = sleep
        self._outcome = Outcome()
        self._may_have_open: bool | None = None
        self.counts = Counts()

    def write_page(
        self,
        page: RawPage,
        rows: Sequence[ValidRow],
        rejections: Sequence[Rejection],
        packed: PackedPage | None = None,
    ) -> Outcome:
        """Store a page and move the checkpoint to its position.

        Args:
            page: as it was received.
            rows: its valid records, in the page's order.
            rejections: its other records; of several for one record, the first counts.
            packed: its content, if the caller has compressed it already.

        Returns:
            The outcome of all its records; the rejections are complete.

        Raises:
            SourceBusy: another run has moved the checkpoint.
            TooManyRejected: more than the source allows; the page was not stored.
            DatabaseUnavailable: no connection, or the page was repeated three times in vain.
            WriteFailed: the database cannot store the page.
        """
        compressed = packed or pack(page.content)
        rows, rejections = _checked(rows, rejections)
        outcome = repeat(
            self._session,
            lambda split: self._attempt(page, compressed, rows, rejections, split=split),
            committed=self._committed,
            sleep=self._sleep,
        )
        if not self._dry_run:
            self._version += 1
        self.counts += outcome.counts
        return outcome

    def _attempt(
        self,
        page: RawPage,
        packed: PackedPage,
        rows: Sequence[ValidRow],
        rejections: Sequence[Rejection],
        *,
        split: bool,
    ) -> Outcome:
        with suppress(Undo), self._session.transaction():
            self._outcome = self._write(page, packed, rows, rejections, split=split)
            self._undo_dry_run()
        return self._outcome

    def _undo_dry_run(self) -> None:
        if self._dry_run:
            raise Undo

    def _write(
        self,
        page: RawPage,
        packed: PackedPage,
        rows: Sequence[ValidRow],
        rejections: Sequence[Rejection],
        *,
        split: bool,
    ) -> Outcome:
        session, run_id = self._session, self._run_id
        store_page(session, run_id, page, packed)
        mostly_unchanged = self.counts.unchanged * 2 > self.counts.records
        writer = Writer(session, self._tables, self._source, run_id, split, mostly_unchanged)
        write = write_customers if self._source.entity == "customers" else write_page_views
        outcome = write(writer, rows) + Outcome(rejections=tuple(rejections))
        refuse_too_many(self._source, outcome, self.counts)
        self._store_rejections(page.number, rows, outcome.rejections)
        add_counts(
            session,
            run_id,
            outcome.counts,
            retries=page.retries,
            seconds_waited=page.seconds_waited,
        )
        move_checkpoint(session, self._source.name, self._version, page.position, run_id)
        return outcome

    def _store_rejections(
        self, page: int, rows: Sequence[ValidRow], rejections: Sequence[Rejection]
    ) -> None:
        """Store them; those of older records with the same keys are settled."""
        session, name, entity = self._session, self._source.name, self._source.entity
        keys = {row.source_key for row in rows if row.source_key}
        keys |= {key for one in rejections if (key := key_of(one))}
        if keys and self._has_open_keys():
            supersede(session, name, entity, keys, self._run_id)
        store_rejections(session, self._run_id, page, entity, rejections)
        if any(one.source_key for one in rejections):
            self._may_have_open = True
        if old := _superseded(rows, rejections):
            resolve(session, OpenPage(name, self._run_id, page, ()), old, self._run_id)

    def _has_open_keys(self) -> bool:
        if self._may_have_open is None:
            self._may_have_open = has_open_keys(
                self._session, self._source.name, self._source.entity
            )
        return self._may_have_open

    def _committed(self) -> Outcome | None:
        """The page's outcome, if the connection was lost after its COMMIT."""
        found = read_checkpoint(self._session, self._source.name)
        if found.version == self._version + 1 and found.run_id == self._run_id:
            return self._outcome
        return None


def refuse_too_many(source: Destination, outcome: Outcome, earlier: Counts) -> None:
    """Check a page against `max_rejected_percent`; a small one together with the run so far.

    Otherwise one bad record among the few that have changed would stop a source for good. If the
    operator has set the percentage, it holds for every page.

    Raises:
        TooManyRejected: it has more.
    """
    allowed, page = source.max_rejected_percent, outcome.counts
    is_enough = source.limits_every_page or page.records >= MIN_RECORDS_TO_JUDGE
    judged = page if is_enough else earlier + page
    if not is_enough and judged.records < MIN_RECORDS_TO_JUDGE:
        return
    if page.rejected and judged.rejected * 100 > judged.records * allowed:
        reasons = Counter((one.code, one.field) for one in outcome.rejections)
        frequent = reasons.most_common()
        expected = "".join(f"{text}; " for text in requirements(reason for reason, _ in frequent))
        raise TooManyRejected(
            f"{page.rejected} of {page.records} records of a page of the source {source.name} "
            f"were rejected ({reasons_text(frequent)}), more than {allowed:g} %: "
            f"nothing of the page was stored; {expected}compare the source's fields with its "
            "records, or raise max_rejected_percent"
        )


def _superseded(rows: Sequence[ValidRow], rejections: Sequence[Rejection]) -> list[int]:
    """The rejections that have a valid record with the same key after them in the page."""
    keys = {one.index: key for one in rejections if (key := key_of(one))}
    if not keys:
        return []
    rejected = {one.index for one in rejections}
    last = {row.source_key: row.index for row in rows if row.index not in rejected}
    return [index for index, key in keys.items() if last.get(key, -1) > index]


def _checked(
    rows: Sequence[ValidRow], rejections: Sequence[Rejection]
) -> tuple[list[ValidRow], list[Rejection]]:
    """Each record once, and no key that is longer than its column."""
    by_index: dict[int, Rejection] = {}
    for one in rejections:
        by_index.setdefault(one.index, one)
    short = [row for row in rows if len(row.source_key or "") <= MAX_KEY_CHARACTERS]
    if len(short) < len(rows):
        detail = f"at most {MAX_KEY_CHARACTERS} characters"
        for index, key, _ in rows:
            if len(key or "") > MAX_KEY_CHARACTERS:
                by_index[index] = Rejection(index, key, "too_long", "key", detail)
    return short, list(by_index.values())
