"""Files at a URL: ranges, growth, changes, and servers that do not know ranges."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from integration.ingest.errors import SourceError, SourceLimited, SourceUnavailable
from integration.ingest.kinds import file_positions, file_reader, files, readers, remote_file
from integration.ingest.kinds.readers import open_reader
from integration.ingest.sources import CsvSource, HttpSource, JsonlSource, Source
from tests.support.readers import SECRET, NoWait, good, http_source, read, records, window
from tests.support.scripted_server import scripted_server

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from integration.ingest.models import Reader
    from sandbox.source import SourceProcess


def source_of(kind: str, *locations: str, **options: Any) -> Source:
    """A source of page views in files."""
    model = CsvSource if kind == "csv" else JsonlSource
    values = {"name": "web", "entity": "page_views", "kind": kind, "path": list(locations)}
    return model.model_validate({**values, **options})


def reader_of(location: str, kind: str = "csv", pause: NoWait | None = None) -> Reader:
    """A reader whose retries do not wait."""
    pause = pause or NoWait()
    return open_reader(source_of(kind, location), {}, timeout_seconds=5, pause=pause.pause)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small file has several; the pace of files is for large chunks."""
    monkeypatch.setattr(remote_file, "CHUNK_BYTES", 50_000)
    monkeypatch.setattr(file_positions, "HEAD_BYTES", 1_000)
    monkeypatch.setattr(files, "PART_BYTES", 10_000)
    monkeypatch.setattr(file_reader, "PART_BYTES", 10_000)
    monkeypatch.setattr(readers, "_FILE_REQUESTS_PER_SECOND", 10_000.0)


@pytest.mark.parametrize("name", ["csv", "jsonl", "csv.gz", "jsonl.gz"])
@pytest.mark.parametrize("no_ranges", [False, True])
def test_a_download_has_all_records(source: SourceProcess, name: str, no_ranges: bool) -> None:
    """In ranges, or as a whole."""
    source.configure(page_views=2000, no_ranges=no_ranges)
    reader = reader_of(f"{source.url}/files/page_views.{name}", name.partition(".")[0])

    pages = read(reader)

    assert [record["id"] for record in good(pages)] == [f"v{n}" for n in range(1, 2001)]
    assert pages[0].origin.startswith(f"{source.url}/files/page_views.{name}:")
    ranges = [request["range"] for request in source.requests()]
    assert len(ranges) == len(set(ranges))
    assert (len(ranges) == 1) == (no_ranges or name.endswith(".gz"))
    reader.close()


def test_an_unchanged_download_costs_one_request(source: SourceProcess) -> None:
    """Of its first bytes."""
    source.configure(page_views=1000)
    reader = reader_of(f"{source.url}/files/page_views.csv")
    position = read(reader)[-1].position
    source.reset()
    assert read(reader, json.loads(json.dumps(position))) == []
    assert len(source.requests()) == 1


def test_a_killed_run_continues_at_its_offset(source: SourceProcess) -> None:
    """Without reading again what precedes it, apart from the beginning."""
    source.configure(page_views=5_000)
    reader = reader_of(f"{source.url}/files/page_views.jsonl", "jsonl")
    pages = read(reader)
    source.reset()
    source.configure(page_views=5_000)
    rest = read(reader, pages[20].position)
    assert records(rest) == records(pages[21:])
    ranges = [request["range"] for request in source.requests()]
    assert "bytes=50000-99999" not in ranges
    assert len(ranges) == len(set(ranges))


def test_a_download_that_changes_while_it_is_read_is_an_error(source: SourceProcess) -> None:
    """The server says so with another ETag; what was read before counts."""
    source.configure(page_views=5_000)
    pages = reader_of(f"{source.url}/files/page_views.csv").pages(None, window())
    found = [next(pages)]
    source.touch("page_views", 1)

    found += list(pages)

    assert "changed while it was read" in str(found[-1].error)
    assert [r["id"] for r in good(found)] == [f"v{n}" for n in range(1, len(good(found)) + 1)]


@pytest.mark.parametrize("kind", ["reset_middle", "truncated", "reset_before"])
def test_a_lost_range_is_requested_again(source: SourceProcess, kind: str) -> None:
    """Only that one."""
    source.configure(page_views=3000)
    source.faults({"kind": kind, "skip": 2, "times": 2})
    pause = NoWait()
    assert len(records(read(reader_of(f"{source.url}/files/page_views.csv", pause=pause)))) == 3000
    assert len(pause.waits) == 2


def test_a_source_that_goes_away_keeps_what_was_complete(source: SourceProcess) -> None:
    """The next run continues there."""
    source.configure(page_views=3000)
    source.faults({"kind": "status", "status": 503, "skip": 3, "times": 3})
    reader = reader_of(f"{source.url}/files/page_views.csv")
    pages = read(reader)
    assert isinstance(pages[-1].error, SourceUnavailable)
    assert 0 < len(records(pages)) < 3000
    assert len(records(pages)) + len(records(read(reader, pages[-1].position))) == 3000


def test_an_empty_download_has_no_records(source: SourceProcess) -> None:
    """A server answers 416 to a range of it."""
    source.configure(page_views=0)
    reader = reader_of(f"{source.url}/files/page_views.jsonl", "jsonl")
    (page,) = read(reader)
    assert (list(page.records), page.is_last, page.error) == ([], True, None)


def test_a_missing_download_is_an_error(source: SourceProcess) -> None:
    """With its address."""
    with pytest.raises(SourceError, match=r"/files/other\.csv answered with status 404"):
        read(reader_of(f"{source.url}/files/other.csv"))


def test_a_rate_limit_ends_the_reading_of_all_files(source: SourceProcess) -> None:
    """The next file would wait a minute for the same answer."""
    long = {"kind": "status", "status": 429, "headers": {"Retry-After": "3600"}, "times": 100}
    source.faults(long | {"path": "/files/page_views.csv"})
    urls = [f"{source.url}/files/{name}.csv" for name in ("page_views", "customers")]
    reader = open_reader(source_of("csv", *urls), {}, timeout_seconds=5, pause=NoWait().pause)
    with pytest.raises(SourceLimited, match=r"page_views\.csv limits the rate"):
        read(reader)
    assert {request["path"] for request in source.requests()} == {"/files/page_views.csv"}


@pytest.mark.parametrize("range_", ["bytes 7-8/100", "bytes */100", "nonsense", "bytes 0-1/3"])
def test_a_wrong_range_is_an_error(range_: str) -> None:
    """Its bytes would be taken for others."""

    def reply(connection: socket.socket, request: bytes) -> None:
        head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: {range_}\r\nContent-Length: 2\r\n"
        connection.sendall(f"{head}\r\nn\n".encode())

    with scripted_server(reply) as server, pytest.raises(SourceError, match="another range"):
        read(reader_of(f"{server.url}/x.csv"))


def test_a_download_without_validators_is_compared_by_its_content() -> None:
    """An ETag is not needed to notice that nothing is new, or that something is."""
    content = [b"n\n1\n"]

    def reply(connection: socket.socket, request: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content[0])
        connection.sendall(head + content[0])

    with scripted_server(reply) as server:
        reader = reader_of(f"{server.url}/x.csv")
        position = read(reader)[-1].position
        assert read(reader, position) == []
        content[0] = b"n\n2\n"
        assert good(read(reader, position)) == [{"n": "2"}]
        content[0] = b"n\n1\n3\n"
        assert good(read(reader, position)) == [{"n": "3"}]
        reader.close()


def test_a_stop_ends_a_download(source: SourceProcess) -> None:
    """Without an error."""
    source.configure(page_views=5_000)
    pause = NoWait()
    pages = reader_of(f"{source.url}/files/page_views.csv", pause=pause).pages(None, window())
    found = [next(pages)]
    pause.stops = True
    found += list(pages)
    assert not found[-1].is_last
    assert found[-1].error is None


def test_paths_and_urls_of_one_source(source: SourceProcess, tmp_path: Path) -> None:
    """One after the other, each once."""
    (tmp_path / "a.csv").write_text("id\nlocal\n")
    url = f"{source.url}/files/page_views.csv"
    locations = [str(tmp_path / "*.csv"), url, str(tmp_path / "a.csv")]
    reader = open_reader(source_of("csv", *locations), {})
    found = [record["id"] for record in good(read(reader))]
    assert found == ["local", *(f"v{number}" for number in range(1, 21))]


def test_the_reader_of_each_kind(source: SourceProcess) -> None:
    """By the configuration of the source; the secret comes from its variable."""
    source.configure(token=SECRET)
    auth = {"header": "Authorization", "prefix": "Bearer ", "variable": "CRM_TOKEN"}
    api = http_source(source.url, auth=auth)
    assert isinstance(api, HttpSource)
    reader = open_reader(api, {"CRM_TOKEN": SECRET})
    pages = read(reader)
    assert len(records(pages)) == 10
    reader.close()
    without_secret = open_reader(api, {})
    assert without_secret.records_of(pages[0].content, pages[0].origin) == pages[0].records
    without_secret.close()
