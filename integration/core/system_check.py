"""Checks Python, packages and system before anything else is imported.

This module runs on Python 3.6, so that an older Python prints a message instead of a traceback.
"""

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_PYTHON = (3, 11)
EXIT_CONFIGURATION = 78
# Module to import: package that provides it.
PACKAGES = {
    "mysql.connector": "mysql-connector-python",
    "requests": "requests",
    "urllib3": "urllib3",
    "dotenv": "python-dotenv",
    "jwt": "PyJWT",
    "pydantic": "pydantic",
    "orjson": "orjson",
    "tqdm": "tqdm",
    "sqlglot": "sqlglot",
    "httptools": "httptools",
}
# What only `cli.py serve` needs.
SERVICE_PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "jinja2": "Jinja2"}
# What only NOTIFY_URLS needs; without it, nothing is told.
NOTIFY_PACKAGES = {"apprise": "apprise"}
SYSTEM_MODULES = ("fcntl", "resource")


def end_on_sigterm_as_first_process() -> None:
    """In a container, let SIGTERM end the program from the first moment on.

    The kernel discards signals that the first process has no handler for, and the program's own
    handlers are there only after its imports. One that arrives even earlier is held back, if the
    process was started with SIGTERM blocked.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def exit_if_unfit(packages: "Mapping[str, str]" = PACKAGES) -> None:
    """Exit with a one-line message if the program cannot run here."""
    line = problem(Path(__file__).resolve().parents[2], packages)
    if line is not None:
        sys.stderr.write(f"{line}\n")
        sys.exit(EXIT_CONFIGURATION)


def problem(folder: Path, packages: "Mapping[str, str]" = PACKAGES) -> "str | None":
    """Why the program cannot run, in one line, or None; `folder` is the program's."""
    if sys.version_info < MIN_PYTHON:
        version = ".".join(str(part) for part in sys.version_info[:3])
        needed = ".".join(str(part) for part in MIN_PYTHON)
        return (
            f"Python {needed} or later is needed, and {sys.executable} is {version}:"
            " recreate .venv with a newer Python and run the program with .venv/bin/python"
        )
    if not all(_is_installed(module) for module in SYSTEM_MODULES):
        return f"This program runs on Linux and macOS, not on {sys.platform}"
    missing = [package for module, package in packages.items() if not _is_installed(module)]
    if missing:
        return f"Not installed for {sys.executable}: {', '.join(missing)}; {_advice(folder)}"
    return None


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # the parent package is missing, or is a different one
        return False


def _advice(folder: Path) -> str:
    environment = folder / ".venv"
    python = environment / "bin" / "python"
    install = f"{python} -m pip install -r {folder / 'requirements.txt'}"
    if Path(sys.prefix) == environment:
        return f"run {install}"
    if python.exists():
        return f"run the program with {python} (to install them there: {install})"
    return f"run python3 -m venv {environment} && {install}, then the program with {python}"
