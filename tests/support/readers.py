"""Helpers for tests of the readers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from integration.ingest.kinds.csv_file import CsvFormat
from integration.ingest.kinds.file_reader import FileReader
from integration.ingest.kinds.files import LocalFile, matching_paths
from integration.ingest.kinds.http import HttpReader
from integration.ingest.kinds.http_client import Credentials, SourceClient
from integration.ingest.models import Malformed, Window
from integration.ingest.sources import HttpSource
from integration.iterable.pause import Pause

if TYPE_CHECKING:
    from pathlib import Path

    from integration.ingest.kinds.file_formats import Format
    from integration.ingest.models import RawPage, RawRecord, Reader

SECRET = "hidden-token-7"
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


def http_source(url: str, style: str = "cursor", **options: Any) -> HttpSource:
    """A source of customers at a mock source, with this style of pagination."""
    paginations: dict[str, dict[str, Any]] = {
        "page": {"parameter": "page"},
        "offset": {"parameter": "offset"},
        "cursor": {"parameter": "cursor", "next": "paging.next"},
        "next_url": {"next": "next"},
    }
    values = {
        "name": "crm",
        "entity": "customers",
        "kind": "http",
        "url": f"{url}/{style}/customers",
        "records": "" if style == "link" else "data",
        "pagination": {"kind": style, **paginations.get(style, {})},
        "page_size": {"parameter": "limit", "value": 4},
        "cursor": {"field": "updated_at", "parameter": "updated_since", "overlap_seconds": 2},
        "requests_per_second": 1000,
        **options,
    }
    return HttpSource.model_validate(values)


class NoWait:
    """A pause that does not sleep, and remembers for how long it would have slept."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.stops = False

    @property
    def pause(self) -> Pause:
        """For a client."""
        return Pause(wait=self._wait, stopping=lambda: self.stops)

    def _wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.stops


def http_reader(source: HttpSource, pause: NoWait | None = None, **options: Any) -> HttpReader:
    """A reader whose retries do not wait."""
    auth = source.auth
    credentials = None
    if auth is not None:
        credentials = Credentials(auth.header, f"{auth.prefix}{SECRET}", SECRET, auth.variable)
    client = SourceClient(
        source.name,
        source.url,
        credentials=credentials,
        requests_per_second=source.requests_per_second,
        pause=(pause or NoWait()).pause,
        **options,
    )
    return HttpReader(source, client)


def ids(pages: list[RawPage]) -> list[object]:
    """The ids of the records that could be decoded."""
    return [record["id"] for record in good(pages)]
