"""The end of a run: the results file, the journal's entry, the summary and the exit code."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from integration.core.clock import utc_now_iso
from integration.core.exit_codes import ExitCode
from integration.core.files import display_path, make_folder
from integration.delivery.dispatcher import journal_gone
from integration.delivery.reports import summary_lines, write_results
from integration.journal.queries import past_run

if TYPE_CHECKING:
    from integration.core.models import RunRecord
    from integration.core.shutdown import Stop, StopReason
    from integration.journal.store import Journal

logger = logging.getLogger(__name__)


def finish_run(journal: Journal, run: int, stop: Stop, *, dry_run: bool) -> ExitCode:
    """Write the results file, close the run in the journal and log the summary.

    Raises:
        FileError: the results file cannot be written; the run can be resumed.
    """
    past = past_run(journal, run)
    pending = journal.pending_users(run)
    # A signal that came after the last response has stopped nothing.
    reason = _lost_journal(journal, dry_run=dry_run) or (stop.reason if pending else None)
    record = _finished(past.record, reason)
    results_file = Path(record.header.results_file)
    make_folder(results_file.parent)  # it may have been removed during the run
    write_results(results_file, record, past.counts, journal.outcomes(run))
    # Only now: a run that crashes before has no results file yet and is found by --resume.
    journal.finish(run, record.status, record.stop_reason, record.finished_at or "")
    for line in summary_lines(record, past.counts):
        logger.info("%s", line)
    logger.info("Results saved to: %s", display_path(results_file))
    if dry_run:
        logger.info(
            "Dry run: nothing was sent; %d user(s) would be, by %s calls", pending, record.mode
        )
    # It may have been removed while the results were written.
    lost = _lost_journal(journal, dry_run=dry_run)
    if reason := lost or reason:
        hint = "" if lost or dry_run else ". --resume continues this run"
        logger.error("%s%s", reason.text, hint)
        return reason.exit_code
    return ExitCode.SOME_FAILED if past.open_users and not dry_run else ExitCode.OK


def _finished(record: RunRecord, reason: StopReason | None) -> RunRecord:
    """The run as its results file and the summary show it."""
    csv_file = str(display_path(Path(record.header.csv_file)))
    return replace(
        record,
        header=replace(record.header, csv_file=csv_file),
        finished_at=utc_now_iso(),
        status=reason.status if reason else "completed",
        stop_reason=reason.text if reason else None,
    )


def _lost_journal(journal: Journal, *, dry_run: bool) -> StopReason | None:
    """The stop reason if the journal's file was removed; a dry run's journal never has a name."""
    return None if dry_run or journal.is_in_place else journal_gone(journal.path)
