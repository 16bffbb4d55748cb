"""Decisions and texts of the run of one source. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integration.ingest.kinds.high_water import from_json
from integration.ingest.models import Window
from integration.ingest.sources import HttpSource, is_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from integration.config.cli_options import RunOptions
    from integration.ingest.counts import Counts
    from integration.ingest.runs import Status
    from integration.ingest.sources import Source

# In the position of a checkpoint, beside what the reader keeps there.
_FIELDS = "fields"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What the operator asks of a run; see `cli_options.RunOptions`."""

    full_refresh: bool = False
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    dry_run: bool = False

    @classmethod
    def of(cls, options: RunOptions) -> RunRequest:
        """What the command line asks for."""
        return cls(
            full_refresh=options.full_refresh,
            since=options.since,
            until=options.until,
            limit=options.limit,
            dry_run=options.dry_run,
        )

    @property
    def is_regular(self) -> bool:
        """Whether the run reads what a run without options reads."""
        return not (self.full_refresh or self.since or self.until or self.limit or self.dry_run)

    def window(self, started_at: datetime) -> Window:
        """What the reader is to read."""
        return Window(
            started_at=started_at,
            since=self.since,
            until=self.until,
            limit=self.limit,
            full_refresh=self.full_refresh,
        )


def known_fields(position: Mapping[str, Any] | None) -> frozenset[str]:
    """The fields that earlier runs have seen, from a checkpoint."""
    fields = (position or {}).get(_FIELDS)
    return frozenset(map(str, fields)) if isinstance(fields, list) else frozenset()


def with_fields(position: Mapping[str, object], fields: AbstractSet[str]) -> dict[str, object]:
    """The position of a page, with the fields that have been seen."""
    return {**position, _FIELDS: sorted(fields)}


def cursor_text(position: Mapping[str, Any] | None) -> str | None:
    """Where a source continues, for people."""
    if not position:
        return None
    if mark := from_json(position.get("mark")):
        return mark.text()
    files = position.get("files")
    if not isinstance(files, dict) or not files:
        return None
    name, where = next(reversed(files.items()))
    others = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{name}:{where.get('offset', 0) if isinstance(where, dict) else 0}{others}"


def reads_over_network(source: Source) -> bool:
    """Whether the next page is worth fetching while the last one is validated."""
    return isinstance(source, HttpSource) or any(map(is_url, source.path))


def final_status(
    error: Exception | None, counts: Counts, limit: int | None, *, stopping: bool
) -> Status:
    """How a run ended."""
    if error is not None:
        return "failed"
    if stopping or (limit is not None and counts.records >= limit):
        return "stopped"
    return "completed"


def records_text(number: int) -> str:
    """A number of records."""
    return f"{number:,} record{'' if number == 1 else 's'}"


def counts_text(counts: Counts) -> str:
    """The outcome of all records."""
    return (
        f"{records_text(counts.records)}: "
        f"{counts.inserted:,} inserted, {counts.updated:,} updated, "
        f"{counts.unchanged:,} unchanged, {counts.rejected:,} rejected"
    )


def reasons_text(reasons: Iterable[tuple[tuple[str, str | None], int]]) -> str:
    """Why records were rejected; the most frequent reason comes first."""
    return ", ".join(
        f"{number:,} {code}{f' {field}' if field else ''}" for (code, field), number in reasons
    )
