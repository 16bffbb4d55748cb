"""The records of one answer. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

import orjson

from integration.ingest.kinds.high_water import mark_of, microseconds
from integration.ingest.kinds.pagination import PageError, value_at
from integration.ingest.mapping import ABSENT, lookup
from integration.ingest.models import MAX_MALFORMED_TEXT, Malformed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from integration.ingest.models import RawRecord
    from integration.ingest.sources import Cursor

_MAX_NAMES = 20
_DIGEST_BYTES = 16


class PartRead(NamedTuple):
    """The beginning of a page, after which a run with a limit has ended.

    Attributes:
        records: how many items it has.
        digest: of the items' keys, or of the items if the source has no keys.
    """

    records: int
    digest: str

    @classmethod
    def of(cls, items: Sequence[object], key: str | None) -> PartRead:
        """The part with these items; `key` is the path of the source's own key."""
        names = [_name(item, key) for item in items]
        return cls(len(items), _digest(json.dumps(names, sort_keys=True).encode()))

    def unread(self, items: list[object], key: str | None) -> list[object]:
        """The items of the same page after this part; all if it no longer begins with it."""
        if PartRead.of(items[: self.records], key) != self:
            return items
        return items[self.records :]


def digest_of(items: list[object]) -> str:
    """The digest of the items of a page."""
    try:
        return _digest(orjson.dumps(items))
    except orjson.JSONEncodeError:  # an integer of more than 64 bits
        return _digest(json.dumps(items).encode())


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()


def part_from_json(value: object) -> PartRead | None:
    """The part in a checkpoint, which is a list there, or None if this is none."""
    if not isinstance(value, list) or list(map(type, value)) != [int, str]:
        return None
    return PartRead(*value)


def _name(item: object, key: str | None) -> object:
    value = lookup(item, key) if key else None
    return item if value is None or value is ABSENT else value


def items_of(decoded: object, path: str) -> list[object]:
    """The list of records at a path, "" if the answer is the list.

    Raises:
        PageError: there is no list.
    """
    items = value_at(decoded, path) if path else decoded
    if isinstance(items, list):
        return items
    if path and items is not None:
        raise PageError(
            f"has no list at records = {json.dumps(path)}: it is a {type(items).__name__}"
        )
    names = ", ".join(list(decoded)[:_MAX_NAMES]) if isinstance(decoded, dict) else ""
    there = f"the answer has {names}" if names else f"the answer is a {type(decoded).__name__}"
    raise PageError(f"has no list at records = {json.dumps(path)}: {there}")


def record_of(item: object) -> RawRecord:
    """An item of the list as a record."""
    if isinstance(item, dict):
        return item
    text = json.dumps(item, ensure_ascii=False)
    return Malformed("not a JSON object", text[:MAX_MALFORMED_TEXT])


def narrowed(
    items: list[object], cursor: Cursor | None, until: datetime | None, limit: int | None
) -> tuple[list[object], int]:
    """The items before a time, at most `limit`; and how many of all items that takes.

    An item without a time is kept: it is for the validation to say what is wrong with it.
    """
    places: Sequence[int] = range(len(items))
    if until is not None and cursor is not None:
        end = microseconds(until)
        marks = [mark_of(value_at(item, cursor.field)) for item in items]
        places = [place for place, mark in enumerate(marks) if mark is None or mark.value < end]
    if limit is None or len(places) <= limit:
        return [items[place] for place in places], len(items)
    return [items[place] for place in places[:limit]], places[limit - 1] + 1


def content_with(path: str, items: list[object]) -> bytes:
    """An answer with these items and nothing else."""
    content: object = items
    for name in reversed(path.split(".") if path else []):
        content = {name: content}
    return json.dumps(content).encode()
