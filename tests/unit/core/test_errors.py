"""An expected failure has the program's exit code."""

from __future__ import annotations

import re

import pytest

import main
from db_connection import DatabaseRefused, QueryFailed
from integration.config.converting import ConfigurationError
from integration.core import errors
from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.core.files import FileError
from integration.delivery.new_users import RecordError
from integration.delivery.start_run import StillPendingError
from integration.ingest.errors import (
    SchemaError,
    SourceBusy,
    SourceError,
    SourceRefused,
    SourceUnavailable,
    TooManyRejected,
)
from integration.journal.file import JournalError
from integration.journal.lock import LockedError

ERRORS: list[tuple[type[AppError], ExitCode]] = [
    (ConfigurationError, ExitCode.CONFIGURATION),
    (FileError, ExitCode.CONFIGURATION),
    (JournalError, ExitCode.CONFIGURATION),
    (DatabaseRefused, ExitCode.UNAVAILABLE),
    (QueryFailed, ExitCode.UNAVAILABLE),
    (LockedError, ExitCode.LOCKED),
    (RecordError, ExitCode.UNAVAILABLE),
    (StillPendingError, ExitCode.SOME_FAILED),
    (SourceError, ExitCode.UNAVAILABLE),
    (SourceUnavailable, ExitCode.UNAVAILABLE),
    (SourceRefused, ExitCode.KEY_REFUSED),
    (SourceBusy, ExitCode.LOCKED),
    (SchemaError, ExitCode.CONFIGURATION),
    (TooManyRejected, ExitCode.UNAVAILABLE),
]


@pytest.mark.parametrize(("kind", "code"), ERRORS)
def test_an_expected_failure_is_one_line_and_its_exit_code(
    kind: type[AppError],
    code: ExitCode,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whichever it is, and wherever it is raised."""

    def fail(*_: object) -> None:
        raise kind("what to do")

    watch = {"interrupted_by": None, "only_request": lambda _: None}
    monkeypatch.setattr(main, "SignalWatch", lambda _: type("Watch", (), watch)())
    monkeypatch.setattr(main, "begin_log", lambda *_: None)
    monkeypatch.setattr(main, "run_integration", fail)
    assert main.main([]) == code
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("ERROR", "what to do")
    assert record.exc_info is None


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Each direct subclass with its exit code."""
    drawn = re.findall(r"── (\w+) +(\d+)  ([\w.]+): ", errors.__doc__ or "")
    kinds = [
        (kind.__name__, str(int(kind.exit_code)), kind.__module__.removeprefix("integration."))
        for kind in descendants()
    ]
    assert sorted(drawn) == sorted(kinds)


def descendants() -> list[type[AppError]]:
    """The direct subclasses of the root error."""
    return AppError.__subclasses__()
