"""Start programs that file permissions apply to, even when the tests run as root."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.runs import finish, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.runs import RunResult

# Linux's numbers: the call, and the two capabilities that let root open every file and folder.
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
IS_ROOT = os.geteuid() == 0

needs_permissions = pytest.mark.skipif(
    IS_ROOT and not sys.platform.startswith("linux"),
    reason="permissions do not hold for root: run the tests as another user",
)
_libc = ctypes.CDLL(None, use_errno=True)


def lower_privileges() -> None:
    """For `preexec_fn`: the program that is started next cannot bypass file permissions."""
    if not IS_ROOT:
        return
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def run_unprivileged(
    folder: Path,
    environment: Mapping[str, str],
    *arguments: str,
    first: Callable[[], object] = lambda: None,
) -> RunResult:
    """Run the program in `folder` with only the rights that the permissions give.

    Args:
        folder: the working directory.
        environment: the environment variables to set.
        arguments: the command line.
        first: what to do in the new process, in `folder`, before the program starts.
    """

    def prepare() -> None:
        first()
        lower_privileges()

    return finish(folder, start(folder, environment, *arguments, preexec_fn=prepare))
