"""The runs of several sources, one after the other: customers before page views."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING

from integration.core.exit_codes import ExitCode
from integration.ingest.retry import Decode, retry_unknown_customers
from integration.ingest.run import run_source
from integration.ingest.run_rules import counts_text
from integration.ingest.validation import PageValidation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.ingest.models import Reader, Rejection, ValidRow
    from integration.ingest.run import Workplace
    from integration.ingest.run_rules import RunRequest
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
        self._workplace = workplace
        self._open_reader = open_reader
        self._all_sources = all_sources

    def run(self, sources: Sequence[Source], request: RunRequest) -> ExitCode:
        """Run sources; returns the highest of their exit codes.

        Page views whose customers have arrived are stored after the customers.

        Raises:
            DatabaseUnavailable: no source can be stored.
        """
        customers = [source for source in sources if source.entity == "customers"]
        views = [source for source in sources if source.entity == "page_views"]
        code = self._run_each(customers, request)
        if customers and not request.dry_run and not self._workplace.stop.requested():
            self._retry_views()
        code = max(code, self._run_each(views, request))
        reason = self._workplace.stop.reason
        return reason.exit_code if reason else code

    def _run_each(self, sources: Sequence[Source], request: RunRequest) -> ExitCode:
        code = ExitCode.OK
        for source in sources:
            if self._workplace.stop.requested():
                break
            with closing(self._open_reader(source)) as reader:
                code = max(code, run_source(self._workplace, source, reader, request))
        return code

    def _retry_views(self) -> None:
        """Store the page views that were rejected because their customers had not arrived."""
        sources = [source for source in self._all_sources if source.entity == "page_views"]
        decoders = [(source, self.decoder(source)) for source in sources]
        workplace = self._workplace
        results = retry_unknown_customers(workplace.session, workplace.tables, decoders)
        for name, counts in results.items():
            if counts.records:
                logger.info("%s: retried for customers that arrived: %s", name, counts_text(counts))

    def decoder(self, source: Source) -> Decode:
        """Decodes and validates the stored pages of a source; reads nothing from the source."""
        validation = PageValidation(source)

        def decode(content: bytes, origin: str) -> tuple[Sequence[ValidRow], Sequence[Rejection]]:
            with closing(self._open_reader(source)) as reader:
                return validation.validate(reader.records_of(content, origin))

        return decode
