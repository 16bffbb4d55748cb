"""Runs at an interval: which failures end them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.core.shutdown import INTERRUPTIONS, Interrupted, Stop
from integration.database.errors import DatabaseRefused, DatabaseUnavailable
from integration.database.write_errors import Deadlock, WriteFailed
from integration.ingest.errors import SourceBusy
from integration.ingest.repetition import repeat_runs

if TYPE_CHECKING:
    from collections.abc import Callable

TERMINATED = INTERRUPTIONS[signal.SIGTERM]


def runs_of(stop: Stop, *outcomes: BaseException | ExitCode) -> Callable[[], ExitCode]:
    """Runs with these outcomes; the last one is followed by a signal."""
    remaining = list(outcomes)

    def run_once() -> ExitCode:
        outcome = remaining.pop(0)
        if not remaining:
            stop.request(TERMINATED)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return run_once


@pytest.mark.parametrize("error", [DatabaseUnavailable("no answer"), SourceBusy("creating")])
def test_a_database_that_is_not_ready_yet_is_tried_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Also before the first run."""
    stop = Stop()
    assert repeat_runs(runs_of(stop, error, ExitCode.OK), 0, stop) == ExitCode.OK
    assert f"{error}. The next run tries again" in caplog.text


@pytest.mark.parametrize("error", [DatabaseRefused("wrong password"), WriteFailed("no table")])
def test_what_another_attempt_does_not_help_ends_the_first_run(error: Exception) -> None:
    """Also if the database was not ready before; later, such an error is tried again."""
    stop = Stop()
    runs = runs_of(stop, DatabaseUnavailable("no answer"), error, ExitCode.OK)
    with pytest.raises(type(error), match=str(error)):
        repeat_runs(runs, 0, stop)
    stop = Stop()
    assert repeat_runs(runs_of(stop, ExitCode.OK, error, ExitCode.OK), 0, stop) == ExitCode.OK


def test_a_source_that_fails_does_not_end_the_runs() -> None:
    """The exit code is that of the last run."""
    stop = Stop()
    runs = runs_of(stop, ExitCode.UNAVAILABLE, Deadlock("again"), ExitCode.SOME_FAILED)
    assert repeat_runs(runs, 0, stop) == ExitCode.SOME_FAILED


def test_a_signal_while_a_run_connects_ends_it() -> None:
    """As an interruption before the first run, and as a stop later."""
    stop = Stop()
    with pytest.raises(Interrupted):
        repeat_runs(runs_of(Stop(), Interrupted(TERMINATED)), 600, stop)
    assert not stop.requested()
    runs = runs_of(Stop(), ExitCode.OK, Interrupted(TERMINATED))
    assert repeat_runs(runs, 0, stop) == ExitCode.SIGTERM
    assert stop.reason == TERMINATED
