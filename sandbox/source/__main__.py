"""`python -m sandbox.source`: the mock source on its own."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sandbox.command_line import add_options, run, serve_until_stopped
from sandbox.source.application import SourceApplication
from sandbox.source.control import CONTROL_PATHS, PATHS, SourceControl
from sandbox.source.faults import FAULT_KINDS
from sandbox.source.options import SourceOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_PORT = 8766
READY_LINE = "Mock source listening on http://127.0.0.1:{port}"

_EXAMPLES = """\
examples:
  python -m sandbox.source --customers 500000 --latency 0.05
      listen on port 8766
  curl 'http://127.0.0.1:8766/cursor/customers?limit=2&updated_since=2026-01-30T23:59:00Z'
      a page
  curl http://127.0.0.1:8766/_sandbox/touch -d '{"entity": "customers", "count": 3}'
      change three customers
  curl http://127.0.0.1:8766/_sandbox/faults -d '[{"kind": "status", "status": 503, "skip": 2}]'
      fail the third request
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line: a port, and an option for each of `SourceOptions`."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.source",
        description="A mock API of customers and page views on a loopback port.",
        epilog="\n".join(_epilog()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, SourceOptions, DEFAULT_PORT)
    return parser


def _epilog() -> list[str]:
    lines = [_EXAMPLES, "paths (ENTITY is customers or page_views; ?limit=N, ?updated_since=TIME):"]
    lines += [f"  {path:25} {effect}" for path, effect in PATHS.items()]
    lines += ["", "faults on demand (path: where; skip: not the first N; times: how often):"]
    lines += [f"  {kind:16} {effect}" for kind, effect in FAULT_KINDS.items()]
    lines += ["", "control paths:"]
    return lines + [f"  {path:31} {effect}" for path, effect in CONTROL_PATHS.items()]


async def serve(options: SourceOptions, port: int, *, stop_with_stdin: bool) -> None:
    """Listen until a signal comes, or standard input ends."""
    application = SourceApplication(options)
    handle, on_open = SourceControl(application).handle, application.connection_opened
    await serve_until_stopped(handle, on_open, port, READY_LINE, stop_with_stdin=stop_with_stdin)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    run(build_parser(), SourceOptions, serve, arguments)


if __name__ == "__main__":
    main()
