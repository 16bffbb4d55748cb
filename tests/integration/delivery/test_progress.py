"""The progress shown during a delivery."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import signal
import struct
import sys
import termios
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from integration.core.models import CALLS, CallResult, PendingUser
from integration.delivery import progress
from integration.delivery.progress import DeliveryProgress, progress_line, results_of
from integration.delivery.work import CallDone
from tests.support.runs import (
    database_of,
    environment_for,
    finish,
    has_logged,
    pause_at,
    run,
    start,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.process import SandboxProcess

SUCCESS = CallResult(True, {"code": "Success"}, 200, 1, None)
FAILURE = CallResult(False, "<html>", 503, 3, "server_error")
ADA = PendingUser(1, "ada@example.com", b"{}", b"{}")
BOB = PendingUser(2, "bob@example.com", b"{}", b"{}")
SMALL, LARGE = 100, 101

Clock = SimpleNamespace
Lines = list[tuple[int, str]]


def done(user: PendingUser, **results: CallResult) -> list[CallDone]:
    """The results of a user's calls that were made."""
    return [CallDone([user], call, results[call], "now") for call in CALLS if call in results]


BOTH = done(ADA, users_update=SUCCESS, events_track=SUCCESS)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], Lines]:
    """What was logged since the last call: levels and messages."""
    caplog.set_level(logging.DEBUG)

    def look() -> Lines:
        found = [(record.levelno, record.getMessage()) for record in caplog.records]
        caplog.clear()
        return found

    return look


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still until it is set."""
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(progress, "time", clock)
    return clock


@contextmanager
def terminal_as_stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A real terminal as stderr; what was printed on it is available afterwards.

    The kernel delivers it with a delay: reading ends only when the device is closed.
    """
    printed: list[bytes] = []
    controller, device = os.openpty()
    fcntl.ioctl(device, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with os.fdopen(device, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        yield printed
    with suppress(OSError):  # EIO is the end of a closed terminal
        while some := os.read(controller, 100_000):
            printed.append(some)
    os.close(controller)


class TestLinesOfAUser:
    """Small runs log every user."""

    def test_a_delivered_user_has_the_documented_lines(
        self, lines: Callable[[], Lines], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Word for word and in order, at INFO, with the documented logger names."""
        DeliveryProgress(3).advance([ADA], BOTH)
        assert [record.name for record in caplog.records] == ["integration.delivery.progress"] * 5
        assert lines() == [
            (logging.INFO, "Processing record 1/3"),
            (logging.INFO, "Processing user: ada@example.com"),
            (logging.INFO, "users/update call successful: Success"),
            (logging.INFO, "events/track call successful: Success"),
            (logging.INFO, "✓ Successfully processed user: ada@example.com"),
        ]

    @pytest.mark.parametrize(
        ("results", "successes"),
        [
            ({"users_update": FAILURE, "events_track": SUCCESS}, ["events/track"]),
            ({"users_update": SUCCESS, "events_track": FAILURE}, ["users/update"]),
            ({"users_update": SUCCESS}, ["users/update"]),
            ({"users_update": FAILURE, "events_track": FAILURE}, []),
            ({}, []),
        ],
    )
    def test_a_user_with_a_call_that_failed_is_not_called_delivered(
        self, lines: Callable[[], Lines], results: dict[str, CallResult], successes: list[str]
    ) -> None:
        """A call that was never made counts as little as one that failed."""
        DeliveryProgress(3).advance([ADA], done(ADA, **results))
        messages = [message for _, message in lines()[2:]]
        assert messages == [
            *(f"{endpoint} call successful: Success" for endpoint in successes),
            "✗ Not fully delivered: ada@example.com",
        ]

    def test_a_user_with_one_call_left_is_delivered_by_it(self, lines: Callable[[], Lines]) -> None:
        """A half delivered user needs only the other half."""
        user = PendingUser(1, "ada@example.com", b"{}", b"{}", ("events_track",))
        DeliveryProgress(1).advance([user], done(user, events_track=SUCCESS))
        assert lines()[-1][1] == "✓ Successfully processed user: ada@example.com"

    @pytest.mark.parametrize(("total", "level"), [(SMALL, logging.INFO), (LARGE, logging.DEBUG)])
    def test_above_a_hundred_users_the_lines_are_for_the_file(
        self, lines: Callable[[], Lines], total: int, level: int
    ) -> None:
        """Ten thousand of them would be unreadable on a console."""
        DeliveryProgress(total).advance([ADA], BOTH)
        assert {level for level, _ in lines()} == {level}

    def test_each_user_of_a_small_batch_is_logged(self, lines: Callable[[], Lines]) -> None:
        """The users of a bulk call are counted and logged one by one."""
        shown = DeliveryProgress(3)
        shown.advance([ADA, BOB], [*BOTH, *done(BOB, users_update=SUCCESS, events_track=FAILURE)])
        shown.advance([ADA], BOTH)
        assert [message for _, message in lines() if not message.endswith("Success")] == [
            "Processing record 1/3",
            "Processing user: ada@example.com",
            "✓ Successfully processed user: ada@example.com",
            "Processing record 2/3",
            "Processing user: bob@example.com",
            "✗ Not fully delivered: bob@example.com",
            "Processing record 3/3",
            "Processing user: ada@example.com",
            "✓ Successfully processed user: ada@example.com",
        ]

    def test_a_large_batch_has_no_lines(self, lines: Callable[[], Lines]) -> None:
        """A bulk call's own lines are enough; thousands a second would slow it down."""
        DeliveryProgress(LARGE).advance([ADA, BOB], BOTH)
        assert lines() == []

    def test_a_users_results_are_those_of_its_own_calls(self) -> None:
        """The users of a batch may have different outcomes."""
        shared = CallDone([ADA, BOB], "users_update", SUCCESS, "now")
        outcomes = [shared, *done(BOB, events_track=FAILURE)]
        assert results_of(ADA, outcomes) == {"users_update": SUCCESS}
        assert results_of(BOB, outcomes) == {"users_update": SUCCESS, "events_track": FAILURE}


class TestProgressLine:
    """Large runs log their progress periodically."""

    def test_it_comes_every_ten_seconds(self, lines: Callable[[], Lines], clock: Clock) -> None:
        """Not with every user, and not before ten seconds have passed."""
        shown = DeliveryProgress(1000)
        told = []
        for clock.now in (1005.0, 1009.9, 1010.0, 1015.0, 1020.0):
            shown.advance([ADA], BOTH)
            told += [message for level, message in lines() if level == logging.INFO]
        assert told == [
            "Progress: 3/1000 users (0 %), 0 users/s, 55.4 min left",
            "Progress: 5/1000 users (0 %), 0 users/s, 66.3 min left",
        ]

    def test_after_a_long_wait_it_comes_once(
        self, lines: Callable[[], Lines], clock: Clock
    ) -> None:
        """After a minute in which no user was sent there is one line, not six."""
        shown = DeliveryProgress(1000)
        clock.now += 60
        for _ in range(6):
            shown.advance([ADA], BOTH)
        assert len([level for level, _ in lines() if level == logging.INFO]) == 1

    def test_a_small_run_has_none(self, lines: Callable[[], Lines], clock: Clock) -> None:
        """The lines of its users are enough."""
        shown = DeliveryProgress(10)
        clock.now += 60
        shown.advance([ADA], BOTH)
        assert not [message for _, message in lines() if message.startswith("Progress")]

    @pytest.mark.parametrize(
        ("done", "total", "seconds", "line"),
        [
            (300, 1000, 10.0, "Progress: 300/1000 users (30 %), 30 users/s, 0.4 min left"),
            (1000, 1000, 10.0, "Progress: 1000/1000 users (100 %), 100 users/s, 0.0 min left"),
            (0, 1000, 10.0, "Progress: 0/1000 users (0 %), 0 users/s, no estimate yet"),
            (5, 1000, 0.0, "Progress: 5/1000 users (0 %), 0 users/s, no estimate yet"),
        ],
    )
    def test_it_shows_rate_and_time_left(
        self, done: int, total: int, seconds: float, line: str
    ) -> None:
        """Both are computed from what was done so far; nothing is divided by zero."""
        assert progress_line(done, total, seconds) == line


class TestBar:
    """On a terminal, large runs have a bar instead of lines."""

    def test_a_large_run_has_a_bar_and_no_lines(
        self, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], Lines], clock: Clock
    ) -> None:
        """The bar advances with the users; closing it ends its line."""
        with terminal_as_stderr(monkeypatch) as terminal:
            shown = DeliveryProgress(LARGE)
            clock.now += 60
            shown.advance([ADA, BOB], BOTH)
            shown.close()
        seen = b"".join(terminal).decode()
        assert f"0/{LARGE}" in seen
        assert f"2/{LARGE}" in seen
        assert "user/s" in seen
        assert seen.endswith("\n")
        assert lines() == []

    @pytest.mark.parametrize(("total", "quiet"), [(LARGE, True), (SMALL, False)])
    def test_a_quiet_or_small_run_has_none(
        self, monkeypatch: pytest.MonkeyPatch, total: int, quiet: bool
    ) -> None:
        """`--quiet` prints problems only; a small run logs each user."""
        with terminal_as_stderr(monkeypatch) as terminal:
            shown = DeliveryProgress(total, quiet=quiet)
            shown.advance([ADA], BOTH)
            shown.close()
        assert terminal == []

    def test_without_a_terminal_there_is_none(self, capfd: pytest.CaptureFixture[str]) -> None:
        """A bar in a file or in cron's mail is noise."""
        shown = DeliveryProgress(LARGE)
        shown.advance([ADA], BOTH)
        shown.close()
        assert capfd.readouterr().err == ""


EMAILS = ["ada@example.com", "bob@example.com", "profilerefused@example.com"]
UPDATED = "users/update call successful: Success"
TRACKED = "events/track call successful: Success"
BAD_PARAMS = {"code": "BadParams", "msg": "Invalid parameter: page", "params": None}


def server_error_for(email: str, endpoint: str, times: int = 1) -> dict[str, object]:
    """A 503 for the next calls of this user."""
    return {
        "endpoint": endpoint,
        "email": email,
        "kind": "status",
        "status": 503,
        "body": {"code": "DatabaseError"},
        "times": times,
    }


def delivery_lines(messages: list[str]) -> list[str]:
    """The lines between steps 5 and 6; the length of a wait differs from run to run."""
    begin = messages.index("[STEP 5] Processing user records...") + 1
    end = messages.index("[STEP 6] Generating summary...")
    return [re.sub(r"in \d+\.\d\ds", "in …s", message) for message in messages[begin:end]]


class TestOrderOfLines:
    """A real run, as the operator sees it."""

    def test_a_small_run_shows_one_user_after_the_other_as_it_happens(
        self, tmp_path: Path, sandbox: SandboxProcess
    ) -> None:
        """Retries and rejections are between the lines of the call that they belong to."""
        refusal = {"kind": "status", "status": 400, "body": BAD_PARAMS}
        sandbox.faults(
            [
                server_error_for(EMAILS[0], "users/update"),
                {"endpoint": "events/track", "email": EMAILS[1], **refusal},
            ]
        )
        database = database_of(tmp_path / "customers.sqlite", EMAILS)

        ran = run(tmp_path, environment_for(tmp_path, sandbox, database))

        refused = ran.records[EMAILS[2]]["users_update"]["response"]
        assert delivery_lines(ran.messages()) == [
            "Processing record 1/3",
            "Processing user: ada@example.com",
            "Retryable error 503 from users/update. Retrying in …s (attempt 1/3)",
            UPDATED,
            TRACKED,
            "✓ Successfully processed user: ada@example.com",
            "Processing record 2/3",
            "Processing user: bob@example.com",
            UPDATED,
            "4xx Client Error from events/track: Status 400 after 1 attempt(s) for bob@example.com",
            f"Response: {BAD_PARAMS}",
            "✗ Not fully delivered: bob@example.com",
            "Processing record 3/3",
            "Processing user: profilerefused@example.com",
            f"4xx Client Error from users/update: Status 400 after 1 attempt(s) for {EMAILS[2]}",
            f"Response: {refused}",
            TRACKED,
            "✗ Not fully delivered: profilerefused@example.com",
        ]

    def test_a_users_lines_are_printed_before_the_next_users_calls_finish(
        self, tmp_path: Path, sandbox: SandboxProcess
    ) -> None:
        """While the run waits for the second user, the first one's lines are already printed."""
        database = database_of(tmp_path / "customers.sqlite", EMAILS)
        has_paused = pause_at(sandbox, EMAILS[1])
        process = start(tmp_path, environment_for(tmp_path, sandbox, database))
        wait_until(process, has_paused)
        wait_until(process, lambda: has_logged(tmp_path, "Retrying in"))
        messages = [line.split(" - ", 3)[3] for line in info_lines(tmp_path / "run.log")]

        process.send_signal(signal.SIGTERM)
        finish(tmp_path, process)

        seen = messages[messages.index("Processing record 1/3") :]
        assert seen == [
            "Processing record 1/3",
            "Processing user: ada@example.com",
            UPDATED,
            TRACKED,
            "✓ Successfully processed user: ada@example.com",
            "Processing record 2/3",
            "Processing user: bob@example.com",
            UPDATED,
            "Retryable error 429 from events/track. Retrying in 55.00s (attempt 1/3)",
        ]

    def test_with_several_workers_each_users_lines_stay_together_or_name_the_user(
        self, tmp_path: Path, sandbox: SandboxProcess
    ) -> None:
        """It is always clear whose call was retried or rejected."""
        emails = [f"user{number}@example.com" for number in range(12)]
        sandbox.faults([server_error_for(email, "users/update") for email in emails[1:]])
        sandbox.faults([server_error_for(email, "events/track", 3) for email in emails[4:6]])
        database = database_of(tmp_path / "customers.sqlite", emails)

        ran = run(tmp_path, environment_for(tmp_path, sandbox, database), "--workers", "8")

        assert ran.exit_code == 1
        lines = delivery_lines(ran.messages())
        own = [line for line in lines if not line.startswith(("Retryable", "5xx", "Response"))]
        groups = "\n".join(own).split("Processing record ")[1:]
        for number, group in enumerate(groups, start=1):
            lines_of_user = group.splitlines()
            email = lines_of_user[1].removeprefix("Processing user: ")
            assert lines_of_user[0] == f"{number}/12"
            assert lines_of_user[-1].endswith(email)
            assert lines_of_user[2:-1] == (
                [UPDATED] if email in emails[4:6] else [UPDATED, TRACKED]
            )
        retries = [line for line in lines if line.startswith("Retryable")]
        assert sorted(line.rpartition(" for ")[2] for line in retries) == sorted(
            [*emails[1:], *emails[4:6], *emails[4:6]]
        )
        told = [line for line in lines if line.startswith(("5xx", "Response"))]
        for error, response in zip(told[::2], told[1::2], strict=True):
            assert re.fullmatch(r"5xx .* for user[45]@example\.com", error)
            assert response == "Response: {'code': 'DatabaseError'}"

    def test_above_a_hundred_users_the_lines_of_a_call_name_its_user_in_the_file(
        self, tmp_path: Path, sandbox: SandboxProcess
    ) -> None:
        """DEBUG lines too: the attempts of 64 workers are interleaved."""
        emails = [f"user{number}@example.com" for number in range(101)]
        database = database_of(tmp_path / "customers.sqlite", emails)

        ran = run(tmp_path, environment_for(tmp_path, sandbox, database))

        attempts = [line for line in ran.log.splitlines() if " - Attempt " in line]
        named = [line.rpartition(" for ")[2] for line in attempts]
        assert sorted(named) == sorted(emails * 2)


def info_lines(log: Path) -> list[str]:
    """The lines of INFO and above in a log so far."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if " - DEBUG - " not in line]
