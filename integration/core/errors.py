"""The errors that end the program with a one-line message and an exit code.

AppError
├── ConfigurationError    78  config.converting: the message names the variable
├── MappingError          78  core.mapping: a column of the query cannot be sent
├── FileError             78  core.files: a file or folder cannot be used
├── JournalError          78  journal.reading: the journal cannot be used
├── LockedError           75  journal.lock: another run holds the lock
├── DatabaseError         69  database.errors: no connection, or the query cannot be run
├── RecordError           69  delivery.new_users: a row cannot be sent
├── IngestError           69  ingest.errors: a source cannot be read or stored (see there)
└── StillPendingError      1  delivery.start_run: an unfinished run comes first
"""

from __future__ import annotations

from typing import ClassVar

from integration.core.exit_codes import ExitCode


class AppError(Exception):
    """An expected failure; its one-line message says what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.CONFIGURATION
