"""The kind csv: pages, byte offsets, and what is wrong with a file."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.ingest.errors import SourceError
from integration.ingest.kinds import file_reader as reader_module
from integration.ingest.kinds import files as files_module
from integration.ingest.kinds.csv_file import CsvFormat
from integration.ingest.models import Malformed
from tests.support.readers import file_reader, good, malformed, read, records

if TYPE_CHECKING:
    from pathlib import Path

CELLS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from('",\n\r;é'), max_size=8
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "customers.csv"


def rows(path: Path, content: bytes) -> list[dict[str, object]]:
    """The records of a file with this content."""
    path.write_bytes(content)
    return good(read(file_reader(path)))


def test_a_record_has_a_cell_for_each_column(path: Path) -> None:
    """All cells are text."""
    assert rows(path, b"id,email\n1,a@example.com\n2,\n") == [
        {"id": "1", "email": "a@example.com"},
        {"id": "2", "email": ""},
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\r\n1,2\r\n3,4\r\n",
        b"a,b\n1,2\n3,4",
        b"\xef\xbb\xbfa,b\n1,2\n3,4\n",
        b"\n\na,b\n\n1,2\n\r\n3,4\n\n\n",
        b'"a","b"\n"1","2"\n"3",4\n',
        b" a , b \n1,2\n3,4\n",
    ],
    ids=["crlf", "no last line break", "byte order mark", "blank lines", "quotes", "spaces"],
)
def test_the_same_records_in_other_words(path: Path, content: bytes) -> None:
    """What RFC 4180 allows, and what spreadsheets write."""
    assert rows(path, content) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_quotes_delimiters_and_line_breaks_in_a_cell(path: Path) -> None:
    """They belong to the cell."""
    content = b'a,b\n"x,y","say ""hi"""\n"1\r\n2\n\n3",4\n'
    assert rows(path, content) == [{"a": "x,y", "b": 'say "hi"'}, {"a": "1\r\n2\n\n3", "b": "4"}]


def test_another_dialect(path: Path) -> None:
    """Delimiter, quote and encoding are those of the source."""
    path.write_bytes("name;city\n'Zoë; x';Köln\n".encode("latin-1"))
    format_ = CsvFormat(";", "latin-1", "'")
    assert good(read(file_reader(path, format_=format_))) == [{"name": "Zoë; x", "city": "Köln"}]


def test_without_a_quote_character_quotes_are_text(path: Path) -> None:
    """As in files of database tools."""
    path.write_bytes(b'a\tb\n5" disk\t"x\n')
    format_ = CsvFormat("\t", "utf-8", "")
    assert good(read(file_reader(path, format_=format_))) == [{"a": '5" disk', "b": '"x'}]


@given(st.lists(st.tuples(CELLS, CELLS), max_size=12), st.integers(1, 4), st.data())
def test_reading_can_end_after_each_page(
    tmp_path_factory: pytest.TempPathFactory,
    cells: list[tuple[str, str]],
    page_records: int,
    data: st.DataObject,
) -> None:
    """Pages and offsets are exact: nothing is lost or read twice, whatever is in the cells."""
    path = tmp_path_factory.mktemp("csv") / "file.csv"
    text = io.StringIO()
    # With "\n", Python does not quote a cell that contains "\r".
    dialects: list[tuple[Any, str]] = [(csv.QUOTE_ALL, "\n"), (csv.QUOTE_MINIMAL, "\r\n")]
    quoting, line_break = data.draw(st.sampled_from(dialects))
    writer = csv.writer(text, quoting=quoting, lineterminator=line_break)
    writer.writerows([("a", "b"), *cells])
    path.write_bytes(text.getvalue().encode())
    reader = file_reader(path, page_records=page_records)
    expected = [{"a": a, "b": b} for a, b in cells]

    with pytest.MonkeyPatch.context() as patch:
        part = data.draw(st.integers(1, 40))
        patch.setattr(files_module, "PART_BYTES", part)
        patch.setattr(reader_module, "PART_BYTES", part)
        whole = read(reader)
        assert records(whole) == expected
        found, position = [], None
        while pages := read(reader, position, limit=data.draw(st.integers(1, 3))):
            found += records(pages)
            position = pages[-1].position
            if not pages[-1].records:
                break
        assert found == expected
    for page in whole:
        assert reader.records_of(page.content, page.origin) == page.records


def test_a_page_is_stored_with_the_header(path: Path) -> None:
    """So that it can be decoded without its file; the origin says which bytes it has."""
    path.write_bytes(b"a,b\n1,2\n3,4\n5,6\n7,8\n")

    first, last = read(file_reader(path))

    assert (first.number, first.content) == (1, b"a,b\n1,2\n3,4\n5,6\n")
    assert (last.number, last.content) == (2, b"a,b\n7,8\n")
    assert (first.origin, last.origin) == (f"{path}:4-15", f"{path}:16-19")
    assert (first.is_last, last.is_last) == (False, True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,2,3", "3 cells, expected 2"),
        (b"1", "1 cells, expected 2"),
        (b"caf\xe9,2", "not utf-8: check the encoding of the source"),
        (b'"1"x,2', "',' expected after '\"'"),
        (b"1\r,2", "new-line character seen in unquoted field"),
    ],
)
def test_a_line_that_is_no_record_is_kept(path: Path, line: bytes, reason: str) -> None:
    """The others are read."""
    path.write_bytes(b"a,b\n1,2\n" + line + b"\n3,4\n")

    pages = read(file_reader(path))

    (found,) = malformed(pages)
    assert reason in found.reason
    assert found.text == line.decode("utf-8", "backslashreplace").rstrip("\r")
    assert good(pages) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert [r for p in pages for r in file_reader(path).records_of(p.content, p.origin)] == records(
        pages
    )


def test_the_text_of_a_long_line_is_shortened(path: Path) -> None:
    """To 500 characters."""
    path.write_bytes(b"a,b\n" + b"x" * 1000 + b"\n")
    assert len(malformed(read(file_reader(path)))[0].text) == 500


def test_a_stray_quote_costs_one_record(path: Path) -> None:
    """It does not swallow the rest of the file."""
    lines = [b'7,"oops' if number == 7 else b"%d,ok" % number for number in range(30_000)]
    path.write_bytes(b"a,b\n" + b"\n".join(lines) + b"\n")

    pages = read(file_reader(path, page_records=5000))

    assert [bad.text for bad in malformed(pages)] == ['7,"oops']
    assert len(good(pages)) == 29_999


def test_a_quote_is_closed_on_the_next_page(path: Path) -> None:
    """A record of many lines stays whole, also with a limit."""
    cell = "\n".join(str(number) for number in range(50))
    path.write_bytes(f'a,b\n1,"{cell}"\n2,3\n'.encode())
    assert good(read(file_reader(path), limit=1)) == [{"a": "1", "b": cell}]
    assert len(good(read(file_reader(path)))) == 2


@pytest.mark.parametrize(
    ("end", "reason"),
    [(b"5", "the last line has 1 cells, expected 2"), (b'5,"6', "a quote is not closed")],
)
def test_a_cut_off_file_is_an_error_that_keeps_the_rest(
    path: Path, end: bytes, reason: str
) -> None:
    """When the file is complete, reading continues at that line."""
    path.write_bytes(b"a,b\n1,2\n3,4\n" + end)

    (page,) = read(file_reader(path))

    assert page.records == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert page.is_last
    assert reason in str(page.error)
    assert "cut off at byte 12" in str(page.error)
    path.write_bytes(b"a,b\n1,2\n3,4\n5,6\n")
    (rest,) = read(file_reader(path), page.position)
    assert (rest.records, rest.error) == ([{"a": "5", "b": "6"}], None)


def test_a_cut_off_only_line_is_an_error(path: Path) -> None:
    """There is no page that could carry it."""
    path.write_bytes(b'a,b\n"1')
    with pytest.raises(SourceError, match="cut off at byte 4"):
        read(file_reader(path))


def test_a_last_line_without_line_break_is_read_again_when_it_has_grown(path: Path) -> None:
    """Its last cell may not have been complete."""
    path.write_bytes(b"a,b\n1,2\n3,2026-01-1")
    (page,) = read(file_reader(path))
    assert good([page])[1] == {"a": "3", "b": "2026-01-1"}
    assert read(file_reader(path), page.position) == []

    path.write_bytes(b"a,b\n1,2\n3,2026-01-13\n")

    assert good(read(file_reader(path), page.position)) == [{"a": "3", "b": "2026-01-13"}]


def test_an_empty_file_has_no_records(path: Path) -> None:
    """Nor has one with a header only; both are read to their end."""
    for content in (b"", b"\n", b"a,b", b"a,b\n"):
        path.write_bytes(content)
        (page,) = read(file_reader(path))
        assert (list(page.records), page.is_last, page.error) == ([], True, None)
        assert read(file_reader(path), page.position) == []


def test_a_file_of_one_column(path: Path) -> None:
    """A blank line is no record."""
    assert rows(path, b"email\na@example.com\n\nb@example.com\n") == [
        {"email": "a@example.com"},
        {"email": "b@example.com"},
    ]


def test_ten_thousand_columns(path: Path) -> None:
    """A header may be longer than a usual line."""
    names = ",".join(f"column_{number}" for number in range(10_000))
    cells = ",".join(str(number) for number in range(10_000))
    (record,) = rows(path, f"{names}\n{cells}\n".encode())
    assert len(record) == 10_000
    assert record["column_9999"] == "9999"


def test_two_columns_with_one_name_are_an_error(path: Path) -> None:
    """One would hide the other."""
    with pytest.raises(SourceError, match="two columns 'email': rename or remove one"):
        rows(path, b"id,email,email\n1,a,b\n")


def test_a_header_in_another_encoding_is_an_error(path: Path) -> None:
    """The message names the encoding."""
    with pytest.raises(SourceError, match=r"no header that can be read: not utf-8"):
        rows(path, b"id,pr\xe9nom\n1,a\n")


def test_latin_1_under_utf_8_is_malformed_line_by_line(path: Path) -> None:
    """Lines in ASCII are read."""
    path.write_bytes("id,name\n1,Zoë\n2,Ada\n3,Köln\n".encode("latin-1"))
    pages = read(file_reader(path))
    assert [type(record) for record in records(pages)] == [Malformed, dict, Malformed]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": ""}, "delimiter is ''"),
        ({"delimiter": ",,"}, "delimiter is ',,'"),
        ({"quote": "''"}, "quote is"),
        ({"quote": ","}, "quote and delimiter are both ','"),
        ({"encoding": "no-such"}, "encoding is 'no-such'"),
        ({"encoding": "utf-16"}, "convert the file to UTF-8"),
    ],
)
def test_an_impossible_dialect_is_refused(options: dict[str, str], message: str) -> None:
    """When the source is set up, not when the file is read."""
    with pytest.raises(ValueError, match=message):
        CsvFormat(**options)


def test_a_record_without_end_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not read into memory as a whole."""
    monkeypatch.setattr(reader_module, "MAX_RECORD_BYTES", 2_000_000)
    path.write_bytes(b"a,b\n1,2\n" + b"x" * 5_000_000)
    (page,) = read(file_reader(path))
    assert page.records == [{"a": "1", "b": "2"}]
    assert "a record of more than 2 MB at byte 8" in str(page.error)
