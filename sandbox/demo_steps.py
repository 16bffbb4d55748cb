"""The two steps of `cli.py demo`, in processes of their own, and what to look at afterwards."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from integration.core.exit_codes import ExitCode
from integration.core.shutdown import wait_in_main_thread
from sandbox.ingest_demo import IngestDemo, as_typed, bundled_sources, foreign_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from integration.core.shutdown import Stop

    Show = Callable[[Iterable[str]], None]

_SECONDS_BETWEEN_LOOKS = 0.1
_REJECTED = [
    "",
    "The rejected records were expected: some of the demo's records are wrong on purpose.",
    "A run that rejects records ends with exit code 1; the demo goes on and ends with 0.",
]


def run_demo(
    volume: Sequence[str],
    stop: Stop,
    show: Show,
    when_ready: Callable[[], object],
    *,
    ends_in_window: bool,
) -> int:
    """The whole way with bundled parts, and what to look at next; returns the exit code.

    Args:
        volume: `--verbose` or `--quiet`, or nothing.
        stop: ends the step in progress when it is requested.
        show: prints lines.
        when_ready: called when the servers are running.
        ends_in_window: whether to serve the window until `stop`, which is then no failure.
    """
    demo = IngestDemo()
    with bundled_sources(demo):
        when_ready()
        code = run_steps(demo, volume, stop, show)
        if stop.reason:
            return stop.reason.exit_code
        if code == ExitCode.OK:
            show(next_steps(demo))
            if ends_in_window:
                open_window(demo, volume, stop, show)
        # The servers run until here.
        return code


def run_steps(demo: IngestDemo, volume: Sequence[str], stop: Stop, show: Show) -> int:
    """Ingest, then deliver; returns 0, or the exit code of the step that failed.

    Args:
        demo: the files and commands.
        volume: `--verbose` or `--quiet`, or nothing.
        stop: ends the step in progress when it is requested.
        show: prints lines.
    """
    code = _run_step(demo.cli("run", *volume), stop, show)
    if code == ExitCode.SOME_FAILED:
        show(_REJECTED)
    elif code:
        return code
    return _run_step(demo.main(*volume), stop, show)


def open_window(demo: IngestDemo, volume: Sequence[str], stop: Stop, show: Show) -> None:
    """Serve the window on a free port until `stop`."""
    _run_step(demo.cli("serve", "--port", "0", *volume), stop, show)


def _run_step(command: Sequence[str], stop: Stop, show: Show) -> int:
    show(["", f"$ {as_typed(command)}"])
    unset = set(foreign_settings(os.environ))
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    with subprocess.Popen(command, env=environment) as process:  # noqa: S603  no shell
        while process.poll() is None:
            if wait_in_main_thread(stop, _SECONDS_BETWEEN_LOOKS):
                # It may have received the same signal from the terminal; together they count once.
                process.terminate()
                break
        return process.wait()


def next_steps(demo: IngestDemo) -> list[str]:
    """The files that are left, and commands to run next."""
    results = max(demo.folder.glob("integration_results_*.json"), default=demo.folder)
    files = {
        demo.sources: "where customers and page views come from",
        demo.views: "the page views; the customers come from an API",
        demo.database: "the SQLite database that they are stored in",
        results: "the outcome for every user that was sent",
        demo.folder / "iterable_integration.log": "the log of both programs",
        demo.settings: "the settings of both programs",
    }
    commands = {
        "everything, in a browser (Ctrl-C ends it)": demo.cli("serve"),
        "records, runs and checkpoints of each source": demo.cli("stats"),
        "rejected records and why": demo.cli("rejected"),
        "runs of the delivery and pending users": demo.main("--status"),
    }
    width = max(len(str(path)) for path in files)
    lines = ["", "The demo has left these files:", ""]
    lines += [f"  {path!s:{width}}  {what}" for path, what in files.items()]
    lines += ["", "What to look at next; copy a command into this shell:"]
    for what, command in commands.items():
        lines += ["", f"  {what}:", f"    {as_typed(command)}"]
    return [*lines, "", "Run the demo again: the sources have nothing new then."]
