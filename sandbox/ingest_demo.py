"""The bundled parts of `cli.py demo`: an API, a CSV, a database and a mock Iterable server.

All files are in one folder and stay there, so that a second demo finds what the first one stored.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from integration.config.database_url import DATABASE_URL
from integration.config.ingest_settings import INGEST_VARIABLES
from integration.config.loading import FILE_SUFFIX
from integration.config.notify_settings import NOTIFY_VARIABLES
from integration.config.service_settings import SERVICE_VARIABLES
from integration.config.settings import VARIABLES
from integration.core.files import (
    FileError,
    atomic_write,
    display_path,
    ensure_writable_folder,
)
from sandbox.database import create_database
from sandbox.demo import DEMO_OUTPUT_DIR, demo_files, demo_services
from sandbox.process import SandboxProcess
from sandbox.source.data import Table
from sandbox.source.downloads import csv_lines
from sandbox.source.options import SourceOptions
from sandbox.source.process import SourceProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_PROGRAM_DIR = Path(__file__).resolve().parent.parent
_TOKEN = {"CRM_TOKEN": "demo-token"}
# Some records have something wrong.
_SOURCE = SourceOptions(customers=120, page_views=60, bad=0.05, token=_TOKEN["CRM_TOKEN"])
_SECONDS_OF_A_DAY = 86_400
_SOURCES = """\
# The sources of `cli.py demo`, which writes this file again each time.

[sources.crm]
entity = "customers"
kind = "http"
url = "{url}/cursor/customers"
auth = {{ prefix = "Bearer ", variable = "CRM_TOKEN" }}
records = "data"
pagination = {{ kind = "cursor", parameter = "cursor", next = "paging.next" }}
page_size = {{ parameter = "limit", value = 50 }}
cursor = {{ field = "updated_at", parameter = "updated_since", overlap_seconds = 0 }}
key = "id"
owns_ids = true

[sources.crm.fields]
email = "contact.email"
first_name = "name.first"
last_name = "name.last"

[sources.web]
entity = "page_views"
kind = "csv"
path = "{views}"
key = "id"
customer = "email"
"""


@dataclass(frozen=True, slots=True)
class IngestDemo:
    """The demo's files, relative to the working directory, and the commands for them."""

    folder: Path = DEMO_OUTPUT_DIR

    @property
    def settings(self) -> Path:
        """The settings, as a `.env`."""
        return self.folder / "demo.env"

    @property
    def sources(self) -> Path:
        """The sources."""
        return self.folder / "sources.toml"

    @property
    def views(self) -> Path:
        """The page views."""
        return self.folder / "page_views.csv"

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.folder / "demo.db"

    def cli(self, command: str, *arguments: str) -> list[str]:
        """A command of `cli.py` on these files."""
        files = ["--env-file", str(self.settings), "--sources", str(self.sources)]
        return [*_program("cli.py"), command, *files, *arguments]

    def main(self, *arguments: str) -> list[str]:
        """A command of `main.py` on these files."""
        return [*_program("main.py"), "--env-file", str(self.settings), *arguments]


def _program(name: str) -> list[str]:
    return [str(display_path(path)) for path in (Path(sys.executable), _PROGRAM_DIR / name)]


def foreign_settings(environment: Mapping[str, str]) -> list[str]:
    """The settings of an environment, which would take precedence over those of the demo."""
    names = [*VARIABLES, *INGEST_VARIABLES, *SERVICE_VARIABLES, *NOTIFY_VARIABLES]
    names += [DATABASE_URL, *_TOKEN]
    names += [name + FILE_SUFFIX for name in names]
    return [name for name in names if name in environment]


def as_typed(command: Iterable[str]) -> str:
    """A command as it can be copied into a shell with this process's environment."""
    unset = [part for name in foreign_settings(os.environ) for part in ("-u", name)]
    return shlex.join([*(["env", *unset] if unset else []), *command])


@contextmanager
def bundled_sources(demo: IngestDemo) -> Iterator[None]:
    """Start the servers and write the files; the servers run until the block ends.

    Raises:
        FileError: the folder cannot be written.
    """
    ensure_writable_folder(demo.folder)
    with SourceProcess(_SOURCE) as source, SandboxProcess() as sandbox:
        _create_database(demo.database)
        _write_views(demo.views)
        _write(demo.sources, _SOURCES.format(url=source.url, views=demo.views))
        services = demo_services(demo.database, sandbox)
        settings = services | demo_files(demo.folder) | _TOKEN
        _write(demo.settings, "".join(f"{name}={value}\n" for name, value in settings.items()))
        yield


def _create_database(path: Path) -> None:
    """A database with empty tables, if there is none; under its name only when it is complete."""
    if path.exists():
        return
    new = path.with_suffix(".part")
    try:
        create_database(new, empty=True)
        new.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise FileError(f"Cannot write {path}: {error}") from error


def _write_views(path: Path) -> None:
    """The page views of the last minute, unless the file is younger than a day.

    Query 2 finds views of the last seven days.
    """
    if path.exists() and time.time() - path.stat().st_mtime < _SECONDS_OF_A_DAY:
        return
    newest = datetime.now(UTC).isoformat(timespec="seconds")
    views = Table("page_views", _SOURCE.changed({"newest": newest}))
    _write(path, b"".join(csv_lines(views)).decode())


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text)
