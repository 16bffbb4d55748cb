"""The kind jsonl: one object a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.ingest.kinds.file_reader import FileReader  # noqa: TC001
from integration.ingest.kinds.jsonl_file import JsonlFormat
from tests.support.readers import file_reader, good, malformed, read, records

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "views.jsonl"


def reader_of(path: Path, page_records: int = 3) -> FileReader:
    """A reader of this file."""
    return file_reader(path, format_=JsonlFormat(), page_records=page_records)


def test_each_line_is_a_record(path: Path) -> None:
    """Blank lines and a byte order mark are none."""
    path.write_bytes(b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"a":{"b":[2]}}\n')
    assert records(read(reader_of(path))) == [{"a": 1}, {"a": {"b": [2]}}]


def test_an_integer_keeps_all_its_digits(path: Path) -> None:
    """A float would be another customer."""
    path.write_bytes(b'{"id":12345678901234567890123}\n{"id":18446744073709551615}\n')
    found = [record["id"] for record in good(read(reader_of(path)))]
    assert found == [12345678901234567890123, 18446744073709551615]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{oops", "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":NaN,"b":12345678901234567890123}', "NaN is not JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_line_that_is_no_object_is_kept(path: Path, line: bytes, reason: str) -> None:
    """The others are read."""
    path.write_bytes(b'{"a":1}\n' + line + b'\n{"a":2}\n')

    pages = read(reader_of(path))

    (found,) = malformed(pages)
    assert found.reason.startswith(reason) or reason in found.reason
    assert found.text == line.decode("utf-8", "backslashreplace")[:500]
    assert good(pages) == [{"a": 1}, {"a": 2}]


def test_the_message_does_not_repeat_the_line(path: Path) -> None:
    """The reason may be logged; the line may be personal."""
    path.write_bytes(b'{"email": ada@example.com}\n')
    assert "ada" not in malformed(read(reader_of(path)))[0].reason


def test_a_last_line_without_line_break_counts_if_it_is_complete(path: Path) -> None:
    """Reading goes on behind it."""
    path.write_bytes(b'{"a":1}\n{"a":2}')
    (page,) = read(reader_of(path))
    assert (len(page.records), page.error) == (2, None)
    path.write_bytes(b'{"a":1}\n{"a":2}\n{"a":3}\n')
    assert records(read(reader_of(path), page.position)) == [{"a": 3}]


def test_a_cut_off_last_line_is_an_error_that_keeps_the_rest(path: Path) -> None:
    """It is read when it is complete."""
    path.write_bytes(b'{"a":1}\n{"a":2')
    (page,) = read(reader_of(path))
    assert page.records == [{"a": 1}]
    assert "cut off at byte 8: the last line is not JSON" in str(page.error)
    path.write_bytes(b'{"a":1}\n{"a":22}\n')
    assert records(read(reader_of(path), page.position)) == [{"a": 22}]


def test_pages_limits_and_the_way_back(path: Path) -> None:
    """Each page continues where the last one ended, and decodes to the same records again."""
    path.write_bytes(b"".join(b'{"n":%d}\n' % number for number in range(10)))
    reader = reader_of(path, page_records=4)
    pages = read(reader)
    assert [len(page.records) for page in pages] == [4, 4, 2]
    assert [page.is_last for page in pages] == [False, False, True]
    assert all(reader.records_of(p.content, p.origin) == p.records for p in pages)
    first = read(reader, limit=5)
    assert len(records(first)) == 5
    assert records(read(reader, first[-1].position)) == [{"n": number} for number in range(5, 10)]
