"""The tables `outcomes` and `packed_rows`: users of a run by position, with their outcomes."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from integration.journal.file import PAGE_SIZE
from integration.journal.packing import pack
from integration.journal.ranges import OutcomeRange, merged, neighbourhoods, updated
from integration.journal.schema import email_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from integration.journal.file import JournalFile
    from integration.journal.ranges import Update
    from integration.journal.reading import JournalReader

T = TypeVar("T")

_COLUMNS = ", ".join(OutcomeRange._fields)
# From the range that has position :first to the one that has :last.
_OVERLAPPING = (
    "run = :run AND first <= :last AND first >="
    " (SELECT MAX(first) FROM outcomes WHERE run = :run AND first <= :first)"
)


def add_ranges(file: JournalFile, run: int, ranges: Iterable[OutcomeRange]) -> None:
    """Store ranges that continue those of the run."""
    remaining = merged(ranges)
    while page := list(islice(remaining, PAGE_SIZE)):
        file.execute_many(
            f"INSERT INTO outcomes (run, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(run, *piece) for piece in page],
        )


def update_outcomes(file: JournalFile, run: int, updates: Sequence[Update]) -> None:
    """Change the outcomes of stored users, in the order of the updates."""
    with file.transaction():
        for neighbours in neighbourhoods(updates):
            _update_neighbours(file, run, neighbours)


def _update_neighbours(file: JournalFile, run: int, updates: Sequence[Update]) -> None:
    first = min(update.first for update in updates)
    last = max(update.last for update in updates)
    ranges = updated(ranges_between(file, run, first, last), updates)
    file.execute(
        f"DELETE FROM outcomes WHERE {_OVERLAPPING}", {"run": run, "first": first, "last": last}
    )
    add_ranges(file, run, ranges)


def replace_range(file: JournalFile, run: int, piece: OutcomeRange) -> None:
    """Store another outcome for positions that are part of one range."""
    first, last = piece.first, piece.last
    (old,) = ranges_between(file, run, first, last)
    parts = (old._replace(last=first - 1), piece, old._replace(first=last + 1))
    file.execute("DELETE FROM outcomes WHERE run = ? AND first = ?", (run, old.first))
    add_ranges(file, run, [part for part in parts if part.first <= part.last])


def ranges_between(file: JournalReader, run: int, first: int, last: int) -> list[OutcomeRange]:
    """The ranges that have positions from `first` to `last`; the outer ones may have more."""
    rows = file.all(
        f"SELECT {_COLUMNS} FROM outcomes WHERE {_OVERLAPPING} ORDER BY first",
        {"run": run, "first": first, "last": last},
    )
    return list(map(OutcomeRange._make, rows))


def add_rows(
    file: JournalFile,
    run: int,
    first: int,
    lines: Sequence[bytes],
    email_keys: Iterable[bytes | None],
) -> None:
    """Store the rows (JSON) of the users from position `first` on; at least one."""
    file.execute(
        "INSERT INTO packed_rows (run, first, last, content) VALUES (?, ?, ?, ?)",
        (run, first, first + len(lines) - 1, pack(lines)),
    )
    file.execute(
        "INSERT INTO email_digests (run, first, digests) VALUES (?, ?, ?)",
        (run, first, email_digests(email_keys)),
    )


def packed_rows(file: JournalReader, run: int) -> Iterator[tuple[int, int, bytes]]:
    """All rows of a run, a thousand at a time: first and last position, packed rows.

    No cursor stays open between two of them, so that writing may go on meanwhile.

    Raises:
        JournalError: some are missing.
    """
    query = (
        "SELECT first, last, content FROM packed_rows"
        " WHERE run = :run AND first > :position ORDER BY first LIMIT :limit"
    )
    end = 0
    for first, last, content in file.pages(query, {"run": run}, limit=1):
        file.check(first == end + 1, "rows are missing")
        yield first, last, content
        end = last
    (users,) = file.one("SELECT MAX(position) FROM users WHERE run = ?", (run,))
    file.check(end == (users or 0), "rows are missing")


def users_by_outcome(
    file: JournalReader,
    run: int,
    is_wanted: Callable[[OutcomeRange], object],
    read: Callable[[bytes, int], list[T]],
) -> Iterator[tuple[OutcomeRange, Sequence[T]]]:
    """Users with wanted outcomes, in the query's order; `unpack` or `decode` reads their rows.

    Yields:
        At most a thousand consecutive users with the same outcome: the range that has just them,
        and their rows.
    """
    for first, last, content in packed_rows(file, run):
        ranges = [
            piece._replace(first=max(piece.first, first), last=min(piece.last, last))
            for piece in ranges_between(file, run, first, last)
            if is_wanted(piece)
        ]
        # Most packs of a resumed run have no wanted users.
        rows = file.unpacked(read, content, last - first + 1) if ranges else []
        for piece in ranges:
            yield piece, rows[piece.first - first : piece.last - first + 1]
