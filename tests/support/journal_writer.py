"""A process that writes a journal on demand: SQLite's locks are those of a process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Self

from tests.support.runs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = """
import sys
from pathlib import Path
from integration.journal.lock import open_journal
from tests.support.journals import completed_run
from tests.support.users import page_view

def run(users, **options):
    completed_run(journal, [page_view(number) for number in range(1, users + 1)], **options)

def begin(users):
    run(users, status="running", reached=0)

def checkpoint():
    journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")

with open_journal(Path(sys.argv[1]), dry_run=False) as journal:
    print("ready", flush=True)
    for line in sys.stdin:
        exec(line)
        print("done", flush=True)
"""


class JournalWriter:
    """The process; a context manager that ends it as a run ends.

    Args:
        path: the journal, which it creates if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read("ready")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def do(self, statement: str) -> None:
        """Call `run(users, …)`, `begin(users)` or `checkpoint()`."""
        assert self._process.stdin
        self._process.stdin.write(f"{statement}\n")
        self._process.stdin.flush()
        self._read("done")

    def kill(self) -> None:
        """End it like `kill -9`."""
        self._process.kill()
        self._process.wait()

    def _read(self, word: str) -> None:
        assert self._process.stdout
        assert self._process.stdout.readline() == f"{word}\n"
