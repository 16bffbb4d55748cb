"""One run of a source at a time.

The lock belongs to the source's name in one database. Programs on other hosts see it, and it dies
with its connection (MySQL, MariaDB) or process (SQLite). Galera's nodes do not share it: there, the
version of the checkpoint makes the slower of two runs stop.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from integration.ingest.errors import SourceBusy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.database.reading import ReadSession
    from integration.database.writing import WriteSession


@contextmanager
def source_lock(session: WriteSession, source: str) -> Iterator[None]:
    """Hold the lock of a source.

    Raises:
        SourceBusy: another run holds it.
    """
    with session.try_lock(_name(source)) as held:
        if not held:
            raise SourceBusy(
                f"Another run is reading the source {source}: nothing was done; "
                "wait until it has ended"
            )
        yield


def is_running(session: ReadSession, source: str) -> bool:
    """Whether a run holds the lock of this source now."""
    return session.is_locked(_name(source))


def _name(source: str) -> str:
    return f"source-{source}"
