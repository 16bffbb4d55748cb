"""A Galera cluster of three MariaDB servers on this machine, in a temporary folder.

The nodes are 127.0.0.1, 127.0.0.2 and 127.0.0.3 on one port, as DB_HOST and DB_PORT name them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import mysql.connector

from sandbox.private_mysql import (
    SEARCH_PATH,
    complaint_of,
    environment_of,
    free_port,
    make_data_folder,
)
from tests.support.mysql_server import MySQLServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db_connection import DatabaseSettings

PROVIDERS = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so")
HOW_TO_GET_IT = "no Galera: install it (Debian: apt install mariadb-server galera-4 rsync)"
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
START_SECONDS = 90
SERVER_USER = "mysql"


class NoGaleraError(Exception):
    """A cluster cannot be started; the message says why, in one line."""


@dataclass(frozen=True)
class Cluster:
    """Running nodes; a test may kill some of them."""

    nodes: list[MySQLServer]

    def settings(self, name: str) -> DatabaseSettings:
        """The program's settings for a database, with all nodes as hosts."""
        return replace(self.nodes[0].settings(name), hosts=HOSTS)

    def lose(self, node: MySQLServer) -> None:
        """Kill -9 a node."""
        assert node.process is not None
        node.process.kill()
        node.process.wait()

    def wait_until_equal(self) -> None:
        """Wait until every node has the same data."""
        for node in self.nodes:
            node.run("SET SESSION wsrep_sync_wait = 1", "SELECT COUNT(*) FROM mysql.user")


@contextmanager
def galera_cluster() -> Iterator[Cluster]:
    """Three connected nodes.

    Raises:
        NoGaleraError: no cluster can be started.
    """
    provider = next((path for path in PROVIDERS if Path(path).exists()), None)
    program = shutil.which("mariadbd", path=SEARCH_PATH)
    if provider is None or program is None or shutil.which("rsync") is None:
        raise NoGaleraError(HOW_TO_GET_IT)
    with tempfile.TemporaryDirectory(prefix="galera-") as name:
        builder = _Builder(program, provider, Path(name))
        try:
            for host in HOSTS:
                builder.add(host)
            yield Cluster(builder.nodes)
        finally:
            for node in reversed(builder.nodes):
                node.stop()


class _Builder:
    """Starts one node after another; each copies the first one's data."""

    def __init__(self, program: str, provider: str, folder: Path) -> None:
        self.nodes: list[MySQLServer] = []
        self._program = program
        self._provider = provider
        self._folder = folder
        self._port, self._group_port, self._ist_port, self._sst_port = (
            free_port() for _ in range(4)
        )
        self._password = secrets.token_hex(16)

    def add(self, host: str) -> None:
        """Start a node and wait until it is in sync with the first one."""
        folder = self._folder / host
        (folder / "data").mkdir(parents=True)
        first = not self.nodes
        if first:
            shutil.rmtree(folder / "data")
            make_data_folder(self._program, folder)
        log = folder / "server.log"
        command = self._command(host, folder, first=first)
        environment = environment_of(folder)
        _give_to_the_servers_user(self._folder)
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        node = MySQLServer(host, self._port, "tester", self._password, process, folder)
        self.nodes.append(node)
        _wait_until_synced(node, log)

    def _command(self, host: str, folder: Path, *, first: bool) -> list[str]:
        members = ",".join(f"{each}:{self._group_port}" for each in HOSTS)
        provider_options = (
            f"gmcast.listen_addr=tcp://{host}:{self._group_port};"
            f"ist.recv_addr={host}:{self._ist_port};gcache.size=64M"
        )
        return [
            self._program,
            "--no-defaults",
            f"--datadir={folder / 'data'}",
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            f"--port={self._port}",
            f"--bind-address={host}",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-autoinc-lock-mode=2",
            "--binlog-format=ROW",
            "--wsrep-on=ON",
            f"--wsrep-provider={self._provider}",
            f"--wsrep-provider-options={provider_options}",
            "--wsrep-cluster-name=iterable-test",
            f"--wsrep-cluster-address=gcomm://{members}",
            f"--wsrep-node-address={host}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address={host}:{self._sst_port}",
            *(self._first_steps(folder) if first else []),
            *([f"--user={SERVER_USER}"] if os.geteuid() == 0 else []),
        ]

    def _first_steps(self, folder: Path) -> list[str]:
        init_file = folder / "init.sql"
        init_file.write_text(
            f"CREATE USER 'tester'@'%' IDENTIFIED BY '{self._password}';\n"
            "GRANT ALL ON *.* TO 'tester'@'%' WITH GRANT OPTION;\n"
        )
        return ["--wsrep-new-cluster", f"--init-file={init_file}"]


def _wait_until_synced(node: MySQLServer, log: Path) -> None:
    assert node.process is not None
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and node.process.poll() is None:
        try:
            if node.run("SHOW STATUS LIKE 'wsrep_local_state_comment'")[0][1] == "Synced":
                return
        except mysql.connector.Error:
            pass
        time.sleep(0.2)
    complaint = complaint_of(log.read_text(errors="replace"))
    raise NoGaleraError(f"{node.host} does not start: {complaint}")


def _give_to_the_servers_user(folder: Path) -> None:
    """Give files to the user that Debian's package creates.

    As root, nothing could be copied between nodes: the rsync daemon of a node that root
    started writes as the Unix user `nobody`.
    """
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, SERVER_USER, SERVER_USER)
