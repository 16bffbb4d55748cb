"""Deleting the rows that a source no longer has, after a complete read.

A batch is one transaction, which also removes what connects its rows with sources: a kill between
two batches leaves rows that the next full refresh finds.
"""

from __future__ import annotations

import logging
import time
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from integration.database.write_errors import RowRefused, WriteFailed
from integration.ingest.errors import TooManyMissing
from integration.ingest.run_rules import records_text
from integration.ingest.runs import add_deleted, store_missing
from integration.ingest.transactions import repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from integration.database.writing import WriteSession
    from integration.ingest.missing import SeenRecords
    from integration.ingest.sources import Source

logger = logging.getLogger(__name__)

MAX_MISSING_PERCENT = 20
ROWS_AT_ONCE = 1_000
MAX_LOGGED_IDS = 10_000

T = TypeVar("T")


class Deleted(NamedTuple):
    """What became of rows that a source no longer has.

    Attributes:
        rows: deleted rows of the source's entity.
        page_views: deleted with customers.
        kept: rows that another source has, too.
    """

    rows: int = 0
    page_views: int = 0
    kept: int = 0

    def plus(self, other: Deleted) -> Deleted:
        """The sums."""
        return Deleted(*map(sum, zip(self, other, strict=True)))


class MissingRows:
    """What the source of a run no longer has.

    Args:
        session: the writable session; the caller holds the lock of the source.
        source: the configuration of the source.
        run_id: the run, or None for a dry run, which deletes nothing.
        stopping: whether to stop after the batch that is being deleted.
        sleep: waits before a batch is repeated; takes seconds.
    """

    def __init__(
        self,
        session: WriteSession,
        source: Source,
        run_id: int | None,
        *,
        stopping: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._session = session
        self._source = source
        self._run_id = run_id
        self._stopping = stopping
        self._sleep = sleep

    def settle(self, seen: SeenRecords) -> str | None:
        """Count the rows, and delete them if the source says so; returns a warning.

        Raises:
            TooManyMissing: they are too many to delete; nothing was deleted.
            DatabaseError: the database cannot be used.
        """
        missing = self._repeat(lambda: self._count(seen))
        if not missing:
            return None
        text = f"the source no longer has {records_text(missing)} that it had before"
        if not self._source.delete_missing:
            return f"{text}; nothing was deleted"
        if seen.unidentified:
            return (
                f"{text}, but {records_text(seen.unidentified)} with an unreadable key may be among"
                " these; nothing was deleted: correct the rejected records at the source, then run"
                " --full-refresh again"
            )
        _refuse_too_many(self._source, missing, seen.stored_before)
        if self._run_id is None:
            return f"{text}; nothing was deleted in this dry run"
        self._log_deleted(self._delete(self._run_id, seen))
        return None

    def _count(self, seen: SeenRecords) -> int:
        missing = 0
        for ids in seen.missing():
            self._log_ids(ids[: max(0, MAX_LOGGED_IDS - missing)])
            missing += len(ids)
        if self._run_id is not None:
            store_missing(self._session, self._run_id, missing)
        return missing

    def _log_ids(self, ids: Sequence[int]) -> None:
        for some in _batches(ids):
            logger.debug(
                "%s: %s that the source no longer has: %s",
                self._source.name,
                self._source.entity,
                ", ".join(map(str, some)),
            )

    def _delete(self, run_id: int, seen: SeenRecords) -> Deleted:
        deleted = Deleted()
        for ids in seen.missing():
            for some in _batches(ids):
                if self._stopping():
                    return deleted
                deleted = deleted.plus(self._delete_batch(run_id, some))
        return deleted

    def _delete_batch(self, run_id: int, ids: Sequence[int]) -> Deleted:
        try:
            return self._repeat(lambda: delete_rows(self._session, self._source, run_id, ids))
        except RowRefused as error:
            raise WriteFailed(
                f"Another table refers to {self._source.entity} that are to be deleted: declare "
                "its foreign key ON DELETE CASCADE, or delete its rows first"
            ) from error

    def _repeat(self, attempt: Callable[[], T]) -> T:
        return repeat(
            self._session,
            lambda _: attempt(),
            committed=lambda: None,  # the second attempt finds nothing left to delete
            sleep=self._sleep,
        )

    def _log_deleted(self, deleted: Deleted) -> None:
        views = f" and {deleted.page_views:,} page views of theirs" if deleted.page_views else ""
        kept = f"; {deleted.kept:,} are kept, as another source has them" if deleted.kept else ""
        logger.info(
            "%s: deleted %s that the source no longer has%s%s",
            self._source.name,
            f"{deleted.rows:,} {self._source.entity}",
            views,
            kept,
        )


def _refuse_too_many(source: Source, missing: int, stored: int) -> None:
    if missing * 100 > stored * MAX_MISSING_PERCENT:
        raise TooManyMissing(
            f"The source {source.name} no longer has {missing:,} of {stored:,} stored "
            f"{source.entity}, more than {MAX_MISSING_PERCENT} %: nothing was deleted. Check "
            "whether it sent everything; if they are really gone, delete them yourself (their ids "
            "are in the log file)"
        )


def delete_rows(session: WriteSession, source: Source, run_id: int, ids: Sequence[int]) -> Deleted:
    """Delete rows that only this source is connected with, customers with their page views.

    A row that another source has, too, is only disconnected from this one.
    """
    with session.transaction():
        _lock(session, source, ids)
        owners = _owners(session, source, ids)
        alone = [number for number, names in owners.items() if names == {source.name}]
        kept = [number for number, names in owners.items() if names > {source.name}]
        views = _delete_views(session, alone) if source.entity == "customers" else 0
        _unlink(session, source.entity, [*alone, *kept], source.name)
        rows = _delete_in(session, f"{source.entity} WHERE id IN", alone)
        add_deleted(session, run_id, rows)
    return Deleted(rows, views, len(kept))


def _lock(session: WriteSession, source: Source, ids: Sequence[int]) -> None:
    """Lock the rows before their sources are read: a run of another source locks them first, too.

    It either has connected its records with them already, or waits and finds them gone.
    """
    session.query(
        f"SELECT t.id FROM {source.entity} t WHERE t.id IN ({_marks(ids)})"
        + session.dialect.for_update("t"),
        ids,
    )


def _owners(session: WriteSession, source: Source, ids: Sequence[int]) -> dict[int, set[str]]:
    """The sources that rows are connected with."""
    owners: dict[int, set[str]] = {}
    for number, name in session.query(
        "SELECT target_id, source FROM etl_records WHERE entity = %s"
        f" AND target_id IN ({_marks(ids)})",
        (source.entity, *ids),
    ):
        owners.setdefault(number, set()).add(name)
    return owners


def _delete_views(session: WriteSession, customers: Sequence[int]) -> int:
    """Delete all page views of customers, of whatever source; the table may not cascade."""
    if not customers:
        return 0
    rows = session.query(
        f"SELECT id FROM page_views WHERE user_id IN ({_marks(customers)})", customers
    )
    deleted = 0
    for some in _batches([number for (number,) in rows]):
        _unlink(session, "page_views", some)
        deleted += _delete_in(session, "page_views WHERE id IN", some)
    return deleted


def _unlink(
    session: WriteSession, entity: str, ids: Sequence[int], source: str | None = None
) -> None:
    """Disconnect rows from a source, or from all."""
    condition, parameters = ("", ()) if source is None else (" AND source = %s", (source,))
    if ids:
        session.execute(
            f"DELETE FROM etl_records WHERE entity = %s AND target_id IN ({_marks(ids)})"
            + condition,
            (entity, *ids, *parameters),
        )


def _delete_in(session: WriteSession, where: str, ids: Sequence[int]) -> int:
    return session.execute(f"DELETE FROM {where} ({_marks(ids)})", ids) if ids else 0


def _marks(ids: Sequence[int]) -> str:
    return ", ".join(["%s"] * len(ids))


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    remaining = iter(ids)
    while some := tuple(islice(remaining, ROWS_AT_ONCE)):
        yield some
