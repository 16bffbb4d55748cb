"""The values that travel between the modules of the ingest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from integration.ingest.errors import SourceError

Entity = Literal["customers", "page_views"]
Code = Literal[
    "missing",  # a required field is absent, null or empty
    "type",  # not a value of the column's type
    "too_long",  # more characters than the column holds
    "not_allowed",  # not one of the column's values, or a character that it cannot hold
    "out_of_range",  # a number or time that the column cannot hold
    "conflict",  # another customer has this email
    "unknown_customer",  # the customer of a page view has not arrived yet
    "malformed",  # the record could not be decoded
]
# The longest text that is kept of a record that could not be decoded, in characters.
MAX_MALFORMED_TEXT = 500


class Malformed(NamedTuple):
    """A record that could not be decoded.

    Attributes:
        reason: what is wrong, for operators; without the text itself.
        text: the line or piece, shortened to `MAX_MALFORMED_TEXT` characters.
    """

    reason: str
    text: str


RawRecord = dict[str, object] | Malformed


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPage:
    """A page of a source, as it was received.

    Attributes:
        number: from 1 within the run.
        content: an HTTP body after decompression, or the bytes of a file.
        origin: the URL without secrets, or FILE:FIRST-LAST (byte range).
        records: in the order of the page.
        position: JSON that says where the source continues after this page.
        is_last: whether the source has nothing after this page.
        retries: the requests that were repeated for this page.
        seconds_waited: the time spent waiting before its requests.
        columns: the fields that all records have, as the header of their file says.
        warnings: what looks wrong in the configuration of the source.
        error: on the last page, why what follows cannot be read; this page counts all the same.
    """

    number: int
    content: bytes = field(repr=False)
    origin: str
    records: Sequence[RawRecord] = field(repr=False)
    position: dict[str, object]
    is_last: bool
    retries: int = 0
    seconds_waited: float = 0.0
    columns: Sequence[str] = ()
    warnings: Sequence[str] = ()
    error: SourceError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a run reads of its source.

    Attributes:
        since: only records changed at this time or later, instead of since the checkpoint.
        until: only records changed before this time.
        limit: the maximum number of records.
        full_refresh: read everything, whatever the checkpoint says.
        started_at: the start of the run, which the new checkpoint does not exceed.
    """

    started_at: datetime
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    full_refresh: bool = False


class Reader(Protocol):
    """A source that is open for reading; one implementation for each kind."""

    def pages(self, position: dict[str, object] | None, window: Window) -> Iterator[RawPage]:
        """Read page by page.

        Args:
            position: the position of the last page that was committed, or None for a first run.
            window: what to read.

        Raises:
            SourceError: nothing (more) can be read.
        """
        ...

    def records_of(self, content: bytes, origin: str) -> Sequence[RawRecord]:
        """The records of a page that was stored, decoded again in the same order.

        Args:
            content: the `content` of its `RawPage`.
            origin: the `origin` of its `RawPage`.
        """
        ...

    def close(self) -> None:
        """Close connections and files."""
        ...


class ValidRow(NamedTuple):
    """A record that can be stored.

    Attributes:
        index: the position of the record in its page, from 0.
        source_key: the source's own key of the record, if it has one.
        values: by column, as `validation` describes them.
    """

    index: int  # type: ignore[assignment]  # hides the method of tuples, which is not used
    source_key: str | None
    values: dict[str, object]


class Rejection(NamedTuple):
    """A record that cannot be stored, and why.

    Attributes:
        index: the position of the record in its page, from 0.
        source_key: the source's own key of the record, if it has one.
        field: our name of the field that is wrong, or None if it is the whole record.
        detail: what was expected, for operators; without the value, which may be personal.
    """

    index: int  # type: ignore[assignment]  # hides the method of tuples, which is not used
    source_key: str | None
    code: Code
    field: str | None
    detail: str
