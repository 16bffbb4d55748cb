"""Which page comes next: decisions about values."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from integration.ingest.kinds.pagination import (
    PageError,
    first_place,
    is_place,
    next_link,
    next_place,
    target_of,
    value_at,
    with_parameters,
)
from integration.ingest.sources import Pagination

PAGINATION: TypeAdapter[Pagination] = TypeAdapter(Pagination)


def style(kind: str, **options: Any) -> Pagination:
    """A style with the usual parameters."""
    usual: dict[str, dict[str, Any]] = {
        "cursor": {"parameter": "cursor", "next": "paging.next"},
        "next_url": {"next": "next"},
    }
    return PAGINATION.validate_python({"kind": kind, **usual.get(kind, {}), **options})


def following(pagination: Pagination, place: dict[str, object], answer: object, count: int) -> Any:
    """The next place of an answer without headers."""
    return next_place(pagination, place, answer, {}, count)


def test_numbered_pages_end_with_an_empty_one() -> None:
    """A short one is not the last; an offset advances by what came."""
    assert following(style("page"), {"page": 1}, {}, 1) == {"page": 2}
    assert following(style("page"), {"page": 2}, {}, 0) is None
    assert following(style("offset"), {"offset": 10}, {}, 7) == {"offset": 17}
    assert following(style("offset"), {"offset": 17}, {}, 0) is None
    assert first_place(style("page", first=0)) == {"page": 0}


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ({"paging": {"next": "abc"}}, {"cursor": "abc"}),
        ({"paging": {"next": 7}}, {"cursor": 7}),
        ({"paging": {"next": 0}}, {"cursor": 0}),
        ({"paging": {"next": None}}, None),
        ({"paging": {"next": ""}}, None),
        ({"paging": {}}, None),
        ({"paging": None}, None),
        ({}, None),
        ([], None),
    ],
)
def test_a_token_names_the_next_page(answer: object, place: dict[str, object] | None) -> None:
    """Without one, this is the last."""
    assert following(style("cursor"), {}, answer, 5) == place


@pytest.mark.parametrize("token", [True, 1.5, {}, ["x"]])
def test_a_token_of_another_type_is_an_error(token: object) -> None:
    """Rather than the end of the data."""
    with pytest.raises(PageError, match=r"paging\.next is not a text or a number"):
        following(style("cursor"), {}, {"paging": {"next": token}}, 5)


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ('<https://a.example/x?page=2>; rel="next"', "https://a.example/x?page=2"),
        ('</1>; rel="first", </2>; rel="next", </9>; rel=last', "/2"),
        ('</2>; title="a, b"; rel=next', "/2"),
        ('</2>; rel="last NEXT"', "/2"),
        ("<a,b;c>; rel=next", "a,b;c"),
        ('</2>; rel="nextpage"', None),
        ('</2>; rel="prev"', None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_the_link_header(header: str, url: str | None) -> None:
    """Of several links, the one whose relations include next."""
    assert next_link(header) == url


def test_the_address_of_a_page() -> None:
    """Parameters of the source's own address stay; an address that the source gave is complete."""
    page = target_of(style("page"), {"page": 3}, "/x?fields=a%2Cb&page=1", {"limit": "5"})
    assert page == "/x?fields=a%2Cb&limit=5&page=3"
    first = target_of(style("cursor"), {}, "/x", {"since": "2026-01-01T00:00:00Z"})
    assert first == "/x?since=2026-01-01T00%3A00%3A00Z"
    assert target_of(style("link"), {"url": "/y?z=1"}, "/x", {"limit": "5"}) == "/y?z=1"
    assert with_parameters("/x", {}) == "/x"


@pytest.mark.parametrize(
    ("kind", "place", "expected"),
    [
        ("page", {"page": 2}, True),
        ("page", {}, False),
        ("page", {"cursor": "x"}, False),
        ("cursor", {"cursor": "x"}, True),
        ("cursor", {}, True),
        ("cursor", {"url": "/x"}, False),
        ("link", {"url": "/x"}, True),
        ("link", None, False),
    ],
)
def test_a_place_of_another_style_is_none(kind: str, place: object, expected: bool) -> None:
    """The style may have been changed since the checkpoint."""
    assert is_place(style(kind), place) == expected


def test_a_path_that_is_not_there_has_no_value() -> None:
    """Nor one through a list or a text."""
    assert value_at({"a": {"b": 1}}, "a.b") == 1
    assert value_at({"a": [1]}, "a.b") is None
    assert value_at("a", "a") is None
