"""Writing rows in sets: one statement for many, halves of them when the database refuses one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import orjson

from integration.database.write_errors import RowRefused
from integration.ingest.models import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from integration.database.write_errors import RowCode
    from integration.database.writing import WriteSession
    from integration.ingest.models import Code, ValidRow

# As JSON some 500 kB; larger sets are no faster.
ROWS_PER_STATEMENT = 5_000
_CODES: dict[RowCode, Code] = {
    "duplicate": "conflict",
    "no_parent": "unknown_customer",
    "missing": "missing",
    "type": "type",
    "too_long": "too_long",
    "not_allowed": "not_allowed",
    "out_of_range": "out_of_range",
}

T = TypeVar("T")


class HasRow(Protocol):
    """A decision about a record."""

    @property
    def row(self) -> ValidRow:
        """The record."""


R = TypeVar("R", bound=HasRow)


def as_json(rows: Sequence[Sequence[object]]) -> str:
    """The parameter of `Dialect.rows`."""
    return orjson.dumps(rows).decode()


def chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows, as many at a time as one statement takes."""
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        yield rows[start : start + ROWS_PER_STATEMENT]


def write_set(
    session: WriteSession,
    rows: Sequence[R],
    write: Callable[[Sequence[R]], object],
    *,
    split: bool,
) -> tuple[Sequence[R], list[Rejection]]:
    """Write rows with one statement.

    Args:
        session: in a transaction.
        rows: what to write, in the order of the page.
        write: writes all of them, or raises RowRefused.
        split: when the database refuses a row, write halves until the refused rows are alone.

    Returns:
        The rows that were written, and the refused ones with the reason.

    Raises:
        RowRefused: the database refuses a row, and `split` is false.
    """
    if not rows:
        return (), []
    if not split:
        write(rows)
        return rows, []
    try:
        with session.savepoint():
            write(rows)
    except RowRefused as error:
        return _write_halves(session, rows, write, error)
    return rows, []


def _write_halves(
    session: WriteSession,
    rows: Sequence[R],
    write: Callable[[Sequence[R]], object],
    error: RowRefused,
) -> tuple[Sequence[R], list[Rejection]]:
    if len(rows) == 1:
        return (), [refused(rows[0].row, error.code)]
    middle = len(rows) // 2
    first, first_refused = write_set(session, rows[:middle], write, split=True)
    second, second_refused = write_set(session, rows[middle:], write, split=True)
    return [*first, *second], [*first_refused, *second_refused]


def refused(row: ValidRow, code: RowCode) -> Rejection:
    """The rejection of a row that the database has refused."""
    return Rejection(row.index, row.source_key, _CODES[code], None, "refused by the database")
