"""The command line: what can be asked for, and how it changes the settings."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__version__ = "1.0.0"

_EXAMPLES = """\
examples:
  python main.py                         run with the settings of .env
  python main.py --demo                  run on embedded parts, nothing to set up
  python main.py --dry-run --limit 5     show what would be sent for five users
  python main.py --env-file eu.env       run with the settings of another file
  python main.py --quiet                 print problems only, for cron

exit codes:
  0 all delivered, or nothing to deliver   1 some users failed   2 wrong command line
  69 database or Iterable unavailable      75 another run holds the lock
  77 Iterable refused the key              78 settings, folders or journal to be mended
  130, 143 interrupted
"""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of one run."""

    demo: bool
    dry_run: bool
    limit: int | None
    mode: str | None
    workers: int | None
    env_file: Path | None
    output_dir: Path | None
    verbose: bool
    quiet: bool

    @property
    def console_level(self) -> str | None:
        """The console's level, if the command line names one."""
        if self.verbose:
            return "DEBUG"
        return "WARNING" if self.quiet else None

    def overrides(self) -> dict[str, str]:
        """The settings' variables that the command line decides."""
        given = {
            "DELIVERY_MODE": self.mode,
            "MAX_WORKERS": self.workers,
            "OUTPUT_DIR": self.output_dir,
            "LOG_LEVEL": self.console_level,
        }
        return {name: str(value) for name, value in given.items() if value is not None}


def parse_arguments(arguments: Sequence[str] | None) -> Options:
    """Read the command line; a wrong one prints what is wrong and exits with 2."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Tell Iterable which pro customers looked at the pricing or settings page"
        " in the last seven days, and record what became of each of them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--demo", action="store_true", help="run on an embedded database and Iterable stand-in")
    add("--dry-run", action="store_true", help="do all but the calls; show what would be sent")
    add("--limit", type=_positive, metavar="N", help="take the first N users only")
    add("--mode", choices=("auto", "single", "bulk"), help="how to call (DELIVERY_MODE)")
    add("--workers", type=_positive, metavar="N", help="calls in flight at most (MAX_WORKERS)")
    add("--env-file", type=Path, metavar="FILE", help="read the settings from FILE, not .env")
    add("--output-dir", type=Path, metavar="DIR", help="where CSV and JSON go (OUTPUT_DIR)")
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("--verbose", action="store_true", help="print everything, as in the file")
    volume.add_argument("--quiet", action="store_true", help="print problems only")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return Options(**vars(parser.parse_args(arguments)))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return number


_positive.__name__ = "whole number"
