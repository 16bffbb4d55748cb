"""The individual steps of `main.py`, and its output besides the log."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.config.settings import load_settings
from integration.core.exit_codes import ExitCode
from integration.core.shutdown import INTERRUPTIONS, Stop
from integration.delivery.dry_run import show_payloads
from integration.delivery.finish_run import finish_run
from integration.delivery.mode import decide_mode
from integration.journal.store import Journal
from sandbox.options import SandboxOptions
from sandbox.process import SandboxProcess
from tests.support.journals import HEADER, completed_run
from tests.support.runs import database_of, environment_for, finish, run, start
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Iterator

VIEWS = [page_view(number) for number in range(1_000)]
AUTO = load_settings(
    {"DB_ENGINE": "sqlite", "DB_NAME": "a.db", "ITERABLE_API_KEY": "a-key"}
).delivery


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def stopped() -> Stop:
    """The state after Ctrl-C."""
    stop = Stop()
    stop.request(next(iter(INTERRUPTIONS.values())))
    return stop


class TestDecideMode:
    """Single or bulk calls."""

    def test_the_number_of_users_to_send_decides(self, journal: Journal) -> None:
        """A thousand users are bulk; a thousand of which one has changed is one call or two."""
        assert (
            decide_mode(AUTO, journal, completed_run(journal, VIEWS, reached=0, status="running"))
            == "bulk"
        )
        completed_run(journal, VIEWS)
        changed = [VIEWS[0]._replace(plan_type="free"), *VIEWS[1:]]
        run = completed_run(journal, changed, reached=0, status="running", incremental=True)
        assert decide_mode(AUTO, journal, run) == "single"

    def test_a_resumed_run_keeps_its_mode_unless_asked(self, journal: Journal) -> None:
        """A run that started with single calls continues with them, however many users it has."""
        run = completed_run(journal, VIEWS, reached=0, status="running")
        journal.set_mode(run, "single")
        assert decide_mode(AUTO, journal, run) == "single"
        asked = replace(AUTO, mode="bulk")
        assert decide_mode(asked, journal, run) == "bulk"


class TestDryRun:
    """A run without calls."""

    def test_a_stop_ends_the_listing(
        self, journal: Journal, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A stop does not wait for a million lines."""
        run = completed_run(journal, VIEWS, reached=0, status="running")
        caplog.set_level(logging.DEBUG)
        show_payloads(journal, run, stopped())
        assert caplog.messages == []

    def test_its_end_says_that_nothing_was_sent(
        self, journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And does not suggest --resume, since nothing is left to resume."""
        header = replace(HEADER, results_file=str(tmp_path / "results.json"))
        run = journal.begin(header, map(new_user, VIEWS[:3]))
        decide_mode(AUTO, journal, run)
        caplog.set_level(logging.INFO)
        assert finish_run(journal, run, stopped(), dry_run=True) == ExitCode.SIGINT
        assert "Dry run: nothing was sent; 3 user(s) would be, by single calls" in caplog.messages
        assert "--resume" not in caplog.text


def test_a_journal_that_disappears_while_the_results_are_written_is_reported(
    journal: Journal,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All is sent and recorded, but the next run does not know: not a success."""
    run = completed_run(journal, VIEWS[:3], status="running")
    monkeypatch.setattr(
        "integration.delivery.finish_run.write_results",
        lambda *_: (tmp_path / "journal.db").unlink(),
    )

    assert finish_run(journal, run, Stop(), dry_run=False) == ExitCode.CONFIGURATION

    assert "was removed or replaced during the run" in caplog.text
    assert "--resume" not in caplog.text


def test_a_jwt_key_with_bulk_mode_warns_and_uses_single_calls(tmp_path: Path) -> None:
    """It continues with single calls, and warns."""
    with SandboxProcess(SandboxOptions(jwt_secret="the-secret-of-the-jwt-key-is-32-b")) as sandbox:
        database = database_of(tmp_path / "customers.sqlite", ["ada@example.com"])
        environment = environment_for(tmp_path, sandbox, database) | {
            "USE_JWT_AUTH": "true",
            "ITERABLE_JWT_SECRET": "the-secret-of-the-jwt-key-is-32-b",
        }

        ran = run(tmp_path, environment, "--mode", "bulk")

    assert (ran.exit_code, ran.results["mode"]) == (0, "single")
    assert "A JWT key may not make bulk calls: continuing with single calls" in ran.stderr


class TestStatus:
    """Its output goes to stdout, which may fail."""

    def test_a_closed_reader_is_not_an_error(self, tmp_path: Path, sandbox: SandboxProcess) -> None:
        """`--status | head -1` succeeds."""
        environment = environment_for(tmp_path, sandbox, tmp_path / "a.db")
        reading, writing = os.pipe()
        os.close(reading)
        try:
            process = start(tmp_path, environment, "--status", stdout=writing)
        finally:
            os.close(writing)
        ran = finish(tmp_path, process)
        assert (ran.exit_code, ran.stderr) == (0, "")

    def test_a_full_disk_is_one_line(self, tmp_path: Path, sandbox: SandboxProcess) -> None:
        """Lost output is reported."""
        environment = environment_for(tmp_path, sandbox, tmp_path / "a.db")
        with Path("/dev/full").open("w") as full:
            ran = finish(tmp_path, start(tmp_path, environment, "--status", stdout=full))
        assert ran.exit_code == 78
        (line,) = ran.stderr.splitlines()
        assert line.endswith("Cannot print: [Errno 28] No space left on device")


def test_a_working_directory_that_is_gone_is_one_line(tmp_path: Path) -> None:
    """For example, because a deploy has replaced it."""
    folder = tmp_path / "gone"
    folder.mkdir()
    ran = finish(folder, start(folder, {}, "--status", preexec_fn=folder.rmdir))
    assert ran.exit_code == 78
    (line,) = ran.stderr.splitlines()
    assert line.endswith("The working directory no longer exists: change to another one")
