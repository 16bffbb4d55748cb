"""Ranges of positions against a model: a dict from each position to its outcome."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.core.models import CALLS
from integration.journal.ranges import (
    OutcomeRange,
    Update,
    merged,
    neighbourhoods,
    position_ranges,
    updated,
)

USERS = 30
POSITIONS = range(1, USERS + 1)
NOTHING = (None,) * 5
FAR = [(1, 5), (15, 20), (100, 100)]

ends = st.tuples(st.sampled_from(POSITIONS), st.sampled_from(POSITIONS)).map(sorted)
updates = st.builds(
    lambda both, call, at, status, text: Update(both[0], both[1], call, at, status, text),
    ends,
    st.sampled_from([*CALLS, None]),
    st.sampled_from(["12:00", "12:01"]),
    st.integers(0, 4),
    st.sampled_from(["{}", '{"success":true}']),
)
# Where the ranges of a run begin, before anything is updated.
starts = st.sets(st.sampled_from(POSITIONS)).map(lambda chosen: sorted({1, *chosen}))
outcomes = st.sampled_from([NOTHING, ("12:00", 1, "{}", None, None), ("12:00", 0, "{}", 0, "{}")])


def by_position(ranges: list[OutcomeRange]) -> list[tuple[int, tuple[Any, ...]]]:
    """Each position with its outcome, as often as the ranges have it."""
    return [
        (position, piece.outcome)
        for piece in ranges
        for position in range(piece.first, piece.last + 1)
    ]


def after(before: dict[int, tuple[Any, ...]], update: Update) -> dict[int, tuple[Any, ...]]:
    """The model: what an update does to each of its positions."""
    changed = dict(before)
    for position in range(update.first, update.last + 1):
        _, *profile_and_event = before[position]
        profile, event = profile_and_event[:2], profile_and_event[2:]
        new = [update.status, update.text]
        profile = new if update.call in {"users_update", None} else profile
        event = new if update.call in {"events_track", None} else event
        changed[position] = (update.at, *profile, *event)
    return changed


def ranges_from(starts_of: list[int], their_outcomes: list[tuple[Any, ...]]) -> list[OutcomeRange]:
    """Ranges that begin at these positions, and together have all."""
    nexts = [*starts_of[1:], USERS + 1]
    return [
        OutcomeRange(first, following - 1, *outcome)
        for first, following, outcome in zip(starts_of, nexts, their_outcomes, strict=True)
    ]


runs = starts.flatmap(
    lambda chosen: st.lists(outcomes, min_size=len(chosen), max_size=len(chosen)).map(
        lambda found: ranges_from(chosen, found)
    )
)


@given(runs, st.lists(updates, max_size=12))
def test_updates_do_to_ranges_what_they_do_to_each_position(
    ranges: list[OutcomeRange], given_updates: list[Update]
) -> None:
    """In their order; and the ranges have every position exactly once, ascending."""
    expected = dict(by_position(ranges))
    for update in given_updates:
        expected = after(expected, update)

    found = updated(ranges, given_updates)

    assert by_position(found) == sorted(expected.items())


@given(runs, st.lists(updates, max_size=12))
def test_updates_that_are_far_apart_may_be_made_group_by_group(
    ranges: list[OutcomeRange], given_updates: list[Update]
) -> None:
    """The outcome of each position is that of all updates in their order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("integration.journal.ranges.MAX_GAP", 1)
        groups = neighbourhoods(given_updates)

    found = ranges
    for group in groups:
        found = updated(found, group)

    assert found == updated(ranges, given_updates) or not groups
    ends = [(min(u.first for u in group), max(u.last for u in group)) for group in groups]
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ends))
    assert Counter(u for group in groups for u in group) == Counter(given_updates)


def test_only_updates_near_each_other_are_neighbours() -> None:
    """Up to ten positions between them; an update in the middle joins two others."""
    one, near, far = (Update(first, last, None, "12:00", 1, "{}") for first, last in FAR)
    between = Update(25, 90, None, "12:01", 1, "{}")

    assert neighbourhoods([far, near, one]) == [[near, one], [far]]
    assert neighbourhoods([far, one, between, near]) == [[far, one, between, near]]
    assert neighbourhoods([]) == []


@given(runs, st.lists(updates, max_size=12))
def test_there_are_as_few_ranges_as_possible(
    ranges: list[OutcomeRange], given_updates: list[Update]
) -> None:
    """No two neighbours have the same outcome, so a bulk call costs the journal a row or two."""
    found = updated(ranges, given_updates)

    assert all(one.outcome != other.outcome for one, other in pairwise(found))


@given(runs, st.sets(st.sampled_from(POSITIONS)))
def test_merging_changes_no_position(ranges: list[OutcomeRange], left_out: set[int]) -> None:
    """Ranges with a gap between them stay apart."""
    some = [piece for piece in ranges if piece.first not in left_out]

    assert by_position(list(merged(some))) == by_position(some)


@given(st.sets(st.integers(0, 40)).map(sorted))
def test_positions_are_in_the_ranges_made_of_them(positions: list[int]) -> None:
    """All of them from 0 on, and no others; there is a gap between two ranges."""
    ranges = position_ranges(iter(positions))

    assert [n for first, last in ranges for n in range(first, last + 1)] == positions
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))
