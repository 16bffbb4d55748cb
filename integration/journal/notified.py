"""The table notified: what was last told of deliveries and sources, by `main.py` and `cli.py run`.

Both may write at the same time; neither needs the lock of a run.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from integration.core.clock import utc_now_iso
from integration.journal.file import JournalFile
from integration.journal.lock import is_locked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# A run that loads its users holds the file for long; the state is then stored by a later run.
BUSY_MILLISECONDS = 1000


def read_states(path: Path) -> dict[str, str]:
    """The states that were told, by scope; creates the journal if there is none.

    Raises:
        JournalError: the journal cannot be used.
    """
    with closing(_opened(path)) as file:
        return dict(file.all("SELECT scope, state FROM notified"))


def store_states(path: Path, states: Mapping[str, str]) -> None:
    """Record what was told.

    Raises:
        JournalError: the journal cannot be used.
    """
    at = utc_now_iso()
    with closing(_opened(path)) as file, file.transaction():
        file.execute_many(
            "INSERT INTO notified (scope, state, at) VALUES (?, ?, ?)"
            " ON CONFLICT (scope) DO UPDATE SET state = excluded.state, at = excluded.at",
            [(scope, state, at) for scope, state in states.items()],
        )


def _opened(path: Path) -> JournalFile:
    # As a copy of itself: the next delivery sets a damaged journal aside, not this.
    file = JournalFile(path, copy_of=path, in_use=is_locked(path))
    file.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    return file
