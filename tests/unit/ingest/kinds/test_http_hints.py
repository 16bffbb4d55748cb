"""What a first answer says about keys that are likely to be wrong."""

from __future__ import annotations

from typing import Any

import pytest

from integration.ingest.kinds.http_hints import first_page_hints
from tests.support.readers import http_source

RECORDS: list[object] = [{"id": 1, "updated_at": "2026-01-01T00:00:00Z"}]


def hints(style: str, answer: Any, **headers: str) -> list[str]:
    """The hints of an answer with one record."""
    source = http_source("http://127.0.0.1", style)
    return first_page_hints(source, answer, headers, RECORDS)


@pytest.mark.parametrize(
    ("style", "answer", "absent"),
    [
        ("cursor", {"data": [], "paging": {"next_cursor": "x"}}, "paging.next"),
        ("cursor", {"data": []}, "paging.next"),
        ("cursor", {"data": [], "paging": []}, "paging.next"),
        ("next_url", {"data": [], "links": {"next": "x"}}, "next"),
        ("link", [], "Link header"),
    ],
)
def test_an_answer_without_what_names_the_next_page(style: str, answer: Any, absent: str) -> None:
    """The rest of the source would never be read."""
    (hint,) = hints(style, answer)
    assert hint.startswith(f"crm: the answer has no {absent}, so only one page is read")
    assert "correct pagination in [sources.crm]" in hint


def test_the_names_of_the_answer_are_shown() -> None:
    """One of them may be the right one; values are not shown."""
    (hint,) = hints("cursor", {"data": [{"email": "x"}], "paging": {"next_cursor": "token"}})
    assert hint.endswith("; it has data, paging.next_cursor")


@pytest.mark.parametrize(
    ("style", "answer", "headers"),
    [
        ("cursor", {"paging": {"next": None}}, {}),
        ("cursor", {"paging": {"next": ""}}, {}),
        ("cursor", {"paging": None}, {}),
        ("link", [], {"link": '<http://x/>; rel="first"'}),
        ("page", {"data": []}, {}),
        ("none", {"data": []}, {}),
    ],
)
def test_a_source_may_have_one_page(style: str, answer: Any, headers: dict[str, str]) -> None:
    """If the answer says so, or the style needs nothing of it."""
    assert hints(style, answer, **headers) == []


@pytest.mark.parametrize("value", [None, "21.11.2026", {}])
def test_records_without_a_cursor(value: object) -> None:
    """Every run would read everything."""
    source, answer = http_source("http://127.0.0.1"), {"paging": {"next": None}}
    (hint,) = first_page_hints(source, answer, {}, [{"updated_at": value}])
    assert "no record of the first page has a time or a number at updated_at" in hint
    assert first_page_hints(source, answer, {}, [{"updated_at": value}, *RECORDS]) == []
    assert first_page_hints(source, {}, {}, []) == []
