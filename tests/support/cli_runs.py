"""`cli.py` as a real process, with a file of sources in its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.runs import ROOT, finish

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from db_connection import DatabaseSettings
    from tests.support.runs import RunResult

CLI = ROOT / "cli.py"

CUSTOMERS = """
[sources.crm]
entity = "customers"
kind = "http"
url = "{url}/cursor/customers"
records = "data"
pagination = {{ kind = "cursor", parameter = "cursor", next = "paging.next" }}
page_size = {{ parameter = "limit", value = 10 }}
cursor = {{ field = "updated_at", parameter = "updated_since", overlap_seconds = 5 }}
requests_per_second = 1000
key = "id"
owns_ids = true
max_rejected_percent = 60
[sources.crm.fields]
email = "contact.email"
first_name = "name.first"
last_name = "name.last"
"""
PAGE_VIEWS = """
[sources.web]
entity = "page_views"
kind = "csv"
path = "views*.csv"
max_rejected_percent = 100
"""


def environment_of(database: DatabaseSettings) -> dict[str, str]:
    """The settings of a run; the only ones that are set."""
    login = {
        "DB_HOST": ",".join(database.hosts),
        "DB_PORT": str(database.port),
        "DB_USER": database.user,
        "DB_PASSWORD": database.password,
    }
    return {
        "DB_ENGINE": database.engine,
        "DB_NAME": database.name,
        "LOG_FILE": "run.log",
        **(login if database.engine == "mysql" else {}),
    }


def start_cli(
    folder: Path, environment: Mapping[str, str], *arguments: str
) -> subprocess.Popen[str]:
    """Start `cli.py` in `folder` with only these variables set."""
    inherited = {name: os.environ[name] for name in os.environ if name.startswith("COVERAGE_")}
    base = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONWARNINGS": "error"}
    return subprocess.Popen(
        [sys.executable, str(CLI), *arguments],
        cwd=folder,
        env=base | inherited | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def run_cli(folder: Path, environment: Mapping[str, str], *arguments: str) -> RunResult:
    """Run `cli.py` in `folder` to its end."""
    return finish(folder, start_cli(folder, environment, *arguments))
