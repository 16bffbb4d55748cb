"""The wiring of the run: where settings come from, and the client made from them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from integration.config.arguments import __version__
from integration.config.settings import load_settings
from integration.core.shutdown import Stop
from main import make_client
from tests.support.runs import (
    ROOT,
    RunResult,
    database_of,
    environment_for,
    finish,
    run,
    start,
    wait_until,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.process import SandboxProcess

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
DEMO_EMAILS = ["delgadoalex10@gmail.com", "sarah.johnson@email.com", "mia.harris@email.com"]


def write_env_file(path: Path, variables: dict[str, str]) -> None:
    """A `.env` with these variables."""
    lines = [f"{name}='{value}'\n" for name, value in variables.items()]
    path.write_text("".join(lines), encoding="utf-8")


def test_a_demo_never_reaches_a_real_project(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Neither the environment nor `.env` decides where it reads and what it calls."""
    database = database_of(tmp_path / "customers.sqlite", ["real@example.com"])
    elsewhere = {"ITERABLE_API_KEY": "a-real-key", "LOG_FILE": "real.log", "USE_JWT_AUTH": "true"}
    variables = environment_for(tmp_path, sandbox, database) | elsewhere
    write_env_file(tmp_path / ".env", variables)

    demo = run(tmp_path, variables, "--demo")

    assert sandbox.calls() == []
    assert (demo.exit_code, demo.stderr) == (0, "")
    left = RunResult(tmp_path / "demo_output", demo.exit_code, demo.stdout, demo.stderr)
    assert [row["email"] for row in left.csv_rows] == DEMO_EMAILS
    assert not (tmp_path / "real.log").exists()


@pytest.fixture
def program_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of the program, which may have a `.env` next to it."""
    folder = tmp_path / "program"
    folder.mkdir()
    for path in [*ROOT.glob("*.py"), ROOT / "phase2_queries.sql"]:
        shutil.copy(path, folder)
    shutil.copytree(ROOT / "integration", folder / "integration")
    monkeypatch.setattr("tests.support.runs.MAIN", folder / "main.py")
    return folder


@pytest.mark.parametrize(
    ("places", "arguments", "used"),
    [
        (("named", "working", "program"), ("--env-file", "named.env"), "named"),
        (("working", "program"), (), "working"),
        (("program",), (), "program"),
    ],
    ids=["--env-file", "working directory", "beside main.py"],
)
def test_the_settings_are_those_of_the_nearest_env_file(
    tmp_path: Path,
    program_dir: Path,
    places: tuple[str, ...],
    arguments: tuple[str, ...],
    used: str,
) -> None:
    """The one that is named, else the working directory's, else the one next to `main.py`."""
    files = {
        "named": tmp_path / "named.env",
        "working": tmp_path / ".env",
        "program": program_dir / ".env",
    }
    for place in places:
        variables = environment_for(tmp_path, None, None) | {"JOURNAL_FILE": f"{place}.db"}
        write_env_file(files[place], variables)

    asked = run(tmp_path, {}, "--status", *arguments)

    assert (asked.exit_code, asked.stderr) == (0, "")
    assert f"No journal at {used}.db: " in asked.stdout


def has_been_read(pipe: Path, content: bytes) -> bool:
    """Whether a reader has opened the named pipe, and has now received this content."""
    try:
        writing = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.write(writing, content)
    os.close(writing)
    return True


def test_the_settings_may_come_from_a_pipe(tmp_path: Path) -> None:
    """As with `--env-file <(decrypt settings)`: secrets need not be stored in a file."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as pipe:
        pipe.write("JOURNAL_FILE=from-the-pipe.db\n")
    try:
        arguments = ("--status", "--env-file", f"/dev/fd/{reading}")
        asked = finish(tmp_path, start(tmp_path, {}, *arguments, pass_fds=(reading,)))
    finally:
        os.close(reading)

    assert (asked.exit_code, asked.stderr) == (0, "")
    assert "No journal at from-the-pipe.db: " in asked.stdout


def test_the_env_file_may_be_a_named_pipe(tmp_path: Path) -> None:
    """Some password managers mount one as `.env`."""
    os.mkfifo(tmp_path / ".env")
    process = start(tmp_path, {}, "--status")
    wait_until(process, lambda: has_been_read(tmp_path / ".env", b"JOURNAL_FILE=from-the-pipe.db"))

    asked = finish(tmp_path, process)

    assert (asked.exit_code, asked.stderr) == (0, "")
    assert "No journal at from-the-pipe.db: " in asked.stdout


def test_requests_name_the_program_and_its_version() -> None:
    """Iterable's logs, or a proxy's, show which program made a request."""
    seen: list[bytes] = []

    def answer_once(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            seen.append(connection.recv(65536))
            connection.sendall(ANSWER)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_once, args=(server,))
        thread.start()
        settings = load_settings(
            {
                "DB_ENGINE": "sqlite",
                "DB_NAME": "customers.sqlite",
                "ITERABLE_API_KEY": "sandbox-key",
                "ITERABLE_API_BASE_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
                "REQUEST_TIMEOUT": "60",
            }
        )
        with closing(make_client(settings, Stop())) as client:
            assert client.read_user("ada@example.com").success
        thread.join()

    assert re.findall(rb"(?mi)^User-Agent: (.*)\r$", seen[0]) == [
        f"iterable-integration/{__version__}".encode()
    ]
