"""What `rejected` shows. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from integration.ingest.row_schema import requirements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from integration.ingest.models import Code
    from integration.ingest.rejections import RejectedRecord

REASONS: Mapping[Code, str] = {
    "missing": "a required field is absent or empty",
    "type": "not a value of the column's type",
    "too_long": "more characters than the column holds",
    "not_allowed": "not one of the values that the column accepts",
    "out_of_range": "a number or time that the column cannot hold",
    "conflict": "another customer has this email address; once that changes, --retry stores it",
    "unknown_customer": "the customer has not arrived; stored with the customer",
    "malformed": "the record cannot be decoded",
}


def rejected_lines(records: Sequence[RejectedRecord]) -> list[str]:
    """A line for each record, how many there are of each code, and what values must be."""
    if not records:
        return ["No rejected records."]
    lines = [_line(one) for one in records]
    texts = {str(code): text for code, text in REASONS.items()}
    totals = Counter(one.code for one in records).most_common()
    counted = [f"{number:,} {code}: {texts.get(code, '')}" for code, number in totals]
    expected = requirements((one.code, one.field) for one in records)
    return [*lines, "", *counted, *(["", *expected] if expected else [])]


def _line(one: RejectedRecord) -> str:
    when = f"{one.created_at:%Y-%m-%d %H:%M:%S} UTC" if one.created_at else "?"
    key = f" key {one.source_key}" if one.source_key else ""
    origin = one.origin or "no longer stored"
    reason = f"{one.code} {one.field}" if one.field else one.code
    detail = f": {one.detail}" if one.detail else ""
    return (
        f"{when} {one.source} run {one.run_id} page {one.page} record {one.position}{key}: "
        f"{reason}{detail} ({origin})"
    )
