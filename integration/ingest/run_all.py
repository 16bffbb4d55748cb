"""The runs of several sources, one after the other: customers before page views."""

from __future__ import annotations

import logging
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from integration.core.clock import utc_now
from integration.core.exit_codes import ExitCode
from integration.core.shutdown import wait_in_main_thread
from integration.ingest.alarms import stale
from integration.ingest.erased import is_erased
from integration.ingest.rejections import count_open
from integration.ingest.replay import Replay
from integration.ingest.retention import delete_old_pages
from integration.ingest.retry import Decode, Retry, Stored, retry_unknown_customers
from integration.ingest.run import run_source
from integration.ingest.run_rules import counts_text
from integration.ingest.runs import ENDED, latest_with
from integration.ingest.validation import PageValidation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.ingest.models import Reader, Rejection, ValidRow
    from integration.ingest.run import Workplace
    from integration.ingest.run_rules import RunRequest
    from integration.ingest.runs import Run
    from integration.ingest.sources import Source

logger = logging.getLogger(__name__)


class Ingest:
    """Runs sources.

    Args:
        workplace: what their runs share.
        open_reader: opens a source for reading.
        all_sources: every source that is configured, also those that are not to run.
    """

    def __init__(
        self,
        workplace: Workplace,
        open_reader: Callable[[Source], Reader],
        all_sources: Sequence[Source],
    ) -> None:
        self.workplace = workplace
        self._open_reader = open_reader
        self.all_sources = all_sources
        self._read: set[str] = set()
        # How the runs of the last `run` ended, by source.
        self.outcomes: dict[str, ExitCode] = {}

    def run(self, sources: Sequence[Source], request: RunRequest) -> ExitCode:
        """Run sources; returns the highest of their exit codes.

        Page views whose customers have arrived are stored after the customers.

        Raises:
            DatabaseUnavailable: no source can be stored.
        """
        self._read.clear()
        self.outcomes.clear()
        customers = [source for source in sources if source.entity == "customers"]
        views = [source for source in sources if source.entity == "page_views"]
        code = self._run_each(customers, request)
        if customers and not request.dry_run and not self.workplace.stop.requested():
            self._retry_views()
        code = max(code, self._run_each(views, request))
        reason = self.workplace.stop.reason
        if not (reason or request.dry_run):
            self._warn_of_stale_sources()
        return reason.exit_code if reason else code

    def _run_each(self, sources: Sequence[Source], request: RunRequest) -> ExitCode:
        code = ExitCode.OK
        for source in sources:
            if self.workplace.stop.requested():
                break
            with closing(self._open_reader(source)) as reader:
                outcome = run_source(self.workplace, source, reader, request)
            if outcome != ExitCode.LOCKED:
                self._read.add(source.name)
            self.outcomes[source.name] = outcome
            code = max(code, outcome)
        return code

    def _warn_of_stale_sources(self) -> None:
        """Warn of stale sources that this run has not read; the others have warned themselves."""
        for source in self.all_sources:
            if source.name in self._read:
                continue
            success = latest_with(self.workplace.session, source.name, ["completed"])
            last_success = success.finished_at if success else None
            if text := stale(last_success, utc_now(), source.expected_every_hours):
                logger.warning("%s: %s", source.name, text)

    def _retry_views(self) -> None:
        """Store the page views that were rejected because their customers had not arrived."""
        sources = [source for source in self.all_sources if source.entity == "page_views"]
        results = retry_unknown_customers(
            self.workplace.session,
            [self._stored(source) for source in sources],
            stopping=self.workplace.stop.requested,
        )
        for name, counts in results.items():
            if counts.records:
                logger.info("%s: retried for customers that arrived: %s", name, counts_text(counts))

    def retry_rejected(self, sources: Sequence[Source]) -> ExitCode:
        """Store rejected records after all, as the sources are configured now.

        Raises:
            SourceBusy: a run of a source is in progress.
            DatabaseError: the database cannot be used.
        """
        code, session, stop = ExitCode.OK, self.workplace.session, self.workplace.stop
        for source in sources:
            counts = Retry(self._stored(source)).run(stopping=stop.requested)
            still = count_open(session, source.name)
            logger.info(
                "%s: retried, %s; still rejected: %d", source.name, counts_text(counts), still
            )
            code = max(code, ExitCode.SOME_FAILED if still else ExitCode.OK)
            if stop.reason:
                return stop.reason.exit_code
        return code

    def replay(self, source: Source, run: Run) -> ExitCode:
        """Store a run again from its raw pages.

        Raises:
            SourceBusy: a run of the source is in progress.
            IngestError: a page is no longer stored, or cannot be decoded.
            DatabaseError: the database cannot be used.
        """
        session, stop = self.workplace.session, self.workplace.stop
        counts = Replay(self._stored(source)).run(run, stop.requested)
        logger.info("%s: replayed run %d, %s", source.name, run.run_id, counts_text(counts))
        newest = latest_with(session, source.name, ENDED)
        if newest is not None and newest.run_id > run.run_id:
            logger.warning(
                "%s: later runs read newer records; to restore those, replay the runs after %d, "
                "oldest first, up to %d",
                source.name,
                run.run_id,
                newest.run_id,
            )
        if stop.reason:
            return stop.reason.exit_code
        return ExitCode.SOME_FAILED if counts.rejected else ExitCode.OK

    def delete_old_pages(self, retention_days: int) -> None:
        """Delete raw pages that are older than that."""
        if deleted := delete_old_pages(self.workplace.session, retention_days):
            logger.info("Deleted %d raw pages older than %d days", deleted, retention_days)

    def _stored(self, source: Source) -> Stored:
        return Stored(
            session=self.workplace.session,
            tables=self.workplace.tables,
            source=source,
            decode=self.decoder(source),
            sleep=partial(wait_in_main_thread, self.workplace.stop),
        )

    def decoder(self, source: Source) -> Decode:
        """Decodes and validates the stored pages of a source, without what was erased there."""
        validation = PageValidation(source)

        def decode(content: bytes, origin: str) -> tuple[Sequence[ValidRow], Sequence[Rejection]]:
            with closing(self._open_reader(source)) as reader:
                records = reader.records_of(content, origin)
            valid, rejected = validation.validate(records)
            return valid, [one for one in rejected if not is_erased(records[one.index])]

        return decode
