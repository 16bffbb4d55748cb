"""Which bulk calls follow a rejection, and their cost, against a model of Iterable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.core.models import CALLS, CallResult, PendingUser
from integration.iterable.bulk import MAX_ITEMS, ResultGroup
from integration.iterable.narrowing import (
    BulkBudget,
    cost_in_single_calls,
    is_worth_splitting,
    send_in_pieces,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from collections.abc import Set as AbstractSet

    from integration.core.models import Call

OK = CallResult(success=True, response={}, status_code=200, attempts=1, error=None)
PROFILE: Call = "users_update"


class Model:
    """Rejects each bulk call that contains one of the bad users, as Iterable does."""

    def __init__(self, bad: AbstractSet[int], call: Call = PROFILE) -> None:
        self._bad = bad
        self._budget = BulkBudget(call)
        self.bulk_calls: list[int] = []
        self.results: dict[int, int] = {}
        self.single_calls = 0

    @property
    def cost(self) -> float:
        """The cost of all calls, in single calls."""
        return len(self.bulk_calls) * self._budget.cost + self.single_calls

    def send(self, users: Sequence[PendingUser]) -> None:
        """Send a batch completely."""
        for share in send_in_pieces(users, self._send_once, self._budget):
            self.single_calls += 0 if share.result else len(share.users)
            for user in share.users:
                self.results[user.position] = self.results.get(user.position, 0) + 1

    def _send_once(self, users: Sequence[PendingUser]) -> list[ResultGroup]:
        self.bulk_calls.append(len(users))
        is_refused = any(user.position in self._bad for user in users)
        return [ResultGroup(users, None if is_refused else OK)]


def people(places: range) -> list[PendingUser]:
    """Users at these positions."""
    return [PendingUser(place, f"user{place}@example.com", b"{}", b"{}") for place in places]


def sent(users: int, bad: Collection[int], call: Call = PROFILE) -> Model:
    """A run of this many users in batches, some of them bad."""
    model = Model(frozenset(bad), call)
    for start in range(0, users, MAX_ITEMS):
        model.send(people(range(start, min(start + MAX_ITEMS, users))))
    return model


patterns = st.one_of(
    st.sets(st.integers(0, 7999), max_size=12),
    st.integers(1, 1000).map(lambda step: set(range(0, 8000, step))),
    st.tuples(st.integers(0, 8000), st.integers(0, 8000)).map(lambda ends: set(range(*ends))),
    st.sets(st.integers(0, 7)).map(
        lambda batches: {n for n in range(8000) if n // 1000 in batches}
    ),
)


@given(st.integers(1, 8000), patterns, st.sampled_from(CALLS))
def test_bulk_never_costs_more_than_a_fifth_above_single_calls(
    users: int, bad: set[int], call: Call
) -> None:
    """Whichever users are bad: at most 1.2 times, or one call more; each is in one group."""
    model = sent(users, bad, call)

    assert model.cost <= max(1.2 * users, users + cost_in_single_calls(call))
    assert model.results == dict.fromkeys(range(users), 1)


@pytest.mark.parametrize("users", [500, 999, 1000, 1001, 5000])
def test_a_run_of_bad_profiles_costs_at_most_a_fifth_more(users: int) -> None:
    """From 500 users on the first call is no exception."""
    assert sent(users, range(users)).cost <= 1.2 * users


def test_a_bulk_call_costs_the_time_of_the_single_calls_that_the_limits_allow_in_it() -> None:
    """5 calls a second against 500, 10 against 2,000."""
    assert [cost_in_single_calls(call) for call in CALLS] == [100, 200]


def test_good_users_need_one_call_for_each_batch() -> None:
    """No user is sent singly."""
    assert sent(2500, ()).bulk_calls == [1000, 1000, 500]


@pytest.mark.parametrize(
    ("culprit", "bulk_calls", "single_calls"),
    [(900, [1000, 500, 250], 250), (600, [1000, 500, 250, 250], 250), (100, [1000, 500], 1000)],
)
def test_the_half_with_the_bad_user_is_split_without_being_called(
    culprit: int, bulk_calls: list[int], single_calls: int
) -> None:
    """The success of the other half implies that it would be rejected."""
    model = sent(1000, [culprit])

    assert (model.bulk_calls, model.single_calls) == (bulk_calls, single_calls)


def test_what_earlier_batches_saved_pays_for_a_longer_search() -> None:
    """A bad user in the first half is isolated too; small pieces are not worth a call."""
    model = sent(4000, [3100])

    assert model.bulk_calls == [1000, 1000, 1000, 1000, 500, 500, 250, 250]
    assert model.single_calls == 250


def test_two_halves_that_are_both_refused_are_not_split_further() -> None:
    """There are many bad users, however much was saved before."""
    model = sent(4000, range(3000, 4000))

    assert model.bulk_calls == [1000, 1000, 1000, 1000, 500, 500]
    assert model.single_calls == 1000


def test_without_a_budget_a_batch_is_not_called_at_all() -> None:
    """The rest of a run of bad users is sent singly."""
    model = sent(1400, range(1400))

    assert (model.bulk_calls, model.single_calls) == ([1000, 500], 1400)


def test_a_piece_is_worth_splitting_when_that_is_cheaper_on_average() -> None:
    """One call for the first half, in half of the cases one for the other, then single calls."""
    assert [is_worth_splitting(users, 100) for users in (250, 300, 301)] == [False, False, True]


def test_every_bulk_call_costs_the_same_whatever_its_size() -> None:
    """A batch of one user is paid like one of a thousand: the rest of the run may not be halved."""
    model = Model(frozenset(range(1000)))

    model.send(people(range(1000, 1001)))
    model.send(people(range(999)))

    assert model.bulk_calls == [1, 999]
    assert model.single_calls == 999
