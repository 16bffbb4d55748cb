"""`cli.py demo`: from a mock API and a CSV through the database to a mock Iterable server."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from integration.core.exit_codes import ExitCode
from integration.service.json_paths import PATHS
from tests.support.cli_runs import run_cli, start_cli
from tests.support.runs import ROOT, RunResult, environment_for, finish, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.process import SandboxProcess

RUNS = (
    "SELECT source, records, inserted, updated, unchanged, rejected, status"
    " FROM etl_runs ORDER BY run_id"
)


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query on the demo's database."""
    with closing(sqlite3.connect(folder / "demo_output" / "demo.db")) as connection:
        return connection.execute(sql).fetchall()


def results_of(folder: Path) -> list[dict[str, Any]]:
    """The results files, oldest first."""
    paths = sorted((folder / "demo_output").glob("integration_results_*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def commands_of(demo: RunResult) -> list[str]:
    """The commands that the demo prints at its end."""
    following = demo.stdout.partition("What to look at next")[2]
    return re.findall(r"^    (\S.*)$", following, flags=re.MULTILINE)


def test_a_demo_goes_the_whole_way_and_its_commands_can_be_copied(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Also with settings of a real project in the environment; a second one finds nothing new."""
    real = environment_for(tmp_path, sandbox, tmp_path / "real.db") | {"DATABASE_URL": ""}
    (tmp_path / ".env").write_text("ITERABLE_API_KEY=real\nLOG_FILE=real.log\n", encoding="utf-8")

    first = run_cli(tmp_path, real, "demo", "--once")

    assert first.exit_code == ExitCode.OK, first.stderr
    assert "The rejected records were expected" in first.stdout
    assert query(tmp_path, RUNS) == [
        ("crm", 120, 114, 0, 0, 6, "completed"),
        ("web", 60, 56, 0, 0, 4, "completed"),
    ]
    (results,) = results_of(tmp_path)
    assert (results["total_users"], results["successful"]) == (8, 8)
    serve, *others = commands_of(first)
    assert " serve " in serve
    stats, rejected, status = (copied(tmp_path, real, line) for line in others)
    assert "crm (http, customers)\n  stored        114, still rejected 6" in stats
    assert "2 malformed: the record cannot be decoded" in rejected
    assert "No users are pending." in status

    second = run_cli(tmp_path, real, "demo", "--once")

    assert (second.exit_code, second.stderr) == (ExitCode.OK, "")
    assert "expected" not in second.stdout
    assert query(tmp_path, RUNS)[2:] == [
        ("crm", 1, 0, 0, 1, 0, "completed"),
        ("web", 0, 0, 0, 0, 0, "completed"),
    ]
    assert [one["successful"] for one in results_of(tmp_path)] == [8, 8]
    assert sandbox.calls() == []
    assert not list(tmp_path.glob("real*"))


def test_a_demo_ends_in_the_window(tmp_path: Path) -> None:
    """Until Ctrl-C, which is no failure; the commands of docs/window.md work on it."""
    demo = start_cli(tmp_path, {}, "demo")
    log = tmp_path / "demo_output" / "iterable_integration.log"
    address = re.compile(r"The window is at (http://127\.0\.0\.1:\d+/)")
    wait_until(demo, lambda: log.exists() and bool(address.search(log.read_text(encoding="utf-8"))))
    (url,) = address.findall(log.read_text(encoding="utf-8"))
    with urlopen(url) as page:
        assert b"Delivery 1" in page.read()
    documented = (ROOT / "docs" / "window.md").read_text(encoding="utf-8")
    commands = re.findall(r"^curl -sS '(.*)'$", documented, flags=re.MULTILINE)
    for command in commands:
        with urlopen(command.replace("http://127.0.0.1:8000/", url)) as answer:
            assert answer.status == 200, command
    paths = {urlsplit(command).path for command in commands}
    assert len(paths) == len(PATHS)

    demo.send_signal(signal.SIGINT)

    ended = finish(tmp_path, demo)
    assert ended.exit_code == ExitCode.OK
    assert "Traceback" not in ended.stderr


def copied(folder: Path, environment: dict[str, str], line: str) -> str:
    """The output of a command that a shell runs in the environment of the demo."""
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), line
    return done.stdout


def test_an_old_file_of_page_views_is_replaced(tmp_path: Path) -> None:
    """Query 2 looks back seven days, and would find no users in it."""
    from sandbox.ingest_demo import IngestDemo, bundled_sources  # noqa: PLC0415

    demo = IngestDemo(tmp_path)
    demo.views.write_text("of last week")
    with bundled_sources(demo):
        assert demo.views.read_text() == "of last week"
    os.utime(demo.views, (0, 0))

    with bundled_sources(demo):
        assert demo.views.read_text().startswith("id,email,page")


def test_a_signal_ends_the_step_in_progress(tmp_path: Path) -> None:
    """And the demo, with the signal's exit code."""
    demo = start_cli(tmp_path, {}, "demo")
    started = tmp_path / "demo_output" / "iterable_integration.log"
    wait_until(demo, started.exists)
    demo.send_signal(signal.SIGTERM)

    ended = finish(tmp_path, demo)

    assert ended.exit_code == ExitCode.SIGTERM
    assert "What to look at next" not in ended.stdout


def test_a_step_that_fails_ends_the_demo(tmp_path: Path) -> None:
    """With its exit code; the line above says what to do."""
    (tmp_path / "demo_output").mkdir()
    (tmp_path / "demo_output" / "demo.db").write_text("no database")

    failed = run_cli(tmp_path, {}, "demo")

    assert failed.exit_code == ExitCode.UNAVAILABLE
    assert "demo_output/demo.db" in failed.stderr
    assert "main.py" not in failed.stdout
    assert "What to look at next" not in failed.stdout


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """Nothing is started."""
    (tmp_path / "demo_output").write_text("a file")

    refused = run_cli(tmp_path, {}, "demo")

    assert refused.exit_code == ExitCode.CONFIGURATION
    (line,) = refused.stderr.splitlines()
    assert "Cannot write in the folder demo_output" in line
