"""A private MySQL or MariaDB server for the tests and the benchmarks.

It uses a temporary folder and a free port of this machine, and stops with its context.

    NoServerError    no server program is installed, or it fails to start
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mysql.connector

from db_connection import DatabaseSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NONE_INSTALLED = "no MySQL server: install one (Debian: apt install mariadb-server)"
START_SECONDS = 60
MAX_ANSWER_SECONDS = 5
MAX_PORTS = 3
LOG = "server.log"
PORT_IS_TAKEN = "Address already in use"
STOP_SECONDS = 20
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


class NoServerError(Exception):
    """No server is available; the message says why, in one line."""


@dataclass
class MySQLServer:
    """A running server and an account with all privileges."""

    host: str
    port: int
    user: str
    password: str
    process: subprocess.Popen[bytes] | None = None
    folder: Path | None = None
    names: list[str] = field(default_factory=list)

    def settings(self, name: str) -> DatabaseSettings:
        """The program's settings for one database of this server."""
        return DatabaseSettings(
            engine="mysql",
            hosts=(self.host,),
            port=self.port,
            user=self.user,
            password=self.password,
            name=name,
        )

    @contextmanager
    def connected(self, name: str | None = None, **options: Any) -> Iterator[Any]:
        """A plain driver connection, to prepare and inspect data independently of the program."""
        arguments = ({"database": name} if name else {}) | options
        connection = mysql.connector.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            charset="utf8mb4",
            collation="utf8mb4_general_ci",
            time_zone="+00:00",
            autocommit=True,
            **arguments,
        )
        try:
            yield connection
        finally:
            connection.close()

    def run(self, *statements: str, name: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements and return the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        with self.connected(name) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall() if cursor.with_rows else []
        return rows

    def new_database(self) -> str:
        """Create an empty database with a unique name."""
        name = f"iterable_test_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        self.names.append(name)
        return name

    def drop_databases(self) -> None:
        """Remove what `new_database` made."""
        self.run(*(f"DROP DATABASE IF EXISTS {name}" for name in self.names))
        self.names.clear()

    def stop(self) -> None:
        """Stop a private server: SIGTERM first, then SIGKILL."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def private_server(*options: str) -> Iterator[MySQLServer]:
    """A private server, with extra command-line options.

    Raises:
        NoServerError: none is available.
    """
    program = find_server()
    if program is None:
        raise NoServerError(NONE_INSTALLED)
    # Not a folder of the caller: a socket's path must be shorter than 108 bytes.
    with tempfile.TemporaryDirectory(prefix="db-") as name:
        folder = Path(name)
        try:
            make_data_folder(program, folder)
            server = _start(program, folder, options)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise NoServerError(f"{program} does not start: {error}") from error
        try:
            yield server
        finally:
            server.stop()


def find_server() -> str | None:
    """The server program on this machine, if any."""
    return _find_program("mysqld", "mariadbd")


def _find_program(*names: str) -> str | None:
    return next(filter(None, (shutil.which(name, path=SEARCH_PATH) for name in names)), None)


def is_mariadb(program: str) -> bool:
    """Whether it is MariaDB, as Debian's mysqld is: only its version says so."""
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return "mariadb" in answer.stdout.lower()


def _as_root() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


def environment_of(folder: Path) -> dict[str, str]:
    """Give the server its own TMPDIR.

    A MariaDB that starts removes all temporary tables from its TMPDIR, those of a server that
    runs on this machine too.
    """
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(temporary)}


def make_data_folder(program: str, folder: Path) -> None:
    """Install an empty server in `folder`/data."""
    data = f"--datadir={folder / 'data'}"
    if is_mariadb(program):
        installer = _find_program("mariadb-install-db", "mysql_install_db")
        if installer is None:
            raise RuntimeError("mariadb-install-db is missing")
        quiet = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        command = [installer, "--no-defaults", data, *quiet, *_as_root()]
    else:
        command = [program, "--no-defaults", "--initialize-insecure", data, *_as_root()]
    done = subprocess.run(
        command,
        env=environment_of(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(complaint_of(done.stderr or done.stdout))


def _start(program: str, folder: Path, options: Sequence[str]) -> MySQLServer:
    """Start the server; its first statement creates an account that can sign in over TCP."""
    password = secrets.token_hex(16)
    init_file = folder / "init.sql"
    init_file.write_text(
        f"CREATE USER 'tester'@'%' IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON *.* TO 'tester'@'%' WITH GRANT OPTION;\n"
    )
    command = [program, *_arguments(folder, init_file), *options]
    tries_left = MAX_PORTS
    while True:
        tries_left -= 1
        server = _start_once(command, folder, password)
        try:
            _wait_until_it_answers(server, folder / LOG)
        except BaseException as error:
            server.stop()
            # Another program may take the port before the server listens on it.
            if tries_left and PORT_IS_TAKEN in str(error):
                continue
            raise
        return server


def _arguments(folder: Path, init_file: Path) -> list[str]:
    return [
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        f"--secure-file-priv={folder}",  # the default folder need not exist
        f"--socket={folder / 'socket'}",
        f"--pid-file={folder / 'pid'}",
        f"--init-file={init_file}",
        "--bind-address=127.0.0.1",
        "--default-time-zone=-07:00",  # a program that does not set UTC must fail a test
        "--skip-name-resolve",  # else MariaDB's anonymous user at localhost comes first
        "--innodb-buffer-pool-size=32M",
        "--innodb-flush-log-at-trx-commit=0",
        "--loose-innodb-log-file-size=16M",
        "--loose-performance-schema=OFF",
        "--loose-mysqlx=OFF",
        "--skip-log-bin",
        *_as_root(),
    ]


def _start_once(command: Sequence[str], folder: Path, password: str) -> MySQLServer:
    port = free_port()
    with (folder / LOG).open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--port={port}"],
            env=environment_of(folder),
            stdout=output,
            stderr=output,
        )
    return MySQLServer("127.0.0.1", port, "tester", password, process, folder)


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_answers(server: MySQLServer, log: Path) -> None:
    assert server.process is not None
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if server.process.poll() is not None:
            break
        try:
            # Another program that has taken the port need not answer at all.
            with server.connected(connection_timeout=MAX_ANSWER_SECONDS):
                return
        except mysql.connector.Error:
            time.sleep(0.05)
    raise RuntimeError(complaint_of(log.read_text(errors="replace")))


def complaint_of(log: str) -> str:
    """The error message of a server that failed to start, on one line."""
    lines = log.strip().splitlines() or ["it says nothing"]
    errors = [line for line in lines if "ERROR" in line]
    return " ".join((errors or lines[-1:])[0].split())
