"""The rows of consecutive users as the journal stores them: compressed JSON lines. Pure."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import orjson

from integration.core.exact_json import EXACT, loads_exactly

if TYPE_CHECKING:
    from collections.abc import Sequence

# The fastest; higher levels take three times as long for a fifth less.
_LEVEL = 1


class DamagedRowsError(Exception):
    """Packed rows are no longer what was packed."""


def pack(lines: Sequence[bytes]) -> bytes:
    """Compress rows, each of them JSON without line breaks; at least one."""
    return zlib.compress(b"\n".join(lines), _LEVEL)


def unpack(content: bytes, count: int) -> list[bytes]:
    """The `count` rows that `pack` got.

    Raises:
        DamagedRowsError: the content is damaged.
    """
    lines = _decompressed(content).split(b"\n")
    _check_number(lines, count)
    return lines


def decode(content: bytes, count: int) -> list[Any]:
    """The `count` rows, decoded.

    Raises:
        DamagedRowsError: the content is damaged.
    """
    lines = _decompressed(content)
    # JSON has no unescaped line breaks in its strings, so each is between two rows.
    text = b"[%b]" % lines.replace(b"\n", b",")
    has_exact = lines.startswith(EXACT) or b"\n" + EXACT in lines
    try:
        rows: list[Any] = loads_exactly(text) if has_exact else orjson.loads(text)
    except ValueError as error:
        raise DamagedRowsError(str(error)) from error
    _check_number(rows, count)
    return rows


def _decompressed(content: bytes) -> bytes:
    try:
        return zlib.decompress(content)
    except (zlib.error, TypeError) as error:  # a changed bit may also change the type
        raise DamagedRowsError(str(error)) from error


def _check_number(rows: Sequence[object], count: int) -> None:
    if len(rows) != count:
        raise DamagedRowsError(f"{len(rows)} rows instead of {count}")
