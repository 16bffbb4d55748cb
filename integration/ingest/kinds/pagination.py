"""Which page comes next, in every style of pagination. Pure.

A `Place` says which page to request; it is JSON, and stands in the checkpoint of a run that is
under way. {} is the first page of sources that give a token or an address for the next one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.ingest.sources import Pagination

Place = dict[str, object]

_LINK = re.compile(r'<([^>]*)>((?:[^,"]|"[^"]*")*)')
_NEXT = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;",]+))', re.IGNORECASE)


class PageError(ValueError):
    """An answer does not say properly which page comes next; the message has no personal data."""


def first_place(pagination: Pagination) -> Place:
    """The place of the first page."""
    if pagination.kind == "page":
        return {"page": pagination.first}
    return {"offset": 0} if pagination.kind == "offset" else {}


def is_place(pagination: Pagination, place: object) -> bool:
    """Whether this, from a checkpoint, is a place in such a source."""
    if not isinstance(place, dict):
        return False
    names = {"page": "page", "offset": "offset", "cursor": "cursor"}
    name = names.get(pagination.kind, "url")
    return not place.keys() - {name} and (bool(place) or pagination.kind not in {"page", "offset"})


def target_of(
    pagination: Pagination, place: Place, target: str, parameters: Mapping[str, str]
) -> str:
    """The path and query of a page.

    Args:
        pagination: the style of the source.
        place: of the page.
        target: path and query of the source.
        parameters: page size and lowest change; an address that the source gave has them.
    """
    if "url" in place:
        return str(place["url"])
    own: dict[str, str] = {}
    if pagination.kind in {"page", "offset", "cursor"} and place:
        (value,) = place.values()
        own[getattr(pagination, "parameter", "")] = str(value)
    return with_parameters(target, {**parameters, **own})


def with_parameters(target: str, parameters: Mapping[str, str]) -> str:
    """A path and query with these parameters set."""
    path, _, query = target.partition("?")
    kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in parameters]
    merged = urlencode([*kept, *parameters.items()])
    return f"{path}?{merged}" if merged else path


def next_place(
    pagination: Pagination, place: Place, answer: object, headers: Mapping[str, str], count: int
) -> Place | None:
    """The place of the page after this one, or None if this is the last.

    Pages that are numbered end with one that is empty, not with one that is short: a source may
    give fewer records than it was asked for. An address in the place is as the source sent it.

    Args:
        pagination: the style of the source.
        place: of this page.
        answer: the decoded JSON.
        headers: of the answer, to be looked up in lower case.
        count: how many records the page has.

    Raises:
        PageError: what should name the next page does not.
    """
    if pagination.kind == "none":
        return None
    if pagination.kind == "page":
        return {"page": _number(place["page"]) + 1} if count else None
    if pagination.kind == "offset":
        return {"offset": _number(place["offset"]) + count} if count else None
    if pagination.kind == "link":
        url = next_link(headers.get("link", ""))
        return {"url": url} if url else None
    token = value_at(answer, pagination.next)
    if token is None or token == "":
        return None
    if isinstance(token, bool) or not isinstance(token, (str, int)):
        raise PageError(f"{pagination.next} is not a text or a number, but {type(token).__name__}")
    return {"cursor" if pagination.kind == "cursor" else "url": token}


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise PageError("the checkpoint has no number of the page")
    return value


def next_link(header: str) -> str | None:
    """The address with rel="next" in a `Link` header (RFC 8288, section 3)."""
    for url, parameters in _LINK.findall(header):
        found = _NEXT.search(parameters)
        if found and "next" in (found[1] or found[2] or "").lower().split():
            return str(url)
    return None


def value_at(value: object, path: str) -> object:
    """The value at a path such as `paging.next`, or None if there is none."""
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
