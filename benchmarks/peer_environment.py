"""Virtual environments of other tools: made once, used for the benchmark only.

PeerError    the tool cannot be installed
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("peer-requirements.txt")
FOLDER = "peer-drt-core-1.2.1"
INSTALL_SECONDS = 600
# Written last: a folder without it, or with another list in it, is recreated.
_INSTALLED = "installed.txt"


class PeerError(Exception):
    """The peer is not available; the message says why, in one line."""


def drt_folder(parent: Path) -> Path:
    """The folder of the command `drt`, which is installed below `parent` if it is not there.

    Raises:
        PeerError: it cannot be installed.
    """
    return environment_folder("drt", parent / FOLDER, REQUIREMENTS)


def environment_folder(tool: str, folder: Path, requirements: Path) -> Path:
    """The folder of a tool's commands, in an environment that is created if it is missing.

    Raises:
        PeerError: it cannot be installed.
    """
    environment = folder.resolve()
    wanted = requirements.read_text(encoding="utf-8")
    done = environment / _INSTALLED
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(environment, ignore_errors=True)
        _run(tool, sys.executable, "-m", "venv", str(environment))
        _run(
            tool,
            str(environment / "bin" / "python"),
            *("-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--compile"),
            *("--only-binary=:all:", "--requirement", str(requirements)),
        )
        done.write_text(wanted, encoding="utf-8")
    return environment / "bin"


def _run(tool: str, *command: str) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=True)
    except subprocess.CalledProcessError as error:
        raise PeerError(
            f"{tool} cannot be installed: {complaint_of(error.stderr or error.stdout)}"
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerError(f"{tool} cannot be installed: {error}") from error


def complaint_of(output: str) -> str:
    """The last error message of pip, or its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no message"])[-1]
