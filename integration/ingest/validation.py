"""Records of a page → rows that can be stored, and rejections. Pure.

Some hundred records without mistakes take one call; of others, the good ones are checked again
without the bad ones. The values of a valid row, by column:

customers   id (int; if the source owns ids), email, first_name, last_name, plan_type, candidate
page_views  user_id (int), customer_key or email, as the source names its customers; page, device,
            browser, location, event_time (`YYYY-MM-DD HH:MM:SS` in UTC, fractions cut off)

A null or empty value of an optional column is None. An optional column that the record does not
have at all is not in the values: what is stored stays as it is.
"""

from __future__ import annotations

from datetime import UTC
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from zoneinfo import ZoneInfo

from pydantic_core import ValidationError

from integration.ingest.mapping import KEY_FIELD, lookup
from integration.ingest.models import Code, Malformed, Rejection, ValidRow
from integration.ingest.row_schema import MAX_KEY, expected_text, page_validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime, tzinfo

    from pydantic_core import ErrorDetails

    from integration.ingest.models import RawRecord
    from integration.ingest.sources import BaseSource

# What TIMESTAMP can hold; text of this form is ordered as the times are.
MIN_TIME, MAX_TIME = "1970-01-01 00:00:01", "2038-01-19 03:14:07"
# What fits into a processor's cache. The thread that serves the database waits for each call.
RECORDS_AT_ONCE = 500
# The codes of pydantic's types of errors; all others are "type".
_CODES: dict[str, Code] = {
    "missing": "missing",
    "string_unicode": "not_allowed",
    "literal_error": "not_allowed",
    "string_too_long": "too_long",
    "int_parsing_size": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
}
# ValidRow._make, in a third of its time.
_valid_row: Callable[[Iterable[object]], ValidRow] = partial(tuple.__new__, ValidRow)


class ValidatedPage(NamedTuple):
    """Every record of a page is in one of the two, in the order of the page."""

    valid: list[ValidRow]
    rejected: list[Rejection]


class PageValidation:
    """The validation of the pages of one source."""

    def __init__(self, source: BaseSource) -> None:
        self._source = source
        self._validator = page_validator(source)
        self._zone = UTC if source.timezone == "UTC" else ZoneInfo(source.timezone)

    def validate(self, records: Sequence[RawRecord]) -> ValidatedPage:
        """Tell the valid records of a page from the others."""
        valid: list[ValidRow] = []
        rejected: dict[int, Rejection] = {}
        for start in range(0, len(records), RECORDS_AT_ONCE):
            valid += self._valid(records[start : start + RECORDS_AT_ONCE], start, rejected)
        return ValidatedPage(valid, [rejected[index] for index in sorted(rejected)])

    def _valid(
        self, records: Sequence[RawRecord], start: int, rejected: dict[int, Rejection]
    ) -> list[ValidRow]:
        """The valid ones of these records; the others are added to `rejected`."""
        found = _malformed(records, start)
        indexes: Sequence[int] = range(start, start + len(records))
        try:
            rows = self._checked(records, indexes, found)
        except ValidationError as error:
            found |= self._rejections(*_others(records, indexes, found), error)
            rows = self._checked(records, indexes, found)
        rejected.update(found)
        indexes = _others(records, indexes, found)[1]
        keys = self._keys(rows)
        for values in rows:
            if "" in values.values():
                _empty_to_null(values)
        valid = list(map(_valid_row, zip(indexes, keys, rows, strict=False)))
        return valid if self._source.entity == "customers" else self._with_times(valid, rejected)

    def _checked(
        self, records: Sequence[RawRecord], indexes: Sequence[int], found: Mapping[int, Rejection]
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._validator.validate_python(
            _others(records, indexes, found)[0]
        )
        return rows

    def _keys(self, rows: Sequence[dict[str, Any]]) -> Iterable[str | None]:
        """The source's own key of each row; only an id stays in the values."""
        if self._source.owns_ids:
            return [str(values["id"]) for values in rows]
        if self._source.key is None:
            return repeat(None)
        return [str(values.pop(KEY_FIELD)) for values in rows]

    def _with_times(
        self, rows: Sequence[ValidRow], rejected: dict[int, Rejection]
    ) -> list[ValidRow]:
        """The page views with times in UTC; one that TIMESTAMP cannot hold is rejected."""
        zone, by_key = self._zone, self._source.customer == "key"
        kept = []
        for row in rows:
            values = row.values
            time = values["event_time"] = utc_text(cast("datetime", values["event_time"]), zone)
            if by_key:
                values["customer_key"] = str(values["customer_key"])
            if MIN_TIME <= time <= MAX_TIME:
                kept.append(row)
            else:
                rejected[row.index] = Rejection(
                    row.index,
                    row.source_key,
                    "out_of_range",
                    "event_time",
                    f"expected {expected_text('event_time')}",
                )
        return kept

    def _rejections(
        self, candidates: Sequence[RawRecord], indexes: Sequence[int], error: ValidationError
    ) -> dict[int, Rejection]:
        """One rejection for each record with errors: its first wrong field."""
        found: dict[int, list[ErrorDetails]] = {}
        for details in error.errors(include_url=False, include_context=False):
            place, field = cast("tuple[int, str]", details["loc"][:2])
            errors = found.setdefault(place, [])
            if not errors or errors[0]["loc"][1] == field:
                errors.append(details)
        return {
            indexes[place]: self._rejection(indexes[place], candidates[place], errors)
            for place, errors in found.items()
        }

    def _rejection(
        self, index: int, record: RawRecord, errors: Sequence[ErrorDetails]
    ) -> Rejection:
        field = str(errors[0]["loc"][1])
        # Of a value that may be text or a number, one of the errors is always "type".
        code = min(map(_code_of, errors), key=lambda code: code == "type")
        detail = f"expected {expected_text(field)}"
        if code == "not_allowed" and detail.startswith("expected text"):
            detail = "a NUL, or a character that is not valid Unicode, cannot be stored"
        return Rejection(index, self._key_of(record), code, field, detail)

    def _key_of(self, record: RawRecord) -> str | None:
        """The source's own key of a record that is rejected, if the record has a usable one."""
        key = lookup(record, self._source.key) if self._source.key else None
        text = str(key).strip() if type(key) in {str, int} else ""
        return text if text.isprintable() and 0 < len(text) <= MAX_KEY else None


def utc_text(moment: datetime, zone: tzinfo) -> str:
    """`YYYY-MM-DD HH:MM:SS` in UTC, without fractions; "" for a time beyond the calendar.

    Args:
        moment: with or without a zone.
        zone: of a moment without one.
    """
    if moment.tzinfo is None and zone is not UTC:
        moment = moment.replace(tzinfo=zone)
    text = moment.isoformat(" ", "seconds")
    # Converting takes longer, and many times are in UTC already.
    if text[19:] in {"", "+00:00"}:
        return text[:19]
    try:
        return moment.astimezone(UTC).isoformat(" ", "seconds")[:19]
    except OverflowError:
        return ""


def _others(
    records: Sequence[RawRecord], indexes: Sequence[int], found: Mapping[int, Rejection]
) -> tuple[Sequence[RawRecord], Sequence[int]]:
    """The records that are not among these rejections, and their indexes."""
    if not found:
        return records, indexes
    others = [index for index in indexes if index not in found]
    return [records[index - indexes[0]] for index in others], others


def _malformed(records: Sequence[RawRecord], start: int) -> dict[int, Rejection]:
    """A rejection for each record that could not be decoded, by index."""
    if set(map(type, records)) <= {dict}:
        return {}
    return {
        index: Rejection(
            index,
            None,
            "malformed",
            None,
            record.reason if isinstance(record, Malformed) else "not an object",
        )
        for index, record in enumerate(records, start)
        if type(record) is not dict
    }


def _empty_to_null(values: dict[str, Any]) -> None:
    """Replace empty text, which is how a CSV file writes NULL; required fields have none."""
    for column, value in values.items():
        if value == "":
            values[column] = None


def _code_of(details: ErrorDetails) -> Code:
    kind, value = details["type"], details["input"]
    if value is None or (isinstance(value, str) and not value.strip()):
        return "missing"
    if kind == "string_pattern_mismatch" and "\0" in str(value):
        return "not_allowed"
    if kind.startswith("datetime") and _is_number(value):
        return "out_of_range"
    return _CODES.get(kind, "type")


def _is_number(value: object) -> bool:
    """Whether a time was given as Unix seconds."""
    if isinstance(value, str):
        return value.removeprefix("-").isdecimal()
    return isinstance(value, int | float) and not isinstance(value, bool)
