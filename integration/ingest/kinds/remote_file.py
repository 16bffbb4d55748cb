"""Files at a URL, read by range, so that their size does not matter and a run can continue."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from integration.ingest.errors import SourceError
from integration.ingest.kinds.files import changed_while_read
from integration.ingest.kinds.http_addresses import path_and_query
from integration.ingest.kinds.http_client import StatusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.ingest.kinds.http_client import Answer, SourceClient

CHUNK_BYTES = 4_194_304
# The beginning, which fingerprints need; the current chunk and the one before it.
_CHUNKS_KEPT = 3
_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]+)-[0-9]+|\*)/([0-9]+)")


class _Chunk(NamedTuple):
    content: bytes
    size: int
    version: str


class RemoteFile:
    """A file behind a URL; see `ByteFile`.

    A server that does not know ranges sends the whole file, which may be as long as a page.

    Args:
        client: sends the requests.
        url: of the file, without secrets; its origin is that of the client.
    """

    is_local = False

    def __init__(self, client: SourceClient, url: str) -> None:
        self._client = client
        self._target = path_and_query(url)
        self.name = url
        self._chunks: dict[int, bytes] = {}
        first = self._fetch(0)
        self._is_whole = len(first.content) == first.size
        self._chunks[0] = first.content
        self.size = first.size
        self.version = first.version

    def read_at(self, offset: int, size: int) -> bytes:
        """Read a range, from chunks that were read before where possible."""
        end = min(offset + size, self.size)
        if self._is_whole:
            return self._chunks[0][offset:end]
        parts: list[bytes] = []
        while offset < end:
            number, start = divmod(offset, CHUNK_BYTES)
            part = self._chunk(number)[start : start + end - offset]
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def check_unchanged(self) -> None:
        """Each chunk was compared with the first one when it was read."""

    def close(self) -> None:
        """Forget the chunks; the connection belongs to the client."""
        self._chunks.clear()

    def _chunk(self, number: int) -> bytes:
        if number not in self._chunks:
            chunk = self._fetch(number)
            if (chunk.size, chunk.version) != (self.size, self.version):
                raise changed_while_read(self.name)
            if len(self._chunks) == _CHUNKS_KEPT:
                del self._chunks[min(set(self._chunks) - {0})]
            self._chunks[number] = chunk.content
        return self._chunks[number]

    def _fetch(self, number: int) -> _Chunk:
        first = number * CHUNK_BYTES
        headers = {"Range": f"bytes={first}-{first + CHUNK_BYTES - 1}"}
        try:
            answer = self._client.get(self._target, headers)
        except StatusError as error:
            if error.status == 416 and number == 0:
                return _Chunk(b"", 0, "")  # there is no range in an empty file
            raise
        if answer.status != 206:
            return _Chunk(answer.body, len(answer.body), _version(answer.headers))
        return self._chunk_of(answer, first)

    def _chunk_of(self, answer: Answer, first: int) -> _Chunk:
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        size = int(found[2]) if found else 0
        expected = (str(first), min(CHUNK_BYTES, size - first))
        if found is None or (found[1], len(answer.body)) != expected:
            raise SourceError(f"{self.name}: the server sent another range than was requested")
        return _Chunk(answer.body, size, _version(answer.headers))


def _version(headers: Mapping[str, str]) -> str:
    """What changes with the file, as far as the server says; empty if it does not."""
    return headers.get("etag") or headers.get("last-modified") or ""
