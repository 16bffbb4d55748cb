"""The exit codes, in the numbers of sysexits.h and of the shell."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    UNAVAILABLE = 69
    LOCKED = 75
    KEY_REFUSED = 77
    CONFIGURATION = 78
    SIGINT = 130
    SIGTERM = 143
