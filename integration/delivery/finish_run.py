"""The end of a run: the results file, the journal's entry, the summary and the exit code."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from integration.core.clock import utc_now_iso
from integration.core.exit_codes import ExitCode
from integration.core.files import display_path, make_folder
from integration.delivery.reports import summary_lines, write_results
from integration.delivery.stop_reasons import journal_gone
from integration.journal.queries import count_outcomes, read_run

if TYPE_CHECKING:
    from integration.core.models import Run
    from integration.core.shutdown import Stop, StopReason
    from integration.journal.store import Journal

logger = logging.getLogger(__name__)


def finish_run(journal: Journal, number: int, stop: Stop, *, dry_run: bool) -> ExitCode:
    """Write the results file, close the run in the journal and log the summary.

    Raises:
        FileError: the results file cannot be written; the run can be resumed.
    """
    counts = count_outcomes(journal, number)
    pending = journal.pending_users(number)
    # A signal that came after the last response has stopped nothing.
    reason = _lost_journal(journal, dry_run=dry_run) or (stop.reason if pending else None)
    run = _finished(read_run(journal, number), reason)
    results_file = Path(run.results_file)
    make_folder(results_file.parent)  # it may have been removed during the run
    write_results(results_file, run, counts, journal.outcomes(number))
    # Only now: --resume finds a run that crashes before its results file is written.
    journal.finish(number, run.status, run.stop_reason, run.finished_at or "")
    for line in summary_lines(run, counts):
        logger.info("%s", line)
    logger.info("Results saved to: %s", display_path(results_file))
    if dry_run:
        logger.info(
            "Dry run: nothing was sent; %d user(s) would be, by %s calls", pending, run.mode
        )
    # It may have been removed while the results were written.
    lost = _lost_journal(journal, dry_run=dry_run)
    if reason := lost or reason:
        hint = "" if lost or dry_run else ". --resume resumes this run"
        logger.error("%s%s", reason.text, hint)
        return reason.exit_code
    if dry_run or not counts.undelivered:
        return ExitCode.OK
    logger.error(
        "%d of %d user(s) were not fully delivered: see %s%s",
        counts.undelivered,
        counts.total_users,
        display_path(results_file),
        ", then run --retry-failed" if pending else "",
    )
    return ExitCode.SOME_FAILED


def _finished(run: Run, reason: StopReason | None) -> Run:
    """The run as its results file and the summary show it."""
    return replace(
        run,
        csv_file=str(display_path(Path(run.csv_file))),
        finished_at=utc_now_iso(),
        status=reason.status if reason else "completed",
        stop_reason=reason.text if reason else None,
    )


def _lost_journal(journal: Journal, *, dry_run: bool) -> StopReason | None:
    """The stop reason if the journal's file was removed; a dry run's journal never has a name."""
    return None if dry_run or journal.is_in_place else journal_gone(journal.path)
