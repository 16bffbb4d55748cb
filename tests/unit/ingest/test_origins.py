"""Where a person's record is: file and line, or URL and position."""

from __future__ import annotations

import zlib

import pytest

from integration.ingest.origins import _occurrences, _Page, _pages

HEADER = b"key,email\n"


def places(email: str, *pages: tuple[bytes, str]) -> list[tuple[int, str, int]]:
    """The records with this email."""
    numbered = (_Page(number, *page) for number, page in enumerate(pages, start=1))
    return list(_occurrences(numbered, email))


def test_the_lines_of_a_file_are_counted_over_its_pages() -> None:
    """Each page of a CSV begins with the header; the next file begins with line 1 again."""
    pages = [
        (HEADER + b"1,ann@x.com\n2,bob@x.com\n", "a.csv:10-31"),
        (HEADER + b"3,cat@x.com\n4,BOB@x.com", "a.csv:32-52"),
        (HEADER + b"9,bob@x.com\n", "b.csv:10-20"),
    ]
    assert places("bob@x.com", *pages) == [
        (1, "a.csv, line 3", 1),
        (2, "a.csv, line 5", 1),
        (3, "b.csv, line 2", 0),
    ]


def test_json_lines_have_no_header() -> None:
    """The first line is a record."""
    content = b'{"email": "ann@x.com"}\n{"email": "bob@x.com"}\n'
    assert places("ann@x.com", (content, "a.jsonl:0-47")) == [(1, "a.jsonl, line 1", 0)]
    assert places("bob@x.com", (content, "a.jsonl:0-47")) == [(1, "a.jsonl, line 2", 1)]


def test_in_a_file_that_was_continued_the_byte_is_known() -> None:
    """The lines before were read by other runs."""
    page = (HEADER + b"3,cat@x.com\n4,bob@x.com\n", "a.csv:1000-1023")
    assert places("bob@x.com", page) == [(1, "a.csv, byte 1,014", 1)]
    page = (b'{"email": "bob@x.com"}\n', "a.jsonl:1000-1022")
    assert places("bob@x.com", page) == [(1, "a.jsonl, byte 1,011", 0)]


def test_an_email_is_not_found_within_another() -> None:
    """Neither at its end nor at its beginning."""
    content = HEADER + b"1,jim-bob@x.com\n2,bob@x.com.br\n3,o.bob@x.com\n"
    assert places("bob@x.com", (content, "a.csv:10-50")) == []


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        (b'[{"email": "ann@x.com"}, {"email": "bob@x.com"}]', 1),
        (b'{"data": {"items": [{"id": 1}, {"id": 2}, {"email": "Bob@x.com"}]}, "tags": [1]}', 2),
    ],
)
def test_the_position_in_an_answer_of_an_api_is_counted(answer: bytes, index: int) -> None:
    """In the longest list; a port in the URL is no range of bytes."""
    url = "http://127.0.0.1:8080-9/customers"
    assert places("bob@x.com", (answer, url)) == [(1, f"{url}, record {index + 1}", index)]


def test_an_answer_that_cannot_be_decoded_is_named_as_a_whole() -> None:
    """As what a custom source has stored."""
    url = "https://x.com/api"
    for content in (b"bob@x.com", b'{"bob@x.com": true}'):
        assert places("bob@x.com", (content, url)) == [(1, url, -1)]


@pytest.mark.parametrize("written", ["bob@x.com", "BOB@X.COM", "Bob@x.com"])
@pytest.mark.parametrize("asked", ["bob@x.com", "Bob@X.com"])
def test_an_email_is_found_in_any_case(asked: str, written: str) -> None:
    """Whatever the case of the file and of the question; letters beyond ASCII are compared."""
    content = HEADER + f"1,ann@x.com\n2,{written}\n3,jös@x.com\n".encode()
    assert places(asked, (content, "a.csv:10-50")) == [(1, "a.csv, line 3", 1)]
    assert places("jös@X.com", (content, "a.csv:10-50")) == [(1, "a.csv, line 4", 2)]


class Pages:
    """A session that has the raw pages of a run."""

    def __init__(self, contents: dict[int, bytes]) -> None:
        self._contents = contents
        self.queries = 0

    def query(self, sql: str, parameters: tuple[int, ...]) -> list[tuple[int, bytes, str]]:
        """The pages that are asked for, as the database orders them."""
        assert sql.count("%s") == len(parameters)
        self.queries += 1
        wanted = sorted(set(parameters[1:]) & set(self._contents))
        return [(number, self._contents[number], "a.csv:10-50") for number in wanted]


def test_several_pages_are_read_with_one_statement() -> None:
    """In their order; what is damaged is left out, and so is what was deleted meanwhile."""
    contents = {number: zlib.compress(b"page %d" % number) for number in range(1, 21)}
    session = Pages(contents | {5: b"damaged"})
    found = list(_pages(session, 1, list(range(1, 22))))  # type: ignore[arg-type]
    assert [page.number for page in found] == [*range(1, 5), *range(6, 21)]
    assert {page.content for page in found} == {b"page %d" % page.number for page in found}
    assert session.queries == 3
