"""Packed rows are the rows."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from integration.journal.packing import DamagedRowsError, decode, pack, unpack

texts = st.text(st.characters(codec="utf-8"))
cells = st.none() | st.integers(-(2**63), 2**64 - 1) | texts
rows = st.lists(cells, max_size=11) | st.dictionaries(texts, cells, max_size=3)
# What could be taken for the end of a line, or of a text.
TRAPS = [
    "a\nb",
    "\r\n",
    "\0",
    "🚀",
    "\u2028\u2029\x85",
    '"\\n",\n"',
    "\\",
    "\x1c\x0b\x0c",
    "[1]\n[2]",
]


@given(st.lists(rows, min_size=1, max_size=20))
@example([TRAPS, [], {"csv_line": "".join(TRAPS)}, TRAPS])
def test_rows_are_unpacked_as_they_were_packed(given_rows: list[object]) -> None:
    """Byte for byte as lines, and equal when decoded, whatever their texts contain."""
    lines = list(map(orjson.dumps, given_rows))

    packed = pack(lines)

    assert unpack(packed, len(lines)) == lines
    assert decode(packed, len(lines)) == given_rows


@pytest.mark.parametrize(
    "damaged",
    [b"", b"no zlib", pack([b"[1]"])[:-1], "text", None, 7, pack([b""]), pack([b"[1]"] * 3)],
)
def test_damaged_rows_are_not_taken_for_others(damaged: Any) -> None:
    """Neither if the checksum is wrong, nor if their number is."""
    for read in (unpack, decode):
        with pytest.raises(DamagedRowsError):
            read(damaged, 2)


def test_rows_that_are_no_json_are_damaged() -> None:
    """Version 4 had no checksum; what was damaged then is found when it is read."""
    packed = pack([b"[1]", b'{"profile":{"ema\xff'])
    assert len(unpack(packed, 2)) == 2
    with pytest.raises(DamagedRowsError):
        decode(packed, 2)


@given(st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, change: int) -> None:
    """Wherever it is: rows are sent to Iterable as they were, or not at all."""
    lines = [orjson.dumps([number, f"user{number}@example.com"]) for number in range(20)]
    packed = bytearray(pack(lines))
    packed[place % len(packed)] ^= change

    with suppress(DamagedRowsError):
        assert unpack(bytes(packed), 20) == lines  # bits that mean nothing
