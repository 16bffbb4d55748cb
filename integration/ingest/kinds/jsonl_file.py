"""The kind jsonl: one JSON object a line."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from integration.ingest.kinds.file_formats import Taken
from integration.ingest.kinds.json_text import loads
from integration.ingest.models import MAX_MALFORMED_TEXT, Malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.ingest.models import RawRecord


class JsonlFormat:
    """JSON Lines in UTF-8; blank lines are skipped."""

    def layout(self, beginning: bytes, name: str, *, at_end: bool) -> JsonlLayout | None:  # noqa: ARG002  as in the protocol
        """All files have the same layout, apart from a byte order mark."""
        if len(beginning) < len(codecs.BOM_UTF8) and not at_end:
            return None
        has_mark = beginning.startswith(codecs.BOM_UTF8)
        return JsonlLayout(codecs.BOM_UTF8 if has_mark else b"")


class JsonlLayout:
    """The layout of a file; see `file_formats.Layout`."""

    def __init__(self, preamble: bytes) -> None:
        self.preamble = preamble
        self.columns: Sequence[str] = ()

    def take(self, data: bytes, limit: int, *, at_end: bool) -> Taken:
        """The records of the complete lines."""
        lines = data.split(b"\n", limit)
        rest = lines.pop()
        records = _decode(lines)
        used = len(data) - len(rest)
        if not at_end or len(lines) == limit:
            return Taken(records, used, used)
        last = _decode([rest])
        if last and isinstance(last[0], Malformed):
            return Taken(records, used, used, f"the last line is {last[0].reason}")
        return Taken([*records, *last], len(data), len(data))

    def take_all(self, data: bytes) -> Sequence[RawRecord]:
        """The records of all lines."""
        return _decode(data.split(b"\n"))


def _decode(lines: Sequence[bytes]) -> list[RawRecord]:
    return [_decode_line(line) for line in lines if line and not line.isspace()]


def _decode_line(line: bytes) -> RawRecord:
    try:
        record = loads(line)
    except ValueError as error:
        return _malformed(f"not JSON: {error}", line)
    if not isinstance(record, dict):
        return _malformed("not a JSON object", line)
    return record


def _malformed(reason: str, line: bytes) -> Malformed:
    start = line[: 4 * MAX_MALFORMED_TEXT].decode("utf-8", "backslashreplace")
    return Malformed(reason, start.rstrip()[:MAX_MALFORMED_TEXT])
