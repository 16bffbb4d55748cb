"""A real MySQL or MariaDB server for the tests.

A private one, in a temporary folder and on a free port of this machine, when `mysqld` or
`mariadbd` is installed; or the one that TEST_DB_HOST, TEST_DB_PORT, TEST_DB_USER and
TEST_DB_PASSWORD name. On that server, only databases that the tests created are changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest

from sandbox import private_mysql
from sandbox.private_mysql import NONE_INSTALLED, NoServerError, find_server, is_mariadb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["DEMO_NAME", "MySQLServer", "any_server", "find_server", "is_mariadb", "private_server"]

HOW_TO_GET_ONE = (
    f"{NONE_INSTALLED}, or set TEST_DB_HOST, TEST_DB_PORT, TEST_DB_USER and TEST_DB_PASSWORD"
)
DEMO_NAME = "iterable_challenge"


class MySQLServer(private_mysql.MySQLServer):
    """A running server and an account with all privileges on it."""

    def client(
        self, sql: str, name: str, arguments: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a file's text in the real command-line client, on database `name`.

        The SQL files contain the demo's own database name; it is replaced, since a server that is
        shared with the tests may have a database of that name.
        """
        program = shutil.which("mariadb") or shutil.which("mysql")
        if program is None:
            missing("no mysql client: install one (Debian: apt install mariadb-client)")
        with tempfile.NamedTemporaryFile("w", suffix=".cnf") as secret:
            secret.write(f'[client]\npassword="{self.password}"\n')
            secret.flush()
            return subprocess.run(
                [
                    program,
                    f"--defaults-file={secret.name}",
                    f"--host={self.host}",
                    f"--port={self.port}",
                    f"--user={self.user}",
                    "--protocol=tcp",
                    "--default-character-set=utf8mb4",
                    *arguments,
                ],
                input=sql.replace(DEMO_NAME, name),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it if REQUIRE_MYSQL=1 says that it has to run."""
    if os.environ.get("REQUIRE_MYSQL") == "1":
        pytest.fail(f"REQUIRE_MYSQL=1, but {reason}")
    pytest.skip(reason)


@contextmanager
def any_server() -> Iterator[MySQLServer]:
    """The server that TEST_DB_HOST names, else a private one, else skip the test."""
    if "TEST_DB_HOST" in os.environ:
        server = MySQLServer(
            host=os.environ["TEST_DB_HOST"],
            port=int(os.environ.get("TEST_DB_PORT", "3306")),
            user=os.environ.get("TEST_DB_USER", "root"),
            password=os.environ.get("TEST_DB_PASSWORD", ""),
        )
        try:
            yield server
        finally:
            server.drop_databases()
    else:
        with private_server() as server:
            yield server


@contextmanager
def private_server(*options: str) -> Iterator[MySQLServer]:
    """A server private to this test, optionally with extra command-line options."""
    with ExitStack() as cleanup:
        try:
            server = cleanup.enter_context(private_mysql.private_server(*options))
        except NoServerError as error:
            missing(HOW_TO_GET_ONE if str(error) == NONE_INSTALLED else str(error))
        yield MySQLServer(
            server.host, server.port, server.user, server.password, server.process, server.folder
        )
