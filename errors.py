"""The root of the errors that end the program with one line and an exit code of their own.

AppError
├── ConfigurationError    78  settings: the message names the variable
├── FileError             78  files: a file or folder that cannot be used
├── JournalError          78  journal_file: the journal cannot be used
├── LockedError           75  journal_lock: another run holds the lock
├── DatabaseError         69  db_errors: no connection, or the query cannot be run
├── RecordError           69  payloads: a row that cannot be sent
└── StillOpenError         1  run_opening: an unfinished run comes first
"""

from __future__ import annotations

from typing import ClassVar

from exit_codes import ExitCode


class AppError(Exception):
    """An expected failure; its message is one line that says what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.CONFIGURATION
