"""Screenshots of the window on the demo's data: `python -m sandbox.screenshots [FOLDER]`.

Needs the packages of requirements-dev.txt and Debian's chromium. Runs the demo in a temporary
folder, and writes the images that docs/window.md shows.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

_PROGRAM = Path(__file__).resolve().parent.parent / "cli.py"
_ADDRESS = re.compile(r"The window is at (http://\S+)/ ")
_SECONDS_TO_START = 120
DOCS = _PROGRAM.parent / "docs" / "images"
# File: path, width, colour scheme.
SHOTS = {
    "home.png": ("/", 1280, "light"),
    "home-dark.png": ("/", 1280, "dark"),
    "home-narrow.png": ("/", 360, "light"),
    "run.png": ("/page/runs/delivery-1", 1280, "light"),
    "person.png": ("/page/people/user2@example.com", 1280, "light"),
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
        for name in SHOTS:
            _take(browser, url, folder, name)
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


def _take(browser: Browser, url: str, folder: Path, name: str) -> None:
    path, width, scheme = SHOTS[name]
    size = {"width": width, "height": 800}
    page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{url}{path}")
    page.screenshot(path=folder / name, full_page=True)
    page.close()


if __name__ == "__main__":
    sys.exit(main())
