"""The run of one source: page by page from its checkpoint to its end."""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from integration.core.clock import utc_now
from integration.core.exit_codes import ExitCode
from integration.core.log_context import naming_run
from integration.core.shutdown import wait_in_main_thread
from integration.database.errors import DatabaseError, DatabaseUnavailable
from integration.ingest.alarms import COMPARED_RUNS, Extent, stale, unusual
from integration.ingest.checkpoints import read_checkpoint
from integration.ingest.deletions import MissingRows
from integration.ingest.errors import IngestError, SchemaError
from integration.ingest.locks import source_lock
from integration.ingest.mapping import compare_fields
from integration.ingest.missing import SeenRecords
from integration.ingest.prefetch import prefetched
from integration.ingest.prepared_pages import has_room, prepared
from integration.ingest.run_rules import (
    counts_text,
    cursor_text,
    final_status,
    known_fields,
    reads_over_network,
    reasons_text,
    records_text,
    with_fields,
)
from integration.ingest.runs import beat, comparable_runs, end_run, latest_with, start_run
from integration.ingest.target import Target
from integration.ingest.transactions import repeat
from integration.ingest.validation import PageValidation

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from integration.core.shutdown import Stop
    from integration.database.writing import WriteSession
    from integration.ingest.models import Reader, Rejection, ValidRow
    from integration.ingest.prepared_pages import PreparedPage
    from integration.ingest.run_rules import RunRequest
    from integration.ingest.sources import Source
    from integration.ingest.tables import TargetTables

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 10.0
# A dry run is not recorded; no run has this number.
DRY_RUN_ID = 0


@dataclass(frozen=True, slots=True)
class Workplace:
    """What the runs of all sources share.

    Attributes:
        session: the writable session.
        tables: from `prepare_tables`.
        stop: whether to stop after the page that is being written.
    """

    session: WriteSession
    tables: TargetTables
    stop: Stop


def run_source(
    workplace: Workplace, source: Source, reader: Reader, request: RunRequest
) -> ExitCode:
    """Read a source; a failure that concerns only this source is logged.

    Raises:
        DatabaseUnavailable: no source can be stored.
    """
    try:
        with source_lock(workplace.session, source.name):
            run = SourceRun(workplace, source, reader, request)
            with naming_run(str(run.run_id)):
                return run.run()
    except (IngestError, DatabaseError) as error:
        if isinstance(error, DatabaseUnavailable):
            raise
        logger.error("%s", _naming(source, error))  # noqa: TRY400  a traceback is for bugs
        return error.exit_code


def _naming(source: Source, error: Exception) -> str:
    text = str(error)
    return text if source.name in text else f"{source.name}: {text}"


class SourceRun:
    """One run of a source, whose lock the caller holds.

    Attributes:
        run_id: its number in etl_runs.
    """

    def __init__(
        self, workplace: Workplace, source: Source, reader: Reader, request: RunRequest
    ) -> None:
        self._session = workplace.session
        self._stop = workplace.stop
        self._sleep = partial(wait_in_main_thread, workplace.stop)
        self._source = source
        self._reader = reader
        self._request = request
        self._validation = PageValidation(source)
        self._warnings: list[str] = []
        self._reasons: Counter[tuple[str, str | None]] = Counter()
        self._started_at = utc_now()
        self._started = self._last_progress = time.monotonic()
        self._checkpoint = read_checkpoint(self._session, source.name)
        self._position = self._checkpoint.position
        self._known = known_fields(self._position)
        self._cursor_from = None if request.full_refresh else cursor_text(self._position)
        self.run_id = self._start()
        self._seen = self._new_seen()
        self._target = Target(
            self._session,
            workplace.tables,
            source,
            self.run_id,
            self._checkpoint,
            dry_run=request.dry_run,
            sleep=self._sleep,
        )

    def run(self) -> ExitCode:
        """Read and store all pages.

        Raises:
            IngestError: the source cannot be read, or not stored; what was committed stays.
            DatabaseError: the database cannot be used.
        """
        try:
            self._store_pages()
            self._settle_missing()
        except (IngestError, DatabaseError) as error:
            if isinstance(error, SchemaError):
                self._warnings.append(str(error))  # an alarm; it is logged as the error
            with suppress(DatabaseError, IngestError):
                self._end(error)
            raise
        self._end()
        return ExitCode.SOME_FAILED if self._target.counts.rejected else ExitCode.OK

    def _start(self) -> int:
        name, cursor = self._source.name, self._cursor_from
        logger.info("%s: reading from %s", name, cursor or "the beginning")
        if self._request.dry_run:
            return DRY_RUN_ID
        return start_run(self._session, name, self._source.kind, self._started_at, cursor)

    def _new_seen(self) -> SeenRecords | None:
        """For a run that can tell which records its source no longer has."""
        if not self._request.full_refresh or self._request.limit:
            return None
        return SeenRecords(self._session, self._source) if self._source.key else None

    def _store_pages(self) -> None:
        with closing(self._pages()) as pages:
            for ready in pages:
                self._store(ready)
                if ready.page.error is not None:
                    raise ready.page.error
                if self._stop.requested():
                    return

    def _pages(self) -> Generator[PreparedPage, None, None]:
        pages = self._reader.pages(self._position, self._request.window(self._started_at))
        if reads_over_network(self._source):
            # Neither validating nor storing a page must delay the next request.
            pages = prefetched(pages, lambda: None, has_room=has_room)
        return prefetched(prepared(pages, self._validation), self._beat)

    def _settle_missing(self) -> None:
        """After a complete read, count or delete what the source no longer has."""
        if self._seen is None or self._stop.requested():
            return
        rows = MissingRows(
            self._session,
            self._source,
            None if self._request.dry_run else self.run_id,
            stopping=self._stop.requested,
            sleep=self._sleep,
        )
        if text := rows.settle(self._seen):
            self._warn(f"{self._source.name}: {text}")

    def _beat(self) -> None:
        if not self._request.dry_run:
            beat(self._session, self.run_id)

    def _store(self, ready: PreparedPage) -> None:
        page, (valid, rejected) = ready.page, ready.checked
        self._compare_fields(ready)
        position = with_fields(page.position, self._known)
        outcome = self._target.write_page(
            replace(page, position=position), valid, rejected, ready.packed
        )
        self._position = position
        self._remember(valid, outcome.rejections)
        self._reasons.update((one.code, one.field) for one in outcome.rejections)
        for one in outcome.rejections:
            logger.debug(
                "%s: page %d, record %d was rejected: %s %s (%s)",
                self._source.name,
                page.number,
                one.index,
                one.code,
                one.field or "",
                one.detail,
            )
        self._log_progress()

    def _remember(self, valid: Sequence[ValidRow], rejections: Sequence[Rejection]) -> None:
        """Keep which records the source still has."""
        seen = self._seen
        if seen is not None:
            repeat(
                self._session,
                lambda _: seen.add(valid, rejections),
                committed=lambda: None,
                sleep=self._sleep,
            )

    def _compare_fields(self, ready: PreparedPage) -> None:
        changes = compare_fields(self._source, ready.page.records, self._known, found=ready.fields)
        # Rare fields of a first run are not new.
        if changes.new and known_fields(self._checkpoint.position):
            new = ", ".join(changes.new)
            self._warn(f"{self._source.name}: new fields, which are not stored: {new}")
        for warning in (*ready.page.warnings, *changes.warnings):
            self._warn(warning)
        self._known |= ready.fields

    def _warn(self, text: str) -> None:
        """Log a warning and keep it for the run; the same one of several pages once."""
        if text not in self._warnings:
            self._warnings.append(text)
            logger.warning("%s", text)

    def _log_progress(self) -> None:
        now = time.monotonic()
        if now - self._last_progress >= PROGRESS_SECONDS:
            self._last_progress = now
            logger.info("%s: %s", self._source.name, counts_text(self._target.counts))

    def _end(self, error: Exception | None = None) -> None:
        counts = self._target.counts
        stopping = self._stop.requested()
        status = final_status(error, counts, self._request.limit, stopping=stopping)
        self._log_end(status)
        if self._request.dry_run:
            return
        if not isinstance(error, DatabaseError):
            self._check_alarms(is_complete=status == "completed", has_failed=error is not None)
        repeat(
            self._session,
            lambda _: end_run(
                self._session,
                self.run_id,
                status,
                cursor_to=cursor_text(self._position),
                error=error,
                warnings=self._warnings,
            ),
            committed=lambda: None,
            sleep=self._sleep,
        )

    def _log_end(self, status: str) -> None:
        name, counts = self._source.name, self._target.counts
        kept = " (dry run: nothing was stored)" if self._request.dry_run else ""
        logger.info("%s: %s, %s%s", name, status, counts_text(counts), kept)
        if counts.rejected:
            reasons = reasons_text(self._reasons.most_common())
            logger.warning("%s: %s rejected: %s", name, records_text(counts.rejected), reasons)

    def _check_alarms(self, *, is_complete: bool, has_failed: bool) -> None:
        texts = self._unusual() if is_complete and self._request.is_regular else []
        success = latest_with(self._session, self._source.name, ["completed"])
        if has_failed or (success and not is_complete):
            last_success = success.finished_at if success else None
            texts = [stale(last_success, utc_now(), self._source.expected_every_hours) or ""]
        for text in filter(None, texts):
            self._warn(f"{self._source.name}: {text}")

    def _unusual(self) -> list[str]:
        """How the run differs from earlier ones that began where it began."""
        runs = comparable_runs(
            self._session,
            self._source.name,
            self.run_id,
            COMPARED_RUNS,
            from_beginning=self._cursor_from is None,
        )
        extent = Extent(self._target.counts.records, time.monotonic() - self._started)
        return unusual(extent, [Extent(run.records, run.seconds) for run in runs])
