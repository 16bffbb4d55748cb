"""The tutorial of docs/sources.md: its commands run, and print what it shows."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from functools import reduce
from typing import TYPE_CHECKING
from urllib.request import ProxyHandler, build_opener

import pytest

from integration.core.exit_codes import ExitCode
from integration.database.write_errors import RIGHTS
from sandbox.source import SourceOptions, SourceProcess
from tests.conftest import SETUP_SQL
from tests.support.cli_runs import run_cli
from tests.support.mysql_server import DEMO_NAME
from tests.support.runs import ROOT, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.mysql_server import MySQLServer

PAGE = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
TUTORIAL = PAGE.split("\n## Tutorial\n", 1)[1].split("\n## ", 1)[0]
FOLDER = "/home/you/iterable-integration/tutorial"
MARK = "--- end of block"
SOURCE_PORT, ITERABLE_PORT = "8766", "8765"
# Differs from one run to the next.
VOLATILE = {
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d": "TIME",
    r"\d+\.\d s": "SECONDS",
    r"lag +\d+ s": "lag SECONDS",
}


def blocks_of(language: str) -> list[str]:
    """The tutorial's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TUTORIAL, flags=re.MULTILINE | re.DOTALL)


def sessions() -> list[tuple[str, str]]:
    """Each block of commands, and the output below it, if it is shown."""
    found = re.findall(
        r"^```bash\n(.*?)^```$(?:\n\n^```\n(.*?)^```$)?",
        TUTORIAL,
        flags=re.MULTILINE | re.DOTALL,
    )
    return [(commands, output) for commands, output in found]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with an environment that runs this Python."""
    folder = tmp_path / "iterable-integration"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name[0] != ".":
            (folder / path.name).symlink_to(path)
    python = folder / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / ".venv" / "bin" / "activate").write_text(f'PATH="{python.parent}:$PATH"\n')
    return folder


def free_ports() -> Iterator[str]:
    """The ports of the two servers."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as other:
        ports = [str(server.getsockname()[1]) for server in (one, other)]
    yield from ports


def script(source_port: str, iterable_port: str) -> str:
    """All commands, with other ports; waits for the servers as a reader does."""
    ports = (source_port, iterable_port)
    wait = "until (: > /dev/tcp/127.0.0.1/{}) 2>/dev/null; do sleep 0.1; done"
    parts = ["trap 'kill $(jobs -p) 2>/dev/null' EXIT"]
    for commands, _ in sessions():
        text = commands.replace(SOURCE_PORT, source_port).replace(ITERABLE_PORT, iterable_port)
        text = text.replace("sandbox.source ", f"sandbox.source --port {source_port} ")
        text = text.replace("sandbox &", f"sandbox --port {iterable_port} &")
        parts.append(text)
        if "&\n" in commands:
            parts += [wait.format(port) for port in ports]
        parts.append(f"echo '{MARK}'")
    return "\n".join(parts)


def test_the_tutorial_prints_what_it_shows(checkout: Path) -> None:
    """Each command, in one shell, from an empty folder on; nothing is left."""
    ports = dict(zip((SOURCE_PORT, ITERABLE_PORT), free_ports(), strict=True))
    coverage = {name: os.environ[name] for name in os.environ if name.startswith("COVERAGE_")}

    done = subprocess.run(
        ["bash", "-c", script(*ports.values())],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **coverage},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )

    printed = done.stdout.replace(str(checkout / "tutorial"), FOLDER)
    for port, used in ports.items():
        printed = printed.replace(f":{used}", f":{port}")
    outputs = printed.split(f"{MARK}\n")
    assert len(outputs) == len(sessions()) + 1, printed
    for (commands, expected), output in zip(sessions(), outputs, strict=False):
        assert re.fullmatch(pattern_of(expected), settled(output)), f"{commands}\n{output}"
    assert not (checkout / "tutorial").exists()


def settled(text: str) -> str:
    """A text without what differs from one run to the next; the servers start at the same time."""
    for pattern, name in VOLATILE.items():
        text = re.sub(pattern, name, text)
    lines = text.splitlines(keepends=True)
    return "".join(sorted(lines) if "listening" in text else lines)


def pattern_of(expected: str) -> str:
    """`…` stands for a part of a line, and a line `...` for any lines."""
    lines = settled(expected).splitlines()
    return "".join(r"(?:.*\n)*?" if line == "..." else line_pattern(line) for line in lines)


def line_pattern(line: str) -> str:
    """The pattern of one line."""
    return ".*".join(map(re.escape, line.split("…"))) + r"\n"


def test_the_answer_that_it_shows_is_that_of_the_source() -> None:
    """Of its second customer."""
    (shown,) = map(json.loads, blocks_of("json"))
    with SourceProcess(SourceOptions(customers=200, bad=0.02)) as source:
        url = f"{source.url}/cursor/customers?limit=1&cursor={first_token(source.url)}"
        with build_opener(ProxyHandler({})).open(url, timeout=10) as response:
            assert json.load(response) == shown


def first_token(url: str) -> str:
    """The token of the second record."""
    with build_opener(ProxyHandler({})).open(f"{url}/cursor/customers?limit=1") as response:
        return str(json.load(response)["paging"]["next"])


def test_its_statements_for_mysql_are_sufficient(mysql_server: MySQLServer, tmp_path: Path) -> None:
    """For both programs, with the setup file and the read-only account of the README."""
    name = mysql_server.new_database()
    (statements,) = blocks_of("sql")
    assert RIGHTS in statements.replace("\n   ", "")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    reader = re.search(r"^ +(CREATE USER.*?)```", readme, flags=re.MULTILINE | re.DOTALL)
    assert reader
    (settings,) = blocks_of("ini")
    # A server that is shared with the tests may have accounts of these names.
    names = {f"iterable_{role}": f"{role}_{name[-12:]}" for role in ("ingest", "reader")}
    setup = SETUP_SQL.read_text(encoding="utf-8")
    *texts, settings = (
        replaced(text, names | {DEMO_NAME: name})
        for text in (setup, statements, reader[1], settings)
    )
    environment = dict(line.split("=") for line in settings.split())
    environment |= {"DB_HOST": mysql_server.host, "DB_PORT": str(mysql_server.port)}
    environment |= {"ITERABLE_API_KEY": "none", "LOG_FILE": "run.log"}
    (tmp_path / "sources.toml").write_text(
        '[sources.crm]\nentity = "customers"\nkind = "csv"\npath = "customers.csv"\nkey = "id"\n'
        "owns_ids = true\n"
    )
    (tmp_path / "customers.csv").write_text("id,email,plan_type\n7,a@example.com,pro\n")
    try:
        for sql in texts:
            assert mysql_server.client(sql, name).stderr == ""

        ingested = run_cli(tmp_path, environment, "run")
        delivered = run(tmp_path, environment, "--dry-run")
    finally:
        for user in names.values():
            mysql_server.run(f"DROP USER IF EXISTS '{user}'@'%'")
        mysql_server.drop_databases()

    assert (ingested.exit_code, ingested.stderr) == (ExitCode.OK, "")
    assert "1 record: 1 inserted" in ingested.stdout
    assert delivered.exit_code == ExitCode.OK
    assert "No pro users" in delivered.stderr


def replaced(text: str, names: dict[str, str]) -> str:
    """A text with other names."""
    return reduce(lambda so_far, pair: so_far.replace(*pair), names.items(), text)
