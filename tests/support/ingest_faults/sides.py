"""The sources of the combinations: an API, files at an address, files of this machine."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from sandbox.source.downloads import flat
from sandbox.source.records import customer, page_view
from tests.support.ingest_faults.records import decoded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from sandbox.source import SourceProcess
    from sandbox.source.records import Entity
    from tests.support.ingest_faults.records import Shape

STYLES = ("none", "page", "offset", "cursor", "link", "next_url")
NUMBERED = ("page", "offset")
SOURCE = "src"
CUSTOMERS = 150
BAD_SHARE = 0.06
OVERLAP_SECONDS = 5
PARTS = 3
# A page of a file ends after a megabyte: wide records make several pages of few of them.
FILLER = "x" * 30_000
NEWEST = datetime(2026, 1, 31, tzinfo=UTC)

_PAGINATIONS = {
    "none": "",
    "page": 'kind = "page", parameter = "page"',
    "offset": 'kind = "offset", parameter = "offset"',
    "cursor": 'kind = "cursor", parameter = "cursor", next = "paging.next"',
    "link": 'kind = "link"',
    "next_url": 'kind = "next_url", next = "next"',
}
_NESTED = {
    "customers": 'email = "contact.email"\nfirst_name = "name.first"\nlast_name = "name.last"\n',
    "page_views": 'user_id = "customer.id"\n',
}


class Side(Protocol):
    """A source that changes and misbehaves.

    Attributes:
        shape: how its records are written.
        toml: its configuration.
    """

    shape: Shape
    toml: str

    def contents(self) -> list[tuple[str, bytes]]:
        """Everything that it has now, by the name of each file or the path of the API."""
        ...

    def update(self) -> None:
        """Change records and add some, as the upstream system does between runs."""
        ...

    def repair(self) -> None:
        """Undo all faults."""
        ...


def records_of(side: Side) -> list[Any]:
    """The records that a source has now."""
    return [one for _, content in side.contents() for one in decoded(side.shape, content)]


def configuration(entity: Entity, kind: str, *lines: str, nested: bool) -> str:
    """A `sources.toml` with one source."""
    reference = 'customer = "id"' if nested else 'customer = "email"'
    return "\n".join(
        [
            f"[sources.{SOURCE}]",
            f'entity = "{entity}"',
            f'kind = "{kind}"',
            'key = "id"',
            "owns_ids = true" if entity == "customers" else reference,
            "max_rejected_percent = 60",
            *lines,
            f"[sources.{SOURCE}.fields]" if nested else "",
            _NESTED[entity] if nested else "",
        ]
    )


class HttpSide:
    """An API in one style of pagination; the sandbox has its records and faults."""

    shape: Shape = "json"

    def __init__(self, source: SourceProcess, style: str, entity: Entity, random: Random) -> None:
        self._source = source
        self._entity = entity
        self._random = random
        self.toml = configuration(
            entity,
            "http",
            f'url = "{source.url}/{style}/{entity}"',
            f'records = "{"" if style == "link" else "data"}"',
            f"pagination = {{ {_PAGINATIONS[style]} }}" if _PAGINATIONS[style] else "",
            f'page_size = {{ parameter = "limit", value = {random.choice((23, 37))} }}',
            'cursor = { field = "updated_at", parameter = "updated_since",'
            f" overlap_seconds = {OVERLAP_SECONDS} }}",
            "requests_per_second = 1000",
            "sorted = true" if random.random() < 0.3 else "",
            nested=True,
        )

    def contents(self) -> list[tuple[str, bytes]]:
        """All records in one answer."""
        path = f"/none/{self._entity}"
        return [(path, fetch(f"{self._source.url}{path}"))]

    def update(self) -> None:
        """Change the records that come first; they come last from then on."""
        self._source.touch(self._entity, self._random.randint(60, 120))

    def repair(self) -> None:
        """Answer properly."""
        self._source.clear_faults()


class UrlSide:
    """Files at an address: one that is read several times, so that a run has several pages."""

    def __init__(  # noqa: PLR0917
        self,
        source: SourceProcess,
        base: str,
        suffix: str,
        entity: Entity,
        random: Random,
        certificate: Path | None = None,
    ) -> None:
        self._source = source
        self._entity = entity
        self._random = random
        self._certificate = certificate
        self._suffix = suffix
        self.shape: Shape = "csv" if "csv" in suffix else "jsonl"
        self._urls = [f"{base}/files/{entity}{suffix}?part={part}" for part in range(1, PARTS + 1)]
        self.toml = configuration(
            entity, self.shape, f"path = {json.dumps(self._urls)}", nested=self.shape == "jsonl"
        )

    def contents(self) -> list[tuple[str, bytes]]:
        """The file, once."""
        content = fetch(self._urls[0], self._certificate)
        return [(self._urls[0], unpacked(self._suffix, content))]

    def update(self) -> None:
        """Change the records that come first; they come last from then on."""
        self._source.touch(self._entity, self._random.randint(60, 120))

    def repair(self) -> None:
        """Answer properly."""
        self._source.clear_faults()


class FileSide:
    """Files of this machine, found by a glob; each has several pages."""

    def __init__(self, folder: Path, suffix: str, entity: Entity, random: Random) -> None:
        self._folder = folder
        self._suffix = suffix
        self._entity = entity
        self._random = random
        self.shape: Shape = "csv" if "csv" in suffix else "jsonl"
        self.toml = configuration(
            entity, self.shape, f'path = "export_*{suffix}"', nested=self.shape == "jsonl"
        )
        self._versions: dict[int, int] = dict.fromkeys(range(CUSTOMERS), 0)
        self._split = random.randint(70, 90)
        self.repair()

    def contents(self) -> list[tuple[str, bytes]]:
        """The files that are there."""
        paths = sorted(self._folder.glob(f"export_*{self._suffix}"))
        return [(str(path), unpacked(self._suffix, path.read_bytes())) for path in paths]

    def update(self) -> None:
        """Append records to the last file, or change some and write both again."""
        if self._random.random() < 0.5 and not self._suffix.endswith(".gz"):
            self.append(self._random.randint(20, 60))
            return
        self.rewrite()

    def append(self, count: int) -> None:
        """Add records at the end of the last file."""
        first = len(self._versions)
        self._versions |= dict.fromkeys(range(first, first + count), 0)
        content = b"".join(self._line(number) for number in range(first, first + count))
        with self.path(1).open("ab") as file:
            file.write(gzip.compress(content, 1) if self._suffix.endswith(".gz") else content)

    def rewrite(self) -> None:
        """Change records, and replace both files."""
        for number in self._random.sample(sorted(self._versions), 20):
            self._versions[number] += 1
        self.repair()

    def path(self, file: int) -> Path:
        """The first or second file."""
        return self._folder / f"export_{file}{self._suffix}"

    def repair(self) -> None:
        """Write both files properly."""
        self.spoil(lambda content: content)

    def spoil(
        self,
        change: Callable[[bytes], bytes],
        packed: Callable[[bytes], bytes] = lambda content: content,
    ) -> None:
        """Write both files with the same fault.

        Args:
            change: of the content.
            packed: of the compressed content.
        """
        for file in (0, 1):
            numbers = [number for number in self._versions if (number >= self._split) == file]
            header = self._cells(None) if self.shape == "csv" else b""
            content = change(header + b"".join(map(self._line, numbers)))
            content = gzip.compress(content, 1) if self._suffix.endswith(".gz") else content
            self.replace(file, packed(content))

    def replace(self, file: int, content: bytes) -> None:
        """Replace a file at once."""
        new = self._folder / "new"
        new.write_bytes(content)
        os.replace(new, self.path(file))  # noqa: PTH105

    def _line(self, number: int) -> bytes:
        moment = NEWEST - timedelta(seconds=10_000 - number)
        if self._entity == "customers":
            record = customer(number, moment, self._versions[number])
        else:
            record = page_view(number, moment, self._versions[number], CUSTOMERS)
        record = {"notes": FILLER, **record}
        if self.shape == "jsonl":
            return json.dumps(record, ensure_ascii=False).encode() + b"\n"
        return self._cells(flat(record))

    def _cells(self, record: dict[str, Any] | None) -> bytes:
        names = ["id", "email", "first_name", "last_name", "notes", "plan_type", "candidate"]
        if self._entity == "page_views":
            names = ["id", "email", "page", "device", "notes", "event_time", "browser", "location"]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(
            names if record is None else [record[name] for name in names]
        )
        return text.getvalue().encode()


def unpacked(suffix: str, content: bytes) -> bytes:
    """The content of a file that may be compressed."""
    return gzip.decompress(content) if suffix.endswith(".gz") else content


def fetch(url: str, certificate: Path | None = None) -> bytes:
    """GET an address."""
    context = ssl.create_default_context(cafile=str(certificate) if certificate else None)
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    with opener.open(url, timeout=60) as response:
        body: bytes = response.read()
    return body
