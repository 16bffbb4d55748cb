"""Helpers for tests of the readers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from integration.ingest.kinds.csv_file import CsvFormat
from integration.ingest.kinds.file_reader import FileReader
from integration.ingest.kinds.files import LocalFile, matching_paths
from integration.ingest.models import Malformed, Window

if TYPE_CHECKING:
    from pathlib import Path

    from integration.ingest.kinds.file_formats import Format
    from integration.ingest.models import RawPage, RawRecord, Reader

STARTED_AT = datetime(2026, 2, 1, tzinfo=UTC)


def window(**options: Any) -> Window:
    """A run that starts at `STARTED_AT`."""
    return Window(started_at=STARTED_AT, **options)


def file_reader(
    *patterns: Path | str, format_: Format | None = None, page_records: int = 3
) -> FileReader:
    """A reader of local files, CSV unless said otherwise, with small pages."""

    def names() -> list[str]:
        return matching_paths([str(pattern) for pattern in patterns])

    return FileReader(names, LocalFile, format_ or CsvFormat(), page_records)


def read(
    reader: Reader, position: dict[str, object] | None = None, **options: Any
) -> list[RawPage]:
    """All pages of a run."""
    return list(reader.pages(position, window(**options)))


def records(pages: list[RawPage]) -> list[RawRecord]:
    """The records of all pages."""
    return [record for page in pages for record in page.records]


def good(pages: list[RawPage]) -> list[dict[str, object]]:
    """The records that could be decoded."""
    return [record for record in records(pages) if isinstance(record, dict)]


def malformed(pages: list[RawPage]) -> list[Malformed]:
    """The records that could not be decoded."""
    return [record for record in records(pages) if isinstance(record, Malformed)]
