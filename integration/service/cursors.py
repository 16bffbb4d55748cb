"""Cursors: where the next page begins, as text that clients pass on unread. Pure.

A cursor belongs to a path and its filter; with another filter it would skip rows silently, so it is
refused there.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, NamedTuple

import orjson

from integration.service.problems import wrong_parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_NUMBER = 2**63 - 1
_DIGEST_BYTES = 6


class Cursor(NamedTuple):
    """The last row of a page.

    Attributes:
        last: its number in the order of the list.
        total: how many rows the list has, counted up to a bound, so that they are counted once.
    """

    last: int
    total: int


def encode(cursor: Cursor, filters: Mapping[str, object]) -> str:
    """The cursor as text."""
    content = orjson.dumps([cursor.last, cursor.total, _digest(filters)])
    return urlsafe_b64encode(content).decode().rstrip("=")


def decode(text: str, filters: Mapping[str, object]) -> Cursor:
    """The cursor of a request.

    Raises:
        Problem: 422; it is none of this list, or not with this filter.
    """
    try:
        last, total, digest = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError):
        raise wrong_parameter("cursor", "is not a next_cursor of this path") from None
    if not (_is_number(last) and _is_number(total)):
        raise wrong_parameter("cursor", "is not a next_cursor of this path")
    if digest != _digest(filters):
        raise wrong_parameter("cursor", "belongs to another filter: begin without it")
    return Cursor(last, total)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_NUMBER


def _digest(filters: Mapping[str, object]) -> str:
    given = {name: str(value) for name, value in filters.items() if value is not None}
    content = orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2s(content, digest_size=_DIGEST_BYTES).hexdigest()
