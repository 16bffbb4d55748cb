"""The records of one answer, and the part of them that an earlier run has read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from integration.ingest.kinds.http_page import PartRead, narrowed, part_from_json
from integration.ingest.sources import Cursor

CURSOR = Cursor(field="at", parameter="since")
UNTIL = datetime(2026, 1, 1, tzinfo=UTC)
EARLY, LATE = "2025-12-31T00:00:00Z", "2026-01-02T00:00:00Z"


def items_of(*keys: object, at: str = EARLY) -> list[object]:
    """Records with these keys."""
    return [{"id": key, "at": at} for key in keys]


def test_the_records_after_the_part_are_unread() -> None:
    """Wherever the page has grown after it."""
    part = PartRead.of(items_of(1, 2), "id")
    assert part.unread(items_of(1, 2, 3, 4), "id") == items_of(3, 4)
    assert part.unread(items_of(1, 2), "id") == []


@pytest.mark.parametrize("keys", [(2, 1, 3), (1, 3), (1,), (), (0, 1, 2, 3)])
def test_all_records_are_unread_if_the_page_begins_with_others(keys: tuple[int, ...]) -> None:
    """One of them may not have been read."""
    part = PartRead.of(items_of(1, 2), "id")
    assert part.unread(items_of(*keys), "id") == items_of(*keys)


def test_a_record_that_has_changed_is_the_same_one() -> None:
    """The next run asks for what has changed; without keys, it is another one."""
    part = PartRead.of(items_of(1, 2), "id")
    assert part.unread(items_of(1, 2, 3, at=LATE), "id") == items_of(3, at=LATE)
    part = PartRead.of(items_of(1, 2), None)
    assert part.unread(items_of(1, 2, 3, at=LATE), None) == items_of(1, 2, 3, at=LATE)
    assert part.unread(items_of(1, 2, 3), None) == items_of(3)


def test_records_without_a_key_are_told_by_their_content() -> None:
    """Else all of them would be the same."""
    items: list[object] = [{"name": "a"}, "text", {"id": None, "name": "b"}]
    part = PartRead.of(items, "id")
    assert part.unread([*items, 7], "id") == [7]
    assert part.unread([{"name": "b"}, *items[1:]], "id") != []


def test_the_part_passes_through_the_checkpoint() -> None:
    """Anything else there is none."""
    part = PartRead.of(items_of(1), "id")
    assert part_from_json(list(part)) == part
    for value in (None, [], [1], ["1", "x"], {"records": 1}, [1, 2]):
        assert part_from_json(value) is None


@pytest.mark.parametrize(
    ("limit", "kept", "taken"), [(None, [1, 3, 5], 5), (3, [1, 3, 5], 5), (2, [1, 3], 3)]
)
def test_a_limit_counts_what_until_keeps(limit: int | None, kept: list[int], taken: int) -> None:
    """And says how many records were passed to find these."""
    items: list[object] = [
        {"id": number, "at": EARLY if number % 2 else LATE} for number in range(1, 6)
    ]
    assert narrowed(items, CURSOR, UNTIL, limit) == (items_of(*kept), taken)
