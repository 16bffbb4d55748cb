"""Cursors: where the next page begins, as text that clients pass on unread. Pure.

A cursor belongs to a list and its filter; with another filter it would skip rows silently, so it is
refused there.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

import orjson

from integration.service.problems import wrong_parameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_NUMBER = 2**63 - 1
_DIGEST_BYTES = 6


def encode(numbers: Sequence[int], filters: Mapping[str, object]) -> str:
    """Whole numbers from 0 as a cursor.

    Args:
        numbers: the keys of the last row, and what else the next page has to know.
        filters: the parameters that decide what is in the list.
    """
    content = orjson.dumps([*numbers, _digest(filters)])
    return urlsafe_b64encode(content).decode().rstrip("=")


def decode(text: str, count: int, filters: Mapping[str, object]) -> tuple[int, ...]:
    """The `count` numbers of a cursor.

    Raises:
        Problem: 422; it is none of this list, or not with this filter.
    """
    try:
        *numbers, digest = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError):
        raise wrong_parameter("cursor", "is not a next_cursor of this path") from None
    if len(numbers) != count or not all(map(_is_number, numbers)):
        raise wrong_parameter("cursor", "is not a next_cursor of this path")
    if digest != _digest(filters):
        raise wrong_parameter("cursor", "belongs to another filter: begin without it")
    return tuple(numbers)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_NUMBER


def _digest(filters: Mapping[str, object]) -> str:
    given = {name: str(value) for name, value in filters.items() if value is not None}
    content = orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2s(content, digest_size=_DIGEST_BYTES).hexdigest()
