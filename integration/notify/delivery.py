"""Telling of a delivery: what its journal says when it has ended."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from integration.config.converting import ConfigurationError
from integration.config.loading import load_status, readable_secrets, with_secrets
from integration.config.notify_settings import (
    NOTIFY_SECRET_VARIABLES,
    NotifySettings,
    load_notify_settings,
)
from integration.config.settings import SECRET_VARIABLES
from integration.core.clock import utc_now
from integration.core.facts import Facts
from integration.core.redaction import SecretMask
from integration.core.run_ends import Extent
from integration.core.verdict import judge
from integration.journal.facts import read_delivery_facts
from integration.journal.queries import count_outcomes, read_run, recent_runs
from integration.journal.read_only import ReadOnlyJournal
from integration.journal.reading import JournalError
from integration.notify.conditions import DeliveryEnd, delivery_conditions
from integration.notify.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from integration.config.settings import StatusSettings
    from integration.core.models import Run
    from integration.core.shutdown import Stop
    from integration.core.verdict import Verdict
    from integration.journal.reading import JournalReader

RUNS_READ = 50
RUNS_COMPARED = 7


class TakenRun(NamedTuple):
    """The run that a command worked on.

    Attributes:
        number: in the journal.
        is_resumed: whether an earlier command began it.
    """

    number: int
    is_resumed: bool


class DeliveryTelling:
    """Tells of one command of `main.py`.

    Args:
        stop: the run's.

    Attributes:
        taken: set by the command when there are users to send.
    """

    def __init__(self, stop: Stop) -> None:
        self.taken: TakenRun | None = None
        self._stop = stop
        self._settings = NotifySettings()
        self._status: StatusSettings | None = None
        self._reporter: Reporter | None = None

    def begin(
        self, variables: Mapping[str, str], working_dir: Path, *, is_told: bool
    ) -> NotifySettings:
        """Read whom to tell, and ping the start.

        Args:
            variables: all that are set; settings of the run may be wrong.
            working_dir: what relative paths are relative to.
            is_told: whether this command is one that is told of.

        Raises:
            ConfigurationError: a setting of the notifications cannot be used.
        """
        self._status = _status_settings(variables, working_dir)
        if not is_told:
            return self._settings
        self._settings = load_notify_settings(with_secrets(variables, NOTIFY_SECRET_VARIABLES))
        if self._settings.is_set:
            secrets = readable_secrets(variables, SECRET_VARIABLES)
            mask = SecretMask({*secrets, *self._settings.secrets()})
            journal = self._status.journal_file
            self._reporter = Reporter(self._settings, journal, mask, self._stop)
            self._reporter.started()
        return self._settings

    def verdict(self) -> Verdict | None:
        """How the deliveries are now; None if it is not known where the journal is."""
        return delivery_verdict(self._status) if self._status else None

    def end(self, exit_code: int, error: str | None) -> None:
        """Ping the end, and notify of what has changed."""
        if self._reporter is None or self._status is None:
            return
        end = delivery_end(self._status, exit_code, error, self.taken)
        conditions = delivery_conditions(end, self._settings.notify_when)
        summary = error or (end.verdict.line if end.verdict else "")
        self._reporter.ended(exit_code, conditions, summary)


def _status_settings(variables: Mapping[str, str], working_dir: Path) -> StatusSettings:
    """Where the journal is, also if another setting is wrong."""
    try:
        return load_status(variables, working_dir)
    except ConfigurationError:
        named = {name: variables[name] for name in ("JOURNAL_FILE",) if name in variables}
        try:
            return load_status(named, working_dir)
        except ConfigurationError:
            return load_status({}, working_dir)


def delivery_verdict(settings: StatusSettings) -> Verdict:
    """How the deliveries are now."""
    facts = read_delivery_facts(settings.journal_file, settings.project)
    expected = settings.delivery_expected_every_hours
    return judge(Facts(now=utc_now(), deliveries=facts, delivery_every_hours=expected))


def delivery_end(
    settings: StatusSettings, exit_code: int, error: str | None, taken: TakenRun | None
) -> DeliveryEnd:
    """How a command ended.

    Args:
        settings: where the journal is, and of which project.
        exit_code: of the command.
        error: the line that it ended with, if a run was not possible.
        taken: the run, or None if there was nothing to do, or it could not start.
    """
    verdict = delivery_verdict(settings)
    end = DeliveryEnd(exit_code, error, has_run=taken is not None, verdict=verdict)
    if taken is None:
        return end
    try:
        with ReadOnlyJournal(settings.journal_file) as journal:
            return _with_run(journal, end, taken)
    except JournalError:  # removed during the run, which says so
        return end


def _with_run(file: JournalReader, end: DeliveryEnd, taken: TakenRun) -> DeliveryEnd:
    run = read_run(file, taken.number)
    if run.status != "completed":
        return end
    counts = count_outcomes(file, run.number)
    return end._replace(
        users=counts.total_users,
        undelivered=counts.undelivered,
        reads_list=run.kind != "retry" and not taken.is_resumed,
        extent=None if taken.is_resumed else _extent(file, run),
    )


def _extent(file: JournalReader, run: Run) -> Extent:
    earlier = [
        _seconds(one)
        for one in recent_runs(file, RUNS_READ)
        if one.number < run.number and one.status == "completed" and _kind(one) == _kind(run)
    ]
    return Extent(_seconds(run), earlier[:RUNS_COMPARED])


def _kind(run: Run) -> tuple[object, ...]:
    return run.kind, run.limit, run.incremental, run.project


def _seconds(run: Run) -> float:
    started, finished = run.started_at, run.finished_at or run.started_at
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
