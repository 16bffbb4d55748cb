"""Whether to split a bulk call that was refused because of some records, or to make single calls.

At Iterable's published limits a bulk profile call takes as long as 100 single calls, a bulk
event call as long as 200. Halving finds one bad record among many users cheaply, but many bad
records at a far higher cost than single calls for all users. So each kind of call has a budget:
at most 1.2 times the cost of single calls, over the whole run, whatever the responses are.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from integration.core.models import BULK_ENDPOINTS, ENDPOINTS
from integration.iterable.bulk import ResultGroup
from integration.iterable.rate_limit import PUBLISHED_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from integration.core.models import Call, PendingUser

MAX_EXTRA_SHARE = 0.2
# Splitting users with one bad record pays if sending the two halves one after the other costs less
# on average than single calls for all: 1.5 bulk calls and half the users, against all users.
MIN_CALLS_WORTH_SPLITTING = 3


def cost_in_single_calls(call: Call) -> float:
    """The number of single calls that Iterable allows in the time of one bulk call."""
    return PUBLISHED_LIMITS[ENDPOINTS[call]] / PUBLISHED_LIMITS[BULK_ENDPOINTS[call]]


@dataclass(frozen=True, slots=True)
class Spending:
    """What bulk calls have cost and achieved so far.

    Attributes:
        users: the users to send in bulk.
        resolved: those that bulk calls gave an outcome; the others may need a single call each.
        spent: the cost of bulk calls, in single calls.
        refused: whether a bulk call was refused because of some records.
    """

    users: int = 0
    resolved: int = 0
    spent: float = 0.0
    refused: bool = False

    def allows(self, cost: float) -> bool:
        """Whether one more bulk call stays within the budget even if it is refused.

        Always true before the first refusal.
        """
        if not self.refused:
            return True
        worst = self.spent + cost + self.users - self.resolved
        return worst <= (1 + MAX_EXTRA_SHARE) * self.users


def is_worth_splitting(users: int, cost: float) -> bool:
    """Whether to look for one bad record among these users by bulk calls."""
    return users > MIN_CALLS_WORTH_SPLITTING * cost


class BulkBudget:
    """The spending of one bulk endpoint, shared by all threads."""

    def __init__(self, call: Call) -> None:
        self.cost = cost_in_single_calls(call)
        self._lock = threading.Lock()
        self._spending = Spending()

    def add_users(self, number: int) -> None:
        """Add users that are to be sent in bulk."""
        with self._lock:
            self._spending = replace(self._spending, users=self._spending.users + number)

    def take_call(self) -> bool:
        """Spend the cost of a bulk call; False if the budget does not allow it."""
        with self._lock:
            if not self._spending.allows(self.cost):
                return False
            self._spending = replace(self._spending, spent=self._spending.spent + self.cost)
            return True

    def record(self, *, resolved: int, unresolved: int) -> None:
        """Record the outcome of a bulk call."""
        with self._lock:
            self._spending = replace(
                self._spending,
                resolved=self._spending.resolved + resolved,
                refused=self._spending.refused or unresolved > 0,
            )


def send_in_pieces(
    users: Sequence[PendingUser],
    send_once: Callable[[Sequence[PendingUser]], list[ResultGroup]],
    budget: BulkBudget,
) -> Iterator[ResultGroup]:
    """Send users by bulk calls as long as that pays.

    After a refusal the first half is sent. If it succeeds, the bad record is in the other half,
    which is split at once. If it is refused, the other half is sent too, and if both are refused
    there are many bad records.

    Args:
        users: one batch.
        send_once: makes one bulk call and returns its groups of users.
        budget: of this kind of call.

    Yields:
        Groups of users with their result; at the end, without a result, the users that need
        single calls.
    """
    budget.add_users(len(users))
    suspects = users
    if budget.take_call():
        suspects = yield from _send_piece(users, send_once, budget)
    while is_worth_splitting(len(suspects), budget.cost) and budget.take_call():
        first, second = _halves(suspects)
        first_unresolved = yield from _send_piece(first, send_once, budget)
        if not first_unresolved:
            suspects = second
            continue
        suspects = [*first_unresolved, *second]
        if not budget.take_call():
            break
        second_unresolved = yield from _send_piece(second, send_once, budget)
        suspects = [*first_unresolved, *second_unresolved]
        if second_unresolved:
            break
    if suspects:
        yield ResultGroup(suspects, None)


def _send_piece(
    users: Sequence[PendingUser],
    send_once: Callable[[Sequence[PendingUser]], list[ResultGroup]],
    budget: BulkBudget,
) -> Generator[ResultGroup, None, list[PendingUser]]:
    """Make one bulk call, yield the results and return the users without one."""
    groups = send_once(users)
    unresolved = [user for group in groups if group.result is None for user in group.users]
    budget.record(resolved=len(users) - len(unresolved), unresolved=len(unresolved))
    yield from (group for group in groups if group.result is not None)
    return unresolved


def _halves(users: Sequence[PendingUser]) -> tuple[Sequence[PendingUser], Sequence[PendingUser]]:
    middle = (len(users) + 1) // 2
    return users[:middle], users[middle:]
