"""The command line: its options and how they override settings."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from integration.config.settings import MAX_WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__version__ = "1.0.0"
USERS_VERIFIED = 100
MAX_INTERVAL_SECONDS = 31 * 86400

_EXAMPLES = """\
examples:
  python main.py                         run with the settings of .env
  python main.py --demo                  run with bundled parts, nothing to set up
  python main.py --dry-run --limit 5     print the payloads of the first five users
  python main.py --env-file eu.env       run with the settings of another file
  python main.py --all-syncs             run every syncs/NAME.env, one after the other
  python main.py --quiet                 warnings and errors only, for cron
  python main.py --incremental           skip users that have not changed
  python main.py --every 86400           repeat every day until stopped
  python main.py --resume                resume the last unfinished run
  python main.py --retry-failed          retry the users that the last run failed to deliver
  python main.py --status                show recent runs, pending users and the next step
  python main.py --check                 check database, query, key and fields; send nothing
  python main.py --status --json         the same as one JSON object, for programs
  python main.py --verify 500            read back 500 delivered users and compare
  python main.py --explain ada@shop.com  show why a person was sent or not, and the outcome

exit codes:
  0 all delivered, or nothing to deliver   2 wrong command line
  1 some users failed, or the person that --explain names is unknown
  69 database or Iterable unavailable      75 another run holds the lock
  77 Iterable refused the key              78 configuration or file error
  130, 143 interrupted
"""


@dataclass(frozen=True, slots=True)
class Options:
    """The parsed command line."""

    demo: bool
    dry_run: bool
    resume: bool
    retry_failed: bool
    incremental: bool
    status: bool
    check: bool
    verify: int | Literal["all"] | None
    explain: str | None
    limit: int | None
    every: float | None
    mode: str | None
    workers: int | Literal["auto"] | None
    env_file: Path | None
    sync: str | None
    all_syncs: bool
    output_dir: Path | None
    verbose: bool
    quiet: bool
    json: bool

    @property
    def is_run(self) -> bool:
        """Whether it is a run that sends users, which may be told of."""
        return not (
            self.demo
            or self.dry_run
            or self.status
            or self.verify is not None
            or self.explain is not None
        )

    @property
    def uses_earlier_run(self) -> bool:
        """Whether the request is not for a new run."""
        named = self.verify is not None or self.explain is not None
        return self.resume or self.retry_failed or self.status or self.check or named

    @property
    def console_level(self) -> str | None:
        """The console's log level, if the command line sets it."""
        if self.verbose:
            return "DEBUG"
        return "WARNING" if self.quiet else None

    def overrides(self) -> dict[str, str]:
        """The settings' variables that the command line sets."""
        values = {
            "DELIVERY_MODE": self.mode,
            "MAX_WORKERS": self.workers,
            "OUTPUT_DIR": self.output_dir,
            "LOG_LEVEL": self.console_level,
        }
        return {name: str(value) for name, value in values.items() if value is not None}


def parse_arguments(arguments: Sequence[str] | None) -> Options:
    """Parse the command line; an invalid one prints the problem and exits with code 2."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Send the pro customers that viewed the pricing or settings page in the last"
        " seven days to Iterable, and record the outcome of every call.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_choices(parser)
    _add_overrides(parser)
    options = Options(**vars(parser.parse_args(arguments)))
    if options.uses_earlier_run and (options.dry_run or options.limit):
        parser.error("--dry-run and --limit apply to new runs only")
    if options.demo and (options.sync or options.all_syncs):
        parser.error("--demo has no syncs")
    if options.every is not None and (options.uses_earlier_run or options.demo):
        parser.error("--every applies to new runs only")
    others = (options.verify is not None, options.explain is not None, options.check)
    if options.json and (any(others) or options.all_syncs):
        parser.error("--json goes with a run and with --status")
    if options.demo and options.verify is not None:
        parser.error("--demo has nothing to verify: its mock Iterable API stops with the run")
    return options


def _add_choices(parser: argparse.ArgumentParser) -> None:
    """What the run is to do."""
    add = parser.add_argument
    add("--demo", action="store_true", help="run with a bundled database and a mock Iterable API")
    add("--dry-run", action="store_true", help="print the payloads without sending them")
    add_one_of = parser.add_mutually_exclusive_group().add_argument
    add_one_of("--resume", action="store_true", help="resume the last unfinished run")
    add_one_of(
        "--retry-failed",
        action="store_true",
        help="retry the users that the last run failed to deliver",
    )
    add_one_of("--incremental", action="store_true", help="skip users that have not changed")
    add_one_of("--status", action="store_true", help="show recent runs and pending users")
    add_one_of(
        "--check",
        action="store_true",
        help="show where each column of the query goes, and check the key",
    )
    add_one_of(
        "--verify",
        type=_users_or_all,
        nargs="?",
        const=USERS_VERIFIED,
        metavar="N",
        help=f"read back N delivered users, or all (default {USERS_VERIFIED})",
    )
    add_one_of(
        "--explain",
        type=_email,
        metavar="EMAIL",
        help="show what is known of one person, and why they were sent or not",
    )
    add("--limit", type=_users, metavar="N", help="process only the first N users")
    add("--every", type=_seconds, metavar="SECONDS", help="repeat until stopped")


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    """What replaces settings, or names their file."""
    add = parser.add_argument
    add("--mode", choices=("auto", "single", "bulk"), help="single or bulk calls (DELIVERY_MODE)")
    add(
        "--workers",
        type=_workers_or_auto,
        metavar="N",
        help="maximum number of concurrent requests, or auto (MAX_WORKERS)",
    )
    add("--env-file", type=Path, metavar="FILE", help="read settings from FILE instead of .env")
    add_sync = parser.add_mutually_exclusive_group().add_argument
    add_sync("--sync", metavar="NAME", help="run the sync whose settings are in syncs/NAME.env")
    add_sync("--all-syncs", action="store_true", help="run all syncs, one after the other")
    add("--output-dir", type=Path, metavar="DIR", help="folder for CSV and JSON files (OUTPUT_DIR)")
    add("--json", action="store_true", help="print the result as JSON, and the log to stderr")
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument(
        "--verbose", action="store_true", help="log at DEBUG; payloads are in the file only"
    )
    volume.add_argument("--quiet", action="store_true", help="warnings and errors only")
    add("--version", action="version", version=f"%(prog)s {__version__}")


def without_every(arguments: Sequence[str]) -> list[str]:
    """The command line without `--every`, for one of its runs."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--every")
    return parser.parse_known_args(arguments)[1]


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= MAX_INTERVAL_SECONDS:
        limits = f"above 0 and up to {MAX_INTERVAL_SECONDS}"
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds {limits}")
    return seconds


_seconds.__name__ = "number of seconds"  # shown in argparse's messages


def _whole_number(limit: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if not 1 <= number <= limit:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 to {limit}")
        return number

    parse.__name__ = "whole number"  # shown in argparse's messages
    return parse


_users = _whole_number(1_000_000_000)
_workers = _whole_number(MAX_WORKERS)


def _users_or_all(text: str) -> int | Literal["all"]:
    return "all" if text == "all" else _users(text)


def _email(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an email is missing")
    return text.strip()


def _workers_or_auto(text: str) -> int | Literal["auto"]:
    return "auto" if text == "auto" else _workers(text)


_workers_or_auto.__name__ = "whole number, or auto,"
_users_or_all.__name__ = "whole number, or all,"
