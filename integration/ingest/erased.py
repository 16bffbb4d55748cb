"""What is left of a record of a raw page that was erased. Pure.

The record keeps its place, so that the positions of all others stay right. It is neither valid nor
rejected when its page is decoded again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integration.ingest.models import RawRecord

# The name of the only field of an erased JSON object, or the first cell of an erased CSV record.
MARK = "$erased"


def is_erased(record: RawRecord) -> bool:
    """Whether a decoded record is what was left of an erased one."""
    if not isinstance(record, dict):
        return False
    if record == {MARK: True}:
        return True
    first, *others = record.values() or [None]
    return first == MARK and not any(others)
