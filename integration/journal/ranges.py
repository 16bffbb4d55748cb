"""Ranges of positions with the same outcome. Pure.

The ranges of a run cover every position exactly once. What a bulk call did to a thousand users is
one range; a user with an outcome of its own is a range of one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from integration.core.models import Call

# schema.CallStatus.NOT_WANTED: a call that is not to be made keeps this status.
NOT_WANTED = 5
# Reading this many ranges costs about as much as the statements of another group.
MAX_GAP = 10


class OutcomeRange(NamedTuple):
    """Positions from `first` to `last` with the same outcome: a row of the table `outcomes`.

    Attributes:
        at: when the last call was over, or None.
        users_update_status: a `CallStatus`, or None if the call was not attempted.
        users_update: its result as JSON text, or None.
    """

    first: int
    last: int
    at: str | None = None
    users_update_status: int | None = None
    users_update: str | None = None
    events_track_status: int | None = None
    events_track: str | None = None

    @property
    def outcome(self) -> tuple[str | int | None, ...]:
        """All but the positions."""
        return self[2:]


class Update(NamedTuple):
    """The outcome of a call, or of all that are to be made if `call` is None, for a range."""

    first: int
    last: int
    call: Call | None
    at: str
    status: int
    text: str


def position_ranges(positions: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending positions, or indexes from 0, as ranges: first and last included."""
    ranges: list[tuple[int, int]] = []
    first = last = -2  # not even 0 continues it
    for position in positions:
        if position != last + 1:
            if first >= 0:
                ranges.append((first, last))
            first = position
        last = position
    return [*ranges, (first, last)] if first >= 0 else ranges


def neighbourhoods(updates: Iterable[Update]) -> list[list[Update]]:
    """The updates in groups that are far apart, each in its order.

    What is between two groups need not be read: in a resumed run it may be a million users.
    """
    updates = list(updates)
    starts: list[int] = []
    end = -1
    for first, last in sorted([(update.first, update.last) for update in updates]):
        if not starts or first > end + MAX_GAP:
            starts.append(first)
        end = max(end, last)
    groups: list[list[Update]] = [[] for _ in starts]
    for update in updates:
        groups[bisect_right(starts, update.first) - 1].append(update)
    return groups


def updated(ranges: Iterable[OutcomeRange], updates: Iterable[Update]) -> list[OutcomeRange]:
    """The ranges after these updates, in their order; an update may not reach beyond the ranges."""
    pieces = list(ranges)
    for update in updates:
        start = _split(pieces, update.first)
        end = _split(pieces, update.last + 1)
        pieces[start:end] = [_with(piece, update) for piece in pieces[start:end]]
    return list(merged(pieces))


def merged(ranges: Iterable[OutcomeRange]) -> Iterator[OutcomeRange]:
    """The same with neighbours of the same outcome as one range."""
    previous: OutcomeRange | None = None
    for piece in ranges:
        if previous is None:
            previous = piece
        elif previous.outcome == piece.outcome and previous.last + 1 == piece.first:
            previous = previous._replace(last=piece.last)
        else:
            yield previous
            previous = piece
    if previous is not None:
        yield previous


def _split(pieces: list[OutcomeRange], position: int) -> int:
    """Make a range begin at this position, unless it is behind all; return the range's index."""
    index = bisect_left(pieces, (position,))
    if index and pieces[index - 1].last >= position:
        piece = pieces[index - 1]
        pieces[index - 1 : index] = [
            piece._replace(last=position - 1),
            piece._replace(first=position),
        ]
    return index


def _with(piece: OutcomeRange, update: Update) -> OutcomeRange:
    _, _, call, at, status, text = update
    if call == "users_update":
        return piece._replace(at=at, users_update_status=status, users_update=text)
    if call == "events_track":
        return piece._replace(at=at, events_track_status=status, events_track=text)
    profile = _changed(piece.users_update_status, status, text)
    event = _changed(piece.events_track_status, status, text)
    return OutcomeRange(piece.first, piece.last, at, *profile, *event)


def _changed(before: int | None, status: int, text: str) -> tuple[int, str | None]:
    return (before, None) if before == NOT_WANTED else (status, text)
