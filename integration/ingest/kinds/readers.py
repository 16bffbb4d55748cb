"""The reader of a source, by its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from integration.config.converting import ConfigurationError
from integration.ingest.kinds.csv_file import CsvFormat
from integration.ingest.kinds.file_reader import FileReader
from integration.ingest.kinds.files import LocalFile, matching_paths
from integration.ingest.kinds.http import HttpReader
from integration.ingest.kinds.http_addresses import origin_of
from integration.ingest.kinds.http_client import Credentials, SourceClient
from integration.ingest.kinds.jsonl_file import JsonlFormat
from integration.ingest.kinds.remote_file import RemoteFile
from integration.ingest.sources import CsvSource, HttpSource, is_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from integration.ingest.kinds.file_positions import ByteFile
    from integration.ingest.models import Reader
    from integration.ingest.sources import JsonlSource, Source
    from integration.iterable.pause import Pause

_FILE_REQUESTS_PER_SECOND = 50.0


class ClientFactory(Protocol):
    """Makes the client of a source; the options that it leaves to the caller."""

    def __call__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        requests_per_second: float = _FILE_REQUESTS_PER_SECOND,
    ) -> SourceClient:
        """The client for the origin of a URL."""
        ...


def open_reader(
    source: Source,
    secrets: Mapping[str, str],
    *,
    timeout_seconds: float = 10,
    max_attempts: int = 3,
    pause: Pause | None = None,
) -> Reader:
    """The reader of a source; nothing is read before its pages are requested.

    Args:
        source: from `sources.toml`.
        secrets: the values that its `auth` names, by variable; decoding stored pages needs none.
        timeout_seconds: to connect, and then for each response.
        max_attempts: the maximum number of attempts of a request.
        pause: how to wait, and whether the run is to stop.

    Raises:
        ConfigurationError: the environment's proxy or CA bundle cannot be used.
    """

    def client(
        url: str,
        *,
        credentials: Credentials | None = None,
        requests_per_second: float = _FILE_REQUESTS_PER_SECOND,
    ) -> SourceClient:
        return SourceClient(
            source.name,
            url,
            credentials=credentials,
            timeout_seconds=timeout_seconds,
            max_attempts=max_attempts,
            requests_per_second=requests_per_second,
            pause=pause,
        )

    try:
        if isinstance(source, HttpSource):
            return _http_reader(source, secrets, client)
        return _file_reader(source, client)
    except ValueError as error:
        raise ConfigurationError(f"{source.name}: {error}") from error


def _http_reader(
    source: HttpSource, secrets: Mapping[str, str], client: ClientFactory
) -> HttpReader:
    auth, credentials = source.auth, None
    if auth is not None and (secret := secrets.get(auth.variable)):
        credentials = Credentials(auth.header, auth.prefix + secret, secret, auth.variable)
    rate = source.requests_per_second
    return HttpReader(source, client(source.url, credentials=credentials, requests_per_second=rate))


def _file_reader(source: CsvSource | JsonlSource, client: ClientFactory) -> FileReader:
    files = SourceFiles(source.path, client)
    if isinstance(source, CsvSource):
        format_ = CsvFormat(source.delimiter, source.encoding, source.quote)
        return FileReader(files.names, files.open, format_, on_close=files.close)
    return FileReader(files.names, files.open, JsonlFormat(), on_close=files.close)


class SourceFiles:
    """The files that a source names: paths, globs and URLs.

    Args:
        locations: as the source names them.
        client: makes the client for a URL.
    """

    def __init__(self, locations: Sequence[str], client: ClientFactory) -> None:
        self._locations = locations
        self._new_client = client
        self._clients: dict[str, SourceClient] = {}

    def names(self) -> list[str]:
        """What there is to read, in order, each once."""
        found: list[str] = []
        for location in self._locations:
            found += [location] if is_url(location) else matching_paths([location])
        return list(dict.fromkeys(found))

    def open(self, name: str) -> ByteFile:
        """Open one of them."""
        if not is_url(name):
            return LocalFile(name)
        origin = origin_of(name)
        if origin not in self._clients:
            self._clients[origin] = self._new_client(name)
        return RemoteFile(self._clients[origin], name)

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()
