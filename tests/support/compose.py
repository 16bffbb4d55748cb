"""The services of docker-compose.yml as processes of this machine.

Each one gets its own command, its own environment and its own files, and nothing else. Adapted are
what a container would have of its own: folders (`/state` and the others are below one folder), the
host name `db`, and ports, which have to be free here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sandbox.private_mysql import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.mysql_server import MySQLServer

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
FOLDERS = ("app", "state", "output", "schema")
MAX_SECONDS = 60
STOP_SECONDS = 20


def interpolated(text: str) -> str:
    """A value as compose sees it with no variable set."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    assert "${" not in text, text
    return text.replace("$$", "$")


def copied_files() -> list[str]:
    """What the last stage of the Dockerfile copies from the project to /app."""
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    copies = [line.split()[1:] for line in lines if line.startswith("COPY ")]
    return [name for *names, target in copies for name in names if target.startswith("/app/")]


def image_environment() -> dict[str, str]:
    """What ENV sets, without the search path."""
    (line,) = re.findall(r"^ENV (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    return {
        name: value
        for name, _, value in (pair.partition("=") for pair in shlex.split(line))
        if name != "PATH"
    }


@dataclass
class Machine:
    """The folders and ports that the services share.

    Attributes:
        root: in which `/state` is `root/state`, and so on.
        server: what `db` is.
    """

    root: Path
    server: MySQLServer
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = {port: free_port() for port in ("8000", "8765", "8766")}
        for name in (*FOLDERS, "bin", "project/deploy"):
            (self.root / name).mkdir(parents=True)
        self._copy_image()
        shutil.copytree(ROOT / "deploy/compose", self.root / "project/deploy/compose")
        shutil.copy(ROOT / "database_setup.sql", self.root / "schema")
        subprocess.run([self.root / "project/deploy/compose/make-secrets.sh"], check=True)

    def _copy_image(self) -> None:
        ignored = shutil.ignore_patterns("__pycache__")
        for name in copied_files():
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.root / "app" / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, self.root / "app")
        for script in (ROOT / "deploy/image").iterdir():
            self._script(script.name, self.here(script.read_text(encoding="utf-8")))
        self._script("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        client = shutil.which("mariadb") or shutil.which("mysql")
        place = f"--host={self.server.host} --port={self.server.port} --protocol=tcp"
        root = f"--user={self.server.user} --password={self.server.password}"
        # The accounts sign in as they are; root is the account that the tests have.
        self._script(
            "mysql",
            "#!/bin/sh\n"
            f'case "$*" in *--user=root*) exec {client} "$@" {place} {root};; esac\n'
            f'exec {client} "$@" {place}\n',
        )

    def _script(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def here(self, text: str) -> str:
        """A text with this machine's folders and ports for those of the containers."""
        text = text.replace("/run/secrets/", f"{self.root}/project/secrets/")
        for port, free in self.ports.items():
            text = re.sub(rf"(?<=127\.0\.0\.1:){port}\b", str(free), text)
        return re.sub(rf"(?<![\w.])/({'|'.join(FOLDERS)})(?=/|$)", rf"{self.root}/\1", text)

    @property
    def search_path(self) -> str:
        """The scripts of the image, then what every machine has."""
        return f"{self.root / 'bin'}:/usr/bin:/bin"

    def environment(self, service: str) -> dict[str, str]:
        """The variables of a service, and no others."""
        own = COMPOSE["services"][service].get("environment", {})
        texts = {**image_environment(), **own}
        found = {name: self.here(interpolated(text)) for name, text in texts.items()}
        if found.get("DB_HOST") == "db":
            found |= {"DB_HOST": self.server.host, "DB_PORT": str(self.server.port)}
        if "SERVICE_HOST" in found:
            found |= {"SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": str(self.ports["8000"])}
            found["LOG_FILE"] = str(self.root / "window.log")
        measured = {name: os.environ[name] for name in os.environ if name.startswith("COVERAGE_")}
        return {"PATH": self.search_path, "LANG": "C.UTF-8", **measured, **found}

    def command(self, service: str) -> list[str]:
        """The command of a service; a mock server gets a free port."""
        words = [self.here(interpolated(word)) for word in COMPOSE["services"][service]["command"]]
        port = {"iterable": "8765", "source": "8766"}.get(service)
        return [*words, "--port", str(self.ports[port])] if port else words

    def mount(self, service: str) -> None:
        """Put the files that a service mounts into /app where they belong."""
        for volume in COMPOSE["services"][service].get("volumes", []):
            source, target, *_ = interpolated(volume).split(":")
            if source.startswith("./") and target.startswith("/app/"):
                text = (ROOT / source).read_text(encoding="utf-8")
                Path(self.here(target)).write_text(self.here(text), encoding="utf-8")

    def start(self, service: str) -> None:
        """Start a service."""
        self.mount(service)
        with (self.root / f"{service}.out").open("ab") as output:
            self.processes[service] = subprocess.Popen(
                self.command(service),
                executable=shutil.which(self.command(service)[0], path=self.search_path),
                cwd=self.root / "app",
                env=self.environment(service),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def output(self, service: str) -> str:
        """What a service has printed."""
        return (self.root / f"{service}.out").read_text(encoding="utf-8")

    def is_healthy(self, service: str) -> bool:
        """Whether the health check of a service passes."""
        kind, *words = COMPOSE["services"][service]["healthcheck"]["test"]
        words = [self.here(interpolated(word)) for word in words]
        command = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words
        done = subprocess.run(
            command,
            executable=shutil.which(command[0], path=self.search_path),
            cwd=self.root / "app",
            env=self.environment(service),
            capture_output=True,
            timeout=MAX_SECONDS,
            check=False,
        )
        return done.returncode == 0

    def wait_until_healthy(self, service: str) -> None:
        """As `docker compose up --wait` does."""
        give_up = time.monotonic() + MAX_SECONDS
        while not self.is_healthy(service):
            process = self.processes.get(service)
            assert process is None or process.poll() is None, self.output(service)
            assert time.monotonic() < give_up, self.output(service) if process else service
            time.sleep(0.2)

    def set_up_database(self) -> None:
        """What MySQL's image does with an empty volume."""
        script = self.root / "project/deploy/compose/accounts.sh"
        script.write_text(self.here(script.read_text(encoding="utf-8")), encoding="utf-8")
        subprocess.run(["/bin/bash", script], env=self.environment("db"), check=True)

    def stop(self, service: str) -> int:
        """What `docker compose stop` does; returns the exit code."""
        process = self.processes.pop(service)
        process.terminate()
        try:
            return process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()

    def stop_all(self) -> Mapping[str, int]:
        """The exit codes, the last one started first."""
        return {service: self.stop(service) for service in reversed(list(self.processes))}
