"""Pages of a mock source in every style of pagination."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from sandbox.answers import Answer, json_answer
from sandbox.source.data import Key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox.source.data import Table

STYLES: dict[str, str] = {
    "none": 'all records in {"data": […]}',
    "page": '?page=1, 2, …; {"data": […], "page": 1}; empty after the last one',
    "offset": '?offset=0, 100, …; {"data": […]}; empty after the last one',
    "cursor": '?cursor=TOKEN; {"data": […], "paging": {"next": TOKEN or null}}',
    "link": 'header Link: <URL>; rel="next"; the answer is the list',
    "next_url": '{"data": […], "next": URL or null}',
}
_NUMBERED = frozenset({"page", "offset"})


class BadQueryError(ValueError):
    """A parameter that the mock source does not understand."""


@dataclass(frozen=True, slots=True)
class Query:
    """A request for a page.

    Attributes:
        base: the address of the path, without a query.
        parameters: of the query.
        limit: how many records the page has at most.
        repeats: the page is the first one, whatever the request says.
        token: the next page's token, instead of the right one.
    """

    style: str
    base: str
    parameters: Mapping[str, str]
    limit: int
    repeats: bool = False
    token: str | None = None

    @property
    def since(self) -> datetime | None:
        """The parameter `updated_since`."""
        text = self.parameters.get("updated_since")
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise BadQueryError(f"updated_since is {text!r}, expected a time") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def number(self, name: str, default: int) -> int:
        """A parameter that is a number."""
        text = self.parameters.get(name, str(default))
        if not text.isdecimal():
            raise BadQueryError(f"{name} is {text!r}, expected a number")
        return int(text)


def page_answer(table: Table, query: Query) -> Answer:
    """Return the page that a query asks for.

    Raises:
        BadQueryError: a parameter makes no sense.
    """
    selected = table.since(query.since)
    if query.style == "none":
        return json_answer({"data": [json_safe(table.record(number)) for number in selected]})
    if query.style in _NUMBERED:
        return _numbered_page(table, query, selected)
    return _token_page(table, query, selected)


def _numbered_page(table: Table, query: Query, selected: Sequence[int]) -> Answer:
    if query.style == "page":
        number = query.number("page", 1)
        first, extra = (number - 1) * query.limit, {"page": number}
    else:
        first, extra = query.number("offset", 0), {}
    first = 0 if query.repeats else max(first, 0)
    records = [json_safe(table.record(number)) for number in selected[first : first + query.limit]]
    return json_answer({"data": records, **extra})


def _token_page(table: Table, query: Query, selected: Sequence[int]) -> Answer:
    token = query.parameters.get("cursor")
    rest = selected
    if token is not None and not query.repeats:
        rest = table.after(_key_of(token), selected)
    numbers = rest[: query.limit]
    following = _token_of(table.key(numbers[-1])) if len(rest) > query.limit else None
    return _in_style(
        query, [json_safe(table.record(number)) for number in numbers], query.token or following
    )


def _in_style(query: Query, records: list[object], token: str | None) -> Answer:
    if query.style == "cursor":
        return json_answer({"data": records, "paging": {"next": token}})
    url = None
    if token is not None:
        url = f"{query.base}?{urlencode({**query.parameters, 'cursor': token})}"
    if query.style == "next_url":
        return json_answer({"data": records, "next": url})
    links = (("Link", f'<{query.base}>; rel="first", <{url}>; rel="next"'),) if url else ()
    return Answer(200, orjson.dumps(records), headers=links)


def _token_of(key: Key) -> str:
    text = f"{key.updated_at.isoformat()} {key.number}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _key_of(token: str) -> Key:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        moment, _, number = text.partition(" ")
        return Key(datetime.fromisoformat(moment), int(number))
    except ValueError:
        raise BadQueryError("cursor is not a token of this source, or has expired") from None


def json_safe(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a value that orjson can write: it knows no integers of more than 64 bits."""
    if isinstance(value, dict):
        return {key: json_safe(member) for key, member in value.items()}
    if isinstance(value, int) and value.bit_length() > 63:
        return orjson.Fragment(str(value))
    return value
