"""`python -m sandbox`: the mock Iterable server on its own."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sandbox.application import Application
from sandbox.command_line import add_options, run, serve_until_stopped
from sandbox.control import CONTROL_PATHS, Control
from sandbox.faults import FAULT_KINDS
from sandbox.misbehaviour import MISBEHAVIOURS
from sandbox.options import SandboxOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_PORT = 8765
READY_LINE = "Iterable sandbox listening on http://127.0.0.1:{port}"

_EXAMPLES = """\
examples:
  python -m sandbox
      listen on port 8765, take the key "sandbox-key", no limits
  python -m sandbox --limits 1 --latency 0.05 --retry-after
      as strict and as far away as the real one
  python -m sandbox --jwt-secret a-harmless-secret-of-32-characters
      a key that demands a JWT for each user
  curl http://127.0.0.1:8765/_sandbox/faults -d '[{"kind": "status", "status": 503, "times": 2}]'
      fail the next two calls
  curl http://127.0.0.1:8765/_sandbox/faults -d '{"rates": {"status:503": 0.05}, "seed": 1}'
      fail one call in twenty
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line: a port, and an option for each of `SandboxOptions`."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="A mock Iterable server over real HTTP on a loopback port.",
        epilog="\n".join(_epilog()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, SandboxOptions, DEFAULT_PORT)
    return parser


def _epilog() -> list[str]:
    lines = [_EXAMPLES, "addresses that misbehave, by how they begin:"]
    lines += [f"  {m.prefix:16} {m.effect}" for m in MISBEHAVIOURS]
    lines += ["", "faults on demand:"]
    lines += [f"  {kind:16} {effect}" for kind, effect in FAULT_KINDS.items()]
    lines += ["", "control paths:"]
    return lines + [f"  {path:31} {effect}" for path, effect in CONTROL_PATHS.items()]


async def serve(options: SandboxOptions, port: int, *, stop_with_stdin: bool) -> None:
    """Listen until a signal comes, or standard input ends."""
    application = Application(options)
    handle, on_open = Control(application).handle, application.connection_opened
    await serve_until_stopped(handle, on_open, port, READY_LINE, stop_with_stdin=stop_with_stdin)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    run(build_parser(), SandboxOptions, serve, arguments)


if __name__ == "__main__":
    main()
