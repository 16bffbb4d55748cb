"""Records that are made when they are read."""

from __future__ import annotations

import pytest

from integration.ingest.kinds.plain_records import PlainRecords

NAMES = ("id", "name")
RECORDS = [{"id": "1", "name": "Ann"}, {"id": "2", "name": ""}, {"id": "3", "name": "Lee"}]
LINES = ["1;Ann", "2;", "3;Lee"]


def test_they_are_read_like_a_list() -> None:
    """By place, in slices and in a loop; equal to a list of the same records."""
    records = PlainRecords(LINES, NAMES, ";")

    assert len(records) == len(RECORDS)
    assert list(records) == RECORDS
    assert records == RECORDS
    assert records != RECORDS[:2]
    assert records[1:] == RECORDS[1:]
    assert (records[0], records[-1]) == (RECORDS[0], RECORDS[-1])
    with pytest.raises(IndexError):
        records[3]


@pytest.mark.parametrize("line", ["1", "1;2;3", ""])
def test_a_line_with_other_cells_is_refused_at_once(line: str) -> None:
    """Not only when its record is read."""
    with pytest.raises(ValueError, match="cells"):
        PlainRecords([*LINES, line], NAMES, ";")
