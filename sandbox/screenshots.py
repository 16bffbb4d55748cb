"""Screenshots of the window on the demo's data: `python -m sandbox.screenshots [FOLDER]`.

Needs the packages of requirements-dev.txt and Debian's chromium. Runs the demo in a temporary
folder, and writes the images that docs/window.md shows. The runs of the states beside "well" are
changed in the demo's database and journal.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

_PROGRAM = Path(__file__).resolve().parent.parent / "cli.py"
_ADDRESS = re.compile(r"The window is at (http://\S+)/ ")
_SECONDS_TO_START = 120
DOCS = _PROGRAM.parent / "docs" / "images"
# What the overview keeps in memory is at most a second old.
_SECONDS_TO_NOTICE = 1.5
_JOURNAL, _DATABASE = "iterable_journal.db", "demo.db"


class Shot(NamedTuple):
    """An image.

    Attributes:
        state: one of STATES.
        path: of the page.
        width: of the window, in pixels.
        scheme: light or dark.
        is_whole: whether it goes on below the first screen.
    """

    state: str
    path: str
    width: int = 1280
    scheme: Literal["light", "dark"] = "light"
    is_whole: bool = False


# What is changed in which file.
STATES: dict[str, tuple[str, str]] = {
    "well": (_DATABASE, ""),
    "failed": (
        _DATABASE,
        """
        INSERT INTO etl_runs (source, kind, status, created_at, started_at, heartbeat_at,
            finished_at, records, retries, error_code, error_detail)
        SELECT source, kind, 'failed', created_at, finished_at, finished_at, finished_at, 0, 4,
            'SourceUnavailable', 'crm.example.com answered 503 five times'
        FROM etl_runs WHERE source = 'crm';
        """,
    ),
    "crashed": (
        _JOURNAL,
        """
        UPDATE runs SET status = 'running', finished_at = NULL, successful = NULL,
            partial_failures = NULL, total_failures = NULL, not_attempted = NULL, unchanged = NULL;
        DELETE FROM outcomes WHERE first > 5;
        UPDATE outcomes SET last = 5 WHERE last > 5;
        INSERT INTO outcomes (run, first, last) SELECT run, 6, total_users FROM runs;
        """,
    ),
    "stale": (
        _DATABASE,
        """
        UPDATE etl_runs SET started_at = datetime(started_at, '-3 days'),
            finished_at = datetime(finished_at, '-3 days') WHERE source = 'crm';
        """,
    ),
}
SHOTS = {
    "home.png": Shot("well", "/", is_whole=True),
    "home-dark.png": Shot("well", "/", scheme="dark", is_whole=True),
    "home-narrow.png": Shot("well", "/", 360, is_whole=True),
    "home-wide.png": Shot("well", "/", 1600),
    "run.png": Shot("well", "/page/runs/delivery-1", is_whole=True),
    "person.png": Shot("well", "/page/people/user2@example.com", is_whole=True),
    "failed.png": Shot("failed", "/"),
    "crashed.png": Shot("crashed", "/"),
    "stale.png": Shot("stale", "/"),
}


def main(arguments: list[str] | None = None) -> int:
    """Make them, in the named folder or in docs/images."""
    given = sys.argv[1:] if arguments is None else arguments
    folder = Path(given[0]) if given else DOCS
    folder.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  a development package

    with (
        tempfile.TemporaryDirectory() as work,
        _demo(Path(work)) as url,
        sync_playwright() as playwright,
    ):
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for state in STATES:
            with _in_state(state, Path(work) / "demo_output"):
                for name, shot in SHOTS.items():
                    if shot.state == state:
                        _take(browser, url, folder / name, shot)
        browser.close()
    return 0


@contextmanager
def _demo(work: Path) -> Iterator[str]:
    """The demo with its window."""
    command = [sys.executable, str(_PROGRAM), "demo"]
    log = work / "demo_output" / "iterable_integration.log"
    with subprocess.Popen(  # noqa: S603  no shell
        command, cwd=work, stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]}
    ) as process:
        try:
            yield _address(log, process)
        finally:
            process.send_signal(signal.SIGINT)


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    give_up = time.monotonic() + _SECONDS_TO_START
    while process.poll() is None and time.monotonic() < give_up:
        found = _ADDRESS.search(log.read_text(encoding="utf-8")) if log.exists() else None
        if found:
            return found[1]
        time.sleep(0.1)
    raise RuntimeError("the demo did not start its window: run python cli.py demo to see why")


@contextmanager
def _in_state(name: str, folder: Path) -> Iterator[None]:
    """The demo's files as they are in a state, and afterwards as before."""
    file, changes = STATES[name]
    with (
        closing(sqlite3.connect(folder / file)) as database,
        closing(sqlite3.connect(":memory:")) as before,
    ):
        database.backup(before)
        database.executescript(changes)
        time.sleep(_SECONDS_TO_NOTICE)
        yield
        before.backup(database)


def _take(browser: Browser, url: str, file: Path, shot: Shot) -> None:
    size = {"width": shot.width, "height": 800}
    page = browser.new_page(viewport=size, color_scheme=shot.scheme)  # type: ignore[arg-type]
    page.goto(f"{url}{shot.path}")
    page.screenshot(path=file, full_page=shot.is_whole)
    page.close()


if __name__ == "__main__":
    sys.exit(main())
