"""A bulk call was refused because of some records: is another one worth it, or single calls? Pure.

At Iterable's published limits a bulk profile call takes as long as 100 single ones, a bulk
event call as long as 200. Halving finds one culprit among many users cheaply, and many culprits
at a price far above that of calling everyone singly. So each call has a budget: at most 1.2
times the cost of single calls, over the whole run, whatever the answers are.
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
# A piece with one culprit is worth splitting when two halves of it, tried in turn, cost less on
# average than single calls for all: 1.5 bulk calls and half the users, against the users.
MIN_CALLS_WORTH_SPLITTING = 3


def cost_in_single_calls(call: Call) -> float:
    """How many single calls Iterable allows in the time of one bulk call."""
    return PUBLISHED_LIMITS[ENDPOINTS[call]] / PUBLISHED_LIMITS[BULK_ENDPOINTS[call]]


@dataclass(frozen=True, slots=True)
class Spending:
    """What bulk calls have cost so far, in single calls, and for how many users they did.

    `users` were to be sent in bulk; bulk calls gave `resolved` of them an outcome; the others
    need, or may come to need, a single call each.
    """

    users: int = 0
    resolved: int = 0
    spent: float = 0.0
    refused: bool = False

    def allows(self, cost: float) -> bool:
        """Whether one more bulk call, should it be refused, keeps the cost within its bound.

        As long as no call was refused there is no reason to expect that.
        """
        if not self.refused:
            return True
        worst = self.spent + cost + self.users - self.resolved
        return worst <= (1 + MAX_EXTRA_SHARE) * self.users


def is_worth_splitting(users: int, cost: float) -> bool:
    """Whether to look for one culprit among these users by bulk calls."""
    return users > MIN_CALLS_WORTH_SPLITTING * cost


class BulkBudget:
    """The spending of one bulk endpoint, shared by all threads."""

    def __init__(self, call: Call) -> None:
        self.cost = cost_in_single_calls(call)
        self._lock = threading.Lock()
        self._spending = Spending()

    def add_users(self, number: int) -> None:
        """These users are to be sent in bulk."""
        with self._lock:
            self._spending = replace(self._spending, users=self._spending.users + number)

    def take_call(self, users: int) -> bool:
        """Take the cost of a bulk call out of the budget, if there is enough left.

        The first user of a run goes alone in either mode, at nobody's cost.
        """
        with self._lock:
            if not self._spending.allows(self.cost):
                return False
            is_first_user = users == 1 and not self._spending.refused
            cost = 0 if is_first_user else self.cost
            self._spending = replace(self._spending, spent=self._spending.spent + cost)
            return True

    def note(self, *, resolved: int, unresolved: int) -> None:
        """A bulk call is over."""
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
    """Send users by bulk calls as long as they pay.

    After a refusal the first half is tried. If it goes through, the culprit is in the other
    half, which is split at once; if it is refused, the other half is tried too, and when both
    are refused there are many culprits.

    Args:
        users: of one batch.
        send_once: makes one bulk call; users without a result must be told apart.
        budget: of this kind of call.

    Yields:
        Users with their result; in the end, without one, the users that need single calls.
    """
    budget.add_users(len(users))
    suspects = users
    if budget.take_call(len(users)):
        suspects = yield from _send_piece(users, send_once, budget)
    while is_worth_splitting(len(suspects), budget.cost) and budget.take_call(len(suspects) // 2):
        first, second = _halves(suspects)
        left = yield from _send_piece(first, send_once, budget)
        if not left:
            suspects = second
            continue
        suspects = [*left, *second]
        if not budget.take_call(len(second)):
            break
        right = yield from _send_piece(second, send_once, budget)
        suspects = [*left, *right]
        if right:
            break
    if suspects:
        yield ResultGroup(suspects, None)


def _send_piece(
    users: Sequence[PendingUser],
    send_once: Callable[[Sequence[PendingUser]], list[ResultGroup]],
    budget: BulkBudget,
) -> Generator[ResultGroup, None, list[PendingUser]]:
    """Make one bulk call, pass on the results and return the users that have none."""
    shares = send_once(users)
    unresolved = [user for share in shares if share.result is None for user in share.users]
    budget.note(resolved=len(users) - len(unresolved), unresolved=len(unresolved))
    yield from (share for share in shares if share.result is not None)
    return unresolved


def _halves(users: Sequence[PendingUser]) -> tuple[Sequence[PendingUser], Sequence[PendingUser]]:
    middle = (len(users) + 1) // 2
    return users[:middle], users[middle:]
