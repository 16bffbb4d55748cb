"""What `main.py --demo` runs against: a bundled database and a mock Iterable server."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.database import create_database
from sandbox.options import DEFAULT_API_KEY
from sandbox.process import SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO_OUTPUT_DIR = Path("demo_output")


@contextmanager
def bundled_services(output_dir: Path | None) -> Iterator[dict[str, str]]:
    """Start the services and yield the settings' variables for them.

    Settings of the environment are ignored, so a demo never reaches a real project. The run's
    files (CSV, JSON, log, journal) go to `output_dir`, or to `demo_output`.
    """
    with tempfile.TemporaryDirectory() as folder, SandboxProcess() as sandbox:
        database = Path(folder) / "demo.db"
        create_database(database)
        yield demo_services(database, sandbox) | demo_files(output_dir)


def demo_services(database: Path, sandbox: SandboxProcess) -> dict[str, str]:
    """The settings' variables for an SQLite database and a mock Iterable server."""
    return {
        "DB_ENGINE": "sqlite",
        "DB_NAME": str(database),
        "ITERABLE_API_KEY": DEFAULT_API_KEY,
        "ITERABLE_API_BASE_URL": sandbox.url,
    }


def demo_files(output_dir: Path | None) -> dict[str, str]:
    """The settings' variables for the demo's files."""
    folder = output_dir or DEMO_OUTPUT_DIR
    return {
        "LOG_FILE": str(folder / "iterable_integration.log"),
        "OUTPUT_DIR": str(folder),
        "JOURNAL_FILE": str(folder / "iterable_journal.db"),
    }
