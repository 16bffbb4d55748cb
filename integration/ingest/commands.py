"""The commands that show or work on what is stored: `stats`, `rejected`, `replay`, `reset`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from integration.config.converting import ConfigurationError
from integration.core.clock import utc_now
from integration.core.facts import Facts
from integration.core.verdict import judge
from integration.ingest.pass_summary import rejected_json
from integration.ingest.rejection_details import with_details
from integration.ingest.rejection_texts import rejected_lines
from integration.ingest.rejections import open_records
from integration.ingest.reset import reset
from integration.ingest.runs import find_run
from integration.ingest.statistics import as_json as to_json
from integration.ingest.statistics import as_lines, source_facts, statistics_of
from integration.ingest.tables import has_tables
from integration.journal.facts import read_delivery_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from integration.core.exit_codes import ExitCode
    from integration.database.writing import WriteSession
    from integration.ingest.models import Reader
    from integration.ingest.run_all import Ingest
    from integration.ingest.source_file import Sources
    from integration.ingest.sources import Source

logger = logging.getLogger(__name__)


def statistics_lines(
    session: WriteSession,
    sources: Sequence[Source],
    journal: Path,
    delivery_every_hours: float | None,
    *,
    as_json: bool,
) -> list[str]:
    """`stats`: the verdict, and each source's records, runs, checkpoint and lag."""
    statistics = statistics_of(session, sources)
    facts = Facts(
        now=utc_now(),
        deliveries=read_delivery_facts(journal),
        sources=source_facts(statistics),
        delivery_every_hours=delivery_every_hours,
    )
    verdict = judge(facts)
    return [to_json(verdict, statistics)] if as_json else list(as_lines(verdict, statistics))


def rejected_listing(
    session: WriteSession,
    sources: Sources,
    name: str | None,
    open_reader: Callable[[Source], Reader],
    *,
    as_json: bool,
) -> list[str]:
    """`rejected`: the records of one source, or of all, that are still rejected, and why."""
    records = open_records(session, name) if has_tables(session) else []
    details = list(with_details(session, records, sources.sources, open_reader))
    return [rejected_json(details)] if as_json else rejected_lines(details)


def retry_rejected(
    ingest: Ingest, sources: Sources, name: str | None, begin: Callable[[], object]
) -> ExitCode:
    """`rejected --retry`: store rejected records after all.

    Args:
        ingest: where they are stored.
        sources: all that are configured.
        name: the only source to take, or None.
        begin: called before the first change.
    """
    chosen = sources.named(filter(None, [name]))
    begin()
    code = ingest.retry_rejected(chosen)
    _log_interruption(ingest, "the other records stay rejected until the next --retry")
    return code


def replay(ingest: Ingest, sources: Sources, number: int, begin: Callable[[], object]) -> ExitCode:
    """`replay`: store a run again from its raw pages; arguments as above.

    Raises:
        ConfigurationError: there is no such run.
    """
    run = find_run(ingest.workplace.session, number)
    if run is None:
        raise ConfigurationError(f"No such run: {number}; see python cli.py stats")
    (source,) = sources.named([run.source])
    begin()
    code = ingest.replay(source, run)
    _log_interruption(ingest, f"replay run {number} again to store its other pages")
    return code


def _log_interruption(ingest: Ingest, next_step: str) -> None:
    """Say that a signal ended the command, and what to do."""
    reason = ingest.workplace.stop.reason
    if reason:
        logger.warning("%s; %s", reason.text, next_step)


def reset_source(ingest: Ingest, name: str, *, yes: bool) -> list[str]:
    """`reset`: forget a source, or show what that would delete."""
    known = {source.name for source in ingest.all_sources}
    return list(reset(ingest.workplace.session, name, known, yes=yes))
