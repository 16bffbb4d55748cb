"""Erasing records of a stored page: the others keep their bytes and positions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.ingest.erased import is_erased
from integration.ingest.kinds.erasing import without_records
from integration.ingest.kinds.readers import open_reader
from tests.support.sources import source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.ingest.models import RawRecord
    from integration.ingest.sources import Source

CSV = source_of("csv", "customers")
JSONL = source_of("jsonl", "customers")
HTTP = source_of("http", "customers", records="result.data")
# Text that CSV has to quote.
CELLS = st.text('ab,"\n\r ;é', max_size=4)


def records_of(source: Source, content: bytes) -> Sequence[RawRecord]:
    """The records of a page."""
    return open_reader(source, {}).records_of(content, "the page")


def check(source: Source, content: bytes, erased: set[int]) -> bytes:
    """Erase records, and compare the others."""
    before = records_of(source, content)
    page = without_records(source, content, erased)
    after = records_of(source, page)
    assert len(after) == len(before)
    for position, (old, new) in enumerate(zip(before, after, strict=True)):
        assert is_erased(new) if position in erased else new == old, position
    return page


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=6), st.data())
def test_csv_records_of_any_form(rows: list[list[str]], data: st.DataObject) -> None:
    """With quotes, several lines, blank lines and both line breaks."""
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    ends = data.draw(st.lists(st.sampled_from(["\n", "\r\n", "\n\n"]), min_size=10, max_size=10))
    text = "a,b,c\n" + "".join(map("".join, zip(lines, ends, strict=False)))
    count = len(records_of(CSV, text.encode()))
    check(
        CSV,
        text.encode(),
        data.draw(st.sets(st.integers(0, max(count - 1, 0)))) if count else set(),
    )


@pytest.mark.parametrize(
    "content",
    [
        b"a,b,c\n1,2,3\n4,5,6\n7,8,9",
        b"a,b,c\r\n1,2,3\r\n4,5,6\r\n7,8,9\r\n",
        b'\xef\xbb\xbfa,b,c\n1,"x\ny",3\n4,5\n7,8,9\n',
        b'a,b,c\n1,2,3\n4,"5,6\n7,8,9\n',
        b"a\n1\n2\n3\n",
    ],
)
@pytest.mark.parametrize("erased", [set(), {0}, {1}, {2}, {0, 1, 2}])
def test_csv_pages(content: bytes, erased: set[int]) -> None:
    """A record with too few cells, an open quote, one column."""
    page = check(CSV, content, erased)
    assert page == content if not erased else page != content


@pytest.mark.parametrize("erased", [set(), {0}, {1}, {2}])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_lines_of_json(start: bytes, erased: set[int]) -> None:
    """Blank lines are none; a line that is not JSON is."""
    content = start + b'{"a": 1.50}\r\n\n{"a": \n  \n{"b": "\xc3\xa9"}\n'
    check(JSONL, content, erased)


@pytest.mark.parametrize("erased", [set(), {0}, {3}, {1, 2}, {0, 1, 2, 3}])
def test_items_of_an_answer(erased: set[int]) -> None:
    """All other bytes stay, down to spaces and the digits of a number."""
    content = (
        b'\n{"n": 1e400, "result" : {"x": "]}", "data":[ {"a":1.50}, {"a":{"b":[1,{}]}} ,\n'
        b'"text",{"a":"\xc3\xa9\\u00e9"} ] , "last": 123456789012345678901234567890}}'
    )
    source = source_of("http", "customers", records="result.data")
    page = without_records(source, content, erased)
    assert page.count(b'{"$erased": true}') == len(erased)
    for part in (b'1e400, "result" : {"x": "]}"', b'"last": 123456789012345678901234567890}}'):
        assert part in page
    items: list[Any] = json.loads(page)["result"]["data"]
    for position, item in enumerate(json.loads(content)["result"]["data"]):
        assert items[position] == ({"$erased": True} if position in erased else item)


def test_an_answer_that_is_the_list() -> None:
    """Without a path; an empty one has nothing to erase."""
    source = source_of("http", "customers")
    assert without_records(source, b"[1, {}]", {0}) == b'[{"$erased": true}, {}]'
    assert without_records(source, b" [ ] ", set()) == b" [ ] "


@pytest.mark.parametrize("content", [b'{"other": []}', b'{"result": 1}', b"[]", b"<html>", b""])
def test_an_answer_of_another_form_is_refused(content: bytes) -> None:
    """Its records cannot be told apart."""
    with pytest.raises(ValueError, match=r"."):
        without_records(HTTP, content, {0})
