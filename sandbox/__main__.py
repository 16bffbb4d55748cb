"""`python -m sandbox`: the mock Iterable server on its own."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sandbox.application import Application
from sandbox.control import CONTROL_PATHS, Control
from sandbox.faults import FAULT_KINDS
from sandbox.http_server import listen
from sandbox.misbehaviour import MISBEHAVIOURS
from sandbox.options import SandboxOptions, descriptions, flag_of

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
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one")
    parser.add_argument(
        "--stop-with-stdin", action="store_true", help="end when standard input is closed"
    )
    described = descriptions()
    for field in fields(SandboxOptions):
        argument = _argument(field.default, described[field.name])
        parser.add_argument(flag_of(field.name), **argument)
    return parser


def _argument(default: object, description: str) -> dict[str, Any]:
    if default is False:
        return {"action": "store_true", "help": description}
    if isinstance(default, tuple):
        help_text = f"{description}; separated by commas"
        return {"type": _names, "default": (), "metavar": "NAMES", "help": help_text}
    return {"default": default, "help": f"{description} [{default}]"}


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


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
    server = await listen(Control(application).handle, application.connection_opened, port)
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if stop_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _read_stdin, stopped)
    # Requests leave no cycles behind, so the collector would only walk a million users.
    gc.disable()
    print(READY_LINE.format(port=server.sockets[0].getsockname()[1]), flush=True)
    await stopped.wait()
    server.close()


def _read_stdin(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        stopped.set()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = build_parser()
    values = vars(parser.parse_args(arguments))
    port, stop_with_stdin = values.pop("port"), values.pop("stop_with_stdin")
    try:
        options = SandboxOptions(**values)
    except ValidationError as error:
        problems = [f"{flag_of(str(e['loc'][0]))}: {e['msg']}" for e in error.errors()]
        parser.error("; ".join(problems))
    try:
        asyncio.run(serve(options, port, stop_with_stdin=stop_with_stdin))
    except OverflowError:
        parser.error(f"--port: {port} is not a whole number from 0 to 65535")
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        parser.exit(1, f"Cannot listen on port {port}: {reason}\n")


if __name__ == "__main__":
    main()
