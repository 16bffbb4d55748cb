"""The command lines of the mock servers: a port, the options, and serving until a signal comes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sandbox.http_server import listen
from sandbox.options import descriptions, flag_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from _typeshed import DataclassInstance

    from sandbox.application import Request
    from sandbox.wire import Reply


def add_options(
    parser: argparse.ArgumentParser, options_type: type[DataclassInstance], default_port: int
) -> None:
    """Add the port, and an option for each field of the options."""
    parser.add_argument("--port", type=int, default=default_port, help="0 takes a free one")
    parser.add_argument(
        "--stop-with-stdin", action="store_true", help="end when standard input is closed"
    )
    described = descriptions(options_type)
    for field in fields(options_type):
        argument = _argument(field.default, described[field.name])
        parser.add_argument(flag_of(field.name), **argument)


def _argument(default: object, description: str) -> dict[str, Any]:
    if default is False:
        return {"action": "store_true", "help": description}
    if isinstance(default, tuple):
        help_text = f"{description}; separated by commas"
        return {"type": _names, "default": (), "metavar": "NAMES", "help": help_text}
    return {"default": default, "help": f"{description} [{default}]"}


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


async def serve_until_stopped(
    handle: Callable[[Request], Reply],
    on_open: Callable[[], None],
    port: int,
    ready_line: str,
    *,
    stop_with_stdin: bool,
) -> None:
    """Listen, say so with `ready_line`, and stop on a signal or when standard input ends."""
    server = await listen(handle, on_open, port)
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if stop_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _read_stdin, stopped)
    # Requests leave no cycles behind, so the collector would only walk a million users.
    gc.disable()
    print(ready_line.format(port=server.sockets[0].getsockname()[1]), flush=True)
    await stopped.wait()
    server.close()


def _read_stdin(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        stopped.set()


def run(
    parser: argparse.ArgumentParser,
    options_type: Callable[..., Any],
    serve: Callable[..., Any],
    arguments: Sequence[str] | None,
) -> None:
    """Read the command line and serve; a mistake ends the process with a message."""
    values = vars(parser.parse_args(arguments))
    port, stop_with_stdin = values.pop("port"), values.pop("stop_with_stdin")
    try:
        options = options_type(**values)
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
