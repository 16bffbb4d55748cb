"""The exit codes; numbers follow sysexits.h and, for signals, the shell."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of the process."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    UNAVAILABLE = 69
    LOCKED = 75
    KEY_REFUSED = 77
    CONFIGURATION = 78
    SIGINT = 130
    SIGTERM = 143
