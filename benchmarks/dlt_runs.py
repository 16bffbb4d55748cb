"""dlt 1.31.0, a library that loads data into databases, loads the same customers.

It runs in an environment of its own, as its manual says: the `sqlalchemy` destination, a primary
key, the write disposition `merge`. It keeps no raw pages, rejects no record and does not count what
has changed. A second load deletes all rows that come again, and inserts them.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote_plus

import mysql.connector

from benchmarks.ingest_figures import Cost
from benchmarks.ingest_runs import stored_wrongly
from benchmarks.measure import Command, Others, timed
from benchmarks.peer_environment import environment_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.ingest_files import Table
    from benchmarks.ingest_runs import Place
    from sandbox.private_mysql import MySQLServer

REQUIREMENTS = Path(__file__).with_name("dlt-requirements.txt")
FOLDER = "peer-dlt-1.31.0"
SCRIPT = Path(__file__).with_name("dlt_load.py")
MAX_FIRST_SECONDS = 900
# Without a primary key in the database, a second load compares each row with each other.
MAX_SECOND_SECONDS = 120


class Setup(NamedTuple):
    """A way to set up dlt: how it reads the file, and its options as variables."""

    name: str
    title: str
    way: str
    options: Mapping[str, str]


_KEYS = {"DESTINATION__SQLALCHEMY__CREATE_PRIMARY_KEYS": "true"}
SETUPS = (
    Setup("key", "dlt with the primary key in the database, rows as dictionaries", "rows", _KEYS),
    Setup(
        "arrow",
        "dlt with the primary key, as fast as documented: Arrow by DuckDB, files of 100,000 rows",
        "arrow",
        _KEYS | {"DATA_WRITER__FILE_MAX_ITEMS": "100000", "NORMALIZE__WORKERS": "2"},
    ),
    Setup("default", "dlt as it is by default: no primary key in the database", "rows", {}),
)


def install_dlt(parent: Path) -> Path:
    """The folder of the commands of dlt's environment.

    Raises:
        PeerError: it cannot be installed.
    """
    return environment_folder("dlt", parent / FOLDER, REQUIREMENTS)


def load_twice(
    place: Place, commands: Path, setup: Setup, table: Table, folder: Path
) -> tuple[Cost, Cost]:
    """Load the same file two times; each load is stopped after its limit."""
    name = f"dlt_{setup.name}"
    place.server.names += [name, f"{name}_staging"]
    command = _command(place, commands, setup, table, name)
    try:
        first, second = (
            _load(place, command, table, folder, name=name, limit=limit)
            for limit in (MAX_FIRST_SECONDS, MAX_SECOND_SECONDS)
        )
        return first, second
    finally:
        place.server.drop_databases()


def _command(place: Place, commands: Path, setup: Setup, table: Table, name: str) -> Command:
    server = place.server
    address = f"{server.user}:{quote_plus(server.password)}@{server.host}:{server.port}"
    variables = {
        "DESTINATION__SQLALCHEMY__CREDENTIALS": f"mysql+pymysql://{address}/mysql",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "PYTHONWARNINGS": "ignore",
        **setup.options,
    }
    python = str(commands / "python")
    return Command([python, str(SCRIPT), setup.way, str(table.file), name], variables)


def _load(
    place: Place, command: Command, table: Table, folder: Path, *, name: str, limit: float
) -> Cost:
    others = Others(place.source)
    try:
        used = timed(command, folder, limit)
    except subprocess.TimeoutExpired:
        _end_statements(place.server)
        return Cost(rows=table.rows, seconds=limit, is_stopped=True)
    problems = [f"exit code {used['exit_code']}"] if used["exit_code"] else []
    problems += [] if problems else stored_wrongly(place.server, name, table)
    return Cost(
        rows=table.rows,
        seconds=used["seconds"],
        cpu_seconds=used["cpu_seconds"],
        peak_bytes=used["peak_bytes"],
        busy_elsewhere=others.share(used["cpu_seconds"], used["seconds"]),
        problems=tuple(problems),
    )


def _end_statements(server: MySQLServer) -> None:
    """End what a stopped process left running in the server, which holds locks."""
    running = server.run("SHOW PROCESSLIST")
    for connection, user, _host, database, *_rest in running:
        if user == server.user and database is not None:
            with suppress(mysql.connector.Error):
                server.run(f"KILL {connection}")
