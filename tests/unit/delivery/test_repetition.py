"""`--every`: what follows a delivery that ended in one way or another."""

from __future__ import annotations

import pytest

from integration.config.arguments import parse_arguments, without_every
from integration.core.exit_codes import ExitCode
from integration.core.shutdown import INTERRUPTIONS, Stop
from integration.delivery.repetition import repeat_deliveries


class Deliveries:
    """Deliveries with these exit codes; after the last one, a signal arrives during the wait."""

    def __init__(self, *codes: int) -> None:
        self.stop = Stop()
        self.waits: list[float] = []
        self._codes = list(codes)

    def run_once(self) -> int:
        """The exit code of the next one."""
        return self._codes.pop(0)

    def wait(self, stop: Stop, seconds: float) -> bool:
        """Do not sleep."""
        self.waits.append(seconds)
        if not self._codes:
            stop.request(next(iter(INTERRUPTIONS.values())))
        return stop.requested()

    def repeat(self) -> int:
        """All of them."""
        return repeat_deliveries(self.run_once, 3600, self.stop, self.wait)


def test_each_is_followed_by_the_next_until_a_signal(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the outcome; a failure is a warning."""
    deliveries = Deliveries(0, 1, 69, -9, 78, 0)

    assert deliveries.repeat() == ExitCode.SIGINT
    assert [3599 < seconds <= 3600 for seconds in deliveries.waits] == [True] * 6
    assert [record.args for record in caplog.records] == [(1,), (69,), (-9,), (78,)]


@pytest.mark.parametrize("code", [2, 77, 78])
def test_a_wrong_setting_ends_it_at_the_first_delivery(code: int) -> None:
    """Whoever has just started it is still looking."""
    deliveries = Deliveries(code)

    assert deliveries.repeat() == code
    assert deliveries.waits == []


def test_a_signal_during_a_delivery_ends_it() -> None:
    """The exit code is the signal's, not the delivery's."""
    deliveries = Deliveries(0)
    deliveries.stop.request(list(INTERRUPTIONS.values())[1])

    assert deliveries.repeat() == ExitCode.SIGTERM


@pytest.mark.parametrize("given", [["--every", "60"], ["--every=60"]])
def test_a_delivery_gets_the_other_options(given: list[str]) -> None:
    """In their order."""
    rest = ["--incremental", "--workers", "4", "--env-file", "eu.env"]

    assert parse_arguments([*rest[:1], *given, *rest[1:]]).every == 60
    assert without_every([*rest[:1], *given, *rest[1:]]) == rest
