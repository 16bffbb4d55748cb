"""The records of one answer. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from integration.ingest.kinds.high_water import mark_of, microseconds
from integration.ingest.kinds.pagination import PageError, value_at
from integration.ingest.models import MAX_MALFORMED_TEXT, Malformed

if TYPE_CHECKING:
    from datetime import datetime

    from integration.ingest.models import RawRecord
    from integration.ingest.sources import Cursor

_MAX_NAMES = 20


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
) -> tuple[list[object], bool]:
    """The items before a time, at most `limit`; and whether the limit left some out.

    An item without a time is kept: it is for the validation to say what is wrong with it.
    """
    kept = items
    if until is not None and cursor is not None:
        end = microseconds(until)
        marks = [mark_of(value_at(item, cursor.field)) for item in items]
        pairs = zip(items, marks, strict=True)
        kept = [item for item, mark in pairs if mark is None or mark.value < end]
    if limit is None or len(kept) <= limit:
        return kept, False
    return kept[:limit], True


def content_with(path: str, items: list[object]) -> bytes:
    """An answer with these items and nothing else."""
    content: object = items
    for name in reversed(path.split(".") if path else []):
        content = {name: content}
    return json.dumps(content).encode()
