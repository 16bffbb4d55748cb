"""The command line of `cli.py`: text → one of the values of `cli_options`."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integration.config.arguments import __version__
from integration.config.cli_options import (
    DemoOptions,
    ForgetOptions,
    RejectedOptions,
    ReplayOptions,
    ResetOptions,
    RunOptions,
    ServeOptions,
    StatsOptions,
)
from integration.config.ingest_settings import MAX_INTERVAL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.config.cli_options import CliOptions

MAX_NUMBER = 1_000_000_000

_EXAMPLES = """\
examples:
  python cli.py run                            ingest all sources
  python cli.py run --source crm web           ingest two of them
  python cli.py run --dry-run --limit 100      validate 100 records of each source, store nothing
  python cli.py run --since 2026-11-01         read again what has changed since then
  python cli.py run --full-refresh             read everything again
  python cli.py run --every 600                repeat every ten minutes until stopped
  python cli.py run --json                     print the result as one JSON object, for programs
  python cli.py stats                          show records, runs and checkpoints of each source
  python cli.py rejected                       show rejected records and why
  python cli.py rejected --source crm --retry  validate them again, after a fix
  python cli.py replay 42                      store run 42 again from its raw pages
  python cli.py reset --source crm             show what a reset of the source would delete
  python cli.py reset --source crm --yes       delete it
  python cli.py forget ada@example.com         show where a person's data is
  python cli.py forget ada@example.com --yes   erase it
  python cli.py serve                          show everything in a browser, on this machine
  python cli.py demo                           run everything with bundled parts, nothing to set up

exit codes:
  0 everything stored                  1 some records were rejected   2 wrong command line
  69 source or database unavailable    75 another run is in progress
  77 the source refused the credentials
  78 configuration or file error, or a source no longer has a required field
  130, 143 interrupted
"""


def parse_cli_arguments(arguments: Sequence[str] | None) -> CliOptions:
    """Parse the command line; an invalid one prints the problem and exits with code 2."""
    parser = argparse.ArgumentParser(
        prog="cli.py",
        description="Load customers and page views from HTTP APIs and files into the database.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_files(parser, default=None)
    _add_volume(parser, default=None)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, add, text) in _COMMANDS.items():
        command = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        if name != "demo":
            _add_files(command, default=argparse.SUPPRESS)
        _add_volume(command, default=argparse.SUPPRESS)
        add(command)
    values = vars(parser.parse_args(arguments))
    _check(parser, values)
    # What was not given has its default in the class.
    given = {
        name: value for name, value in values.items() if value is not None and value is not False
    }
    options: CliOptions = _COMMANDS[given.pop("command")][0](**given)
    return options


# The options that may stand before the command or after it.
def _add_files(parser: argparse.ArgumentParser, default: object) -> None:
    add = parser.add_argument
    add(
        "--env-file",
        type=Path,
        default=default,
        metavar="FILE",
        help="read settings from FILE instead of .env",
    )
    add(
        "--sources",
        type=Path,
        default=default,
        metavar="FILE",
        help="read sources from FILE instead of sources.toml",
    )


def _add_volume(parser: argparse.ArgumentParser, default: object) -> None:
    volume = parser.add_mutually_exclusive_group().add_argument
    volume("--verbose", action="store_true", default=default, help="log at DEBUG")
    volume("--quiet", action="store_true", default=default, help="warnings and errors only")


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--source", nargs="+", action="extend", metavar="NAME", help="only these sources")
    add("--full-refresh", action="store_true", help="read everything, not only what has changed")
    add("--since", type=_time, metavar="TIME", help="only records changed at this time or later")
    add("--until", type=_time, metavar="TIME", help="only records changed before this time")
    add("--limit", type=_number, metavar="N", help="at most N records of each source")
    add("--dry-run", action="store_true", help="read and validate, but store nothing")
    _add_json(parser)
    add(
        "--every",
        type=_seconds,
        nargs="?",
        const=True,  # text would be converted
        metavar="SECONDS",
        help="repeat until stopped (default ETL_INTERVAL)",
    )


def _add_stats(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON, and the log to stderr"
    )


def _add_rejected(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", metavar="NAME", help="only those of this source")
    parser.add_argument("--retry", action="store_true", help="validate the open ones again")
    _add_json(parser)


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=_number, metavar="RUN", help="the number of the run")


def _add_reset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, metavar="NAME", help="the source")
    _add_yes(parser)


def _add_forget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("email", type=_email, metavar="EMAIL", help="the person's address now")
    _add_yes(parser)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", metavar="HOST", help="the address to listen on (default SERVICE_HOST)")
    add(
        "--port",
        type=_port,
        metavar="PORT",
        help="the port; 0 is any free one (default SERVICE_PORT)",
    )


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="end after the run, without the window")


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do it; without, only show what it is")


_COMMANDS: dict[str, tuple[type[Any], Callable[[argparse.ArgumentParser], None], str]] = {
    "run": (RunOptions, _add_run, "ingest all sources, customers before page views"),
    "stats": (StatsOptions, _add_stats, "show records, runs, checkpoint and lag of each source"),
    "rejected": (RejectedOptions, _add_rejected, "show rejected records with reason and origin"),
    "replay": (ReplayOptions, _add_replay, "store a run again from its raw pages"),
    "reset": (
        ResetOptions,
        _add_reset,
        "forget a source's checkpoint, runs and raw pages, but no customer and no page view",
    ),
    "forget": (ForgetOptions, _add_forget, "erase a person's data wherever it is kept"),
    "serve": (ServeOptions, _add_serve, "show everything in a browser and to programs, read-only"),
    "demo": (DemoOptions, _add_demo, "run everything with bundled parts, from an API to Iterable"),
}


def _check(parser: argparse.ArgumentParser, values: dict[str, Any]) -> None:
    """Reject options that do not go together, and complete the others."""
    since, until = values.get("since"), values.get("until")
    if values["verbose"] and values["quiet"]:
        parser.error("argument --quiet: not allowed with argument --verbose")
    if values["command"] == "demo" and (values["env_file"] or values["sources"]):
        parser.error("demo has settings and sources of its own: leave out --env-file and --sources")
    if values.get("full_refresh") and (since or until):
        parser.error("--full-refresh reads everything: leave out --since and --until")
    if values.get("retry") and values.get("json"):
        parser.error("--json lists rejected records: leave out --retry")
    if since and until and since >= until:
        parser.error("--since must be before --until")
    if values.get("every") is True:
        values["every"] = "setting"
    if values.get("source") and isinstance(values["source"], list):
        values["source"] = tuple(dict.fromkeys(values["source"]))


def _time(text: str) -> datetime:
    """ISO 8601; without a zone, UTC."""
    moment = datetime.fromisoformat(text)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(text) from error


def _number(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_NUMBER:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 to {MAX_NUMBER}")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to 65535")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= MAX_INTERVAL_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to {MAX_INTERVAL_SECONDS}")
    return seconds


def _email(text: str) -> str:
    if "@" not in text or text.split() != [text]:
        raise ValueError(text)
    return text


# Shown in argparse's messages.
_time.__name__ = "ISO 8601 time"
_number.__name__ = "whole number"
_port.__name__ = "whole number"
_seconds.__name__ = "number of seconds"
_email.__name__ = "email address"
