"""Forgetting a source: its checkpoint, runs, raw pages and rejected records.

Customers and page views stay, and so does which of them a source's records are: without that, a
customer whose email changes would be stored a second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.config.converting import ConfigurationError
from integration.ingest.locks import source_lock

if TYPE_CHECKING:
    from collections.abc import Collection

    from integration.database.writing import WriteSession

_RUNS_OF_SOURCE = "run_id IN (SELECT run_id FROM etl_runs WHERE source = %s)"
# In the order of deletion: the runs come last, because they tell which pages are the source's.
_PARTS = {
    "checkpoint": ("etl_checkpoint", "source = %s"),
    "rejected records": ("etl_rejected", _RUNS_OF_SOURCE),
    "raw pages": ("etl_raw_data", _RUNS_OF_SOURCE),
    "runs": ("etl_runs", "source = %s"),
}


def reset(session: WriteSession, source: str, known: Collection[str], *, yes: bool) -> list[str]:
    """Forget a source, or only show what that would delete; returns what to print.

    Args:
        session: the writable session.
        source: its name; one that is no longer configured can be forgotten, too.
        known: the names of the sources that are configured.
        yes: delete it.

    Raises:
        ConfigurationError: there is no such source.
        SourceBusy: a run of the source is in progress.
    """
    parts = find_parts(session, source)
    if not any(parts.values()) and source not in known:
        raise ConfigurationError(f"No such source: {source}; nothing of it is stored")
    return reset_lines(source, reset_source(session, source) if yes else parts, done=yes)


def find_parts(session: WriteSession, source: str) -> dict[str, int]:
    """How much there is of each part that a reset deletes."""
    return {
        part: session.query(f"SELECT COUNT(*) FROM {table} WHERE {condition}", (source,))[0][0]
        for part, (table, condition) in _PARTS.items()
    }


def reset_source(session: WriteSession, source: str) -> dict[str, int]:
    """Delete all parts; returns how much of each was deleted.

    Raises:
        SourceBusy: a run of the source is in progress.
    """
    with source_lock(session, source), session.transaction():
        return {
            part: session.execute(f"DELETE FROM {table} WHERE {condition}", (source,))
            for part, (table, condition) in _PARTS.items()
        }


def reset_lines(source: str, parts: dict[str, int], *, done: bool) -> list[str]:
    """What a reset deleted, or would delete."""
    amounts = ", ".join(f"{number:,} {part}" for part, number in parts.items())
    if done:
        return [f"{source}: deleted {amounts}. The next run reads everything."]
    return [
        f"{source}: a reset deletes {amounts}. It deletes no customer and no page view.",
        f"Nothing was deleted; to do it: python cli.py reset --source {source} --yes",
    ]
