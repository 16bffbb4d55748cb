"""A private PostgreSQL server for the tests and the benchmarks.

It uses a temporary folder and a free port of this machine, and stops with its context.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db_connection import DatabaseSettings
from sandbox.private_mysql import LOG, NoServerError, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NONE_INSTALLED = "no PostgreSQL server: install one (Debian: apt install postgresql)"
START_SECONDS = 60
STOP_SECONDS = 20
USER = "tester"
# Debian has the server's programs in a folder for each version.
DEBIAN_FOLDERS = "/usr/lib/postgresql"
OPTIONS = (
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "shared_buffers=32MB",
    "timezone=America/Phoenix",  # a program that does not set UTC must fail a test
    "max_connections=20",
)


@dataclass
class PostgreSQLServer:
    """A running server and an account with all privileges."""

    port: int
    password: str
    process: subprocess.Popen[bytes]
    folder: Path
    host: str = "127.0.0.1"
    user: str = USER

    def settings(self, name: str = "postgres") -> DatabaseSettings:
        """The program's settings for one database of this server."""
        return DatabaseSettings(
            engine="postgresql",
            hosts=(self.host,),
            port=self.port,
            user=self.user,
            password=self.password,
            name=name,
        )

    def url(self, name: str = "postgres", user: str = USER, password: str | None = None) -> str:
        """The same as DATABASE_URL."""
        secret = self.password if password is None else password
        return f"postgresql://{user}:{secret}@{self.host}:{self.port}/{name}"

    @contextmanager
    def connected(self, name: str = "postgres") -> Iterator[Any]:
        """A plain driver connection, to prepare and inspect data independently of the program."""
        import psycopg  # noqa: PLC0415  an extra

        connection = psycopg.connect(self.url(name), autocommit=True)
        try:
            yield connection
        finally:
            connection.close()

    def run(self, *statements: str, name: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements and return the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        with self.connected(name) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def new_database(self) -> str:
        """Create an empty database with a unique name; it stays until the server ends."""
        name = f"iterable_test_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name}")
        return name

    def stop(self) -> None:
        """Stop the server: SIGINT ends all sessions, then SIGKILL."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(2)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def find_program(name: str) -> str | None:
    """One of the server's programs, of the newest version on this machine."""
    versions = Path(DEBIAN_FOLDERS).glob("*/bin")
    folders = sorted(versions, key=lambda folder: float(folder.parent.name), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ["PATH"]]))


@contextmanager
def private_server(*options: str, tls: bool = False) -> Iterator[PostgreSQLServer]:
    """A private server, with extra options as `name=value`.

    Args:
        options: of the server.
        tls: the folder gets `server.crt` and `server.key` by openssl, for 127.0.0.1.

    Raises:
        NoServerError: none is available.
    """
    program, installer = find_program("postgres"), find_program("initdb")
    if program is None or installer is None:
        raise NoServerError(NONE_INSTALLED)
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder = Path(name)
        try:
            password = _make_data_folder(installer, folder)
            extra = [*options, *(_tls_options(folder) if tls else ())]
            server = _start(program, folder, password, extra)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise NoServerError(f"{program} does not start: {error}") from error
        try:
            yield server
        finally:
            server.stop()


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: the account of Debian's package runs it then."""
    return {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")


def _make_data_folder(installer: str, folder: Path) -> str:
    """Install an empty server in `folder`/data; the password of its account."""
    password = secrets.token_hex(16)
    password_file = folder / "password"
    password_file.write_text(password)
    _give_away(folder)
    _give_away(password_file)
    done = subprocess.run(
        [
            *(installer, "-D", str(folder / "data"), "-U", USER, f"--pwfile={password_file}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        **_account(),
    )
    if done.returncode != 0:
        raise RuntimeError(" ".join(done.stderr.split()))
    return password


def _tls_options(folder: Path) -> list[str]:
    """A certificate that is its own authority."""
    certificate, key = folder / "server.crt", folder / "server.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    _give_away(key)
    _give_away(certificate)
    key.chmod(0o600)
    return ["ssl=on", f"ssl_cert_file={certificate}", f"ssl_key_file={key}"]


def _start(program: str, folder: Path, password: str, options: Sequence[str]) -> PostgreSQLServer:
    port = free_port()
    settings = [part for option in (*OPTIONS, *options) for part in ("-c", option)]
    log = folder / LOG
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "-D", str(folder / "data"), "-p", str(port), "-k", str(folder), *settings],
            stdout=output,
            stderr=output,
            cwd=folder,
            **_account(),
        )
    server = PostgreSQLServer(port, password, process, folder)
    try:
        _wait_until_it_answers(server, log)
    except BaseException:
        server.stop()
        raise
    return server


def _wait_until_it_answers(server: PostgreSQLServer, log: Path) -> None:
    import psycopg  # noqa: PLC0415  an extra

    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and server.process.poll() is None:
        try:
            with server.connected():
                return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise RuntimeError(" ".join(log.read_text(errors="replace").split()[-40:]))
