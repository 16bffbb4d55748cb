"""What passes between the main thread of a delivery and its workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from integration.core.models import CALLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.core.models import Call, CallResult, PendingUser


@dataclass(frozen=True, slots=True)
class CallDone:
    """A worker's report: a call is over, with one result for these users."""

    users: Sequence[PendingUser]
    call: Call
    result: CallResult
    at: str

    def of(self, user: PendingUser) -> CallDone:
        """The same for one of the users."""
        return replace(self, users=(user,))


@dataclass(frozen=True, slots=True)
class Work:
    """A task for a worker: a batch for bulk calls, or one user for single calls.

    Attributes:
        calls: the single calls to make.
        outcomes: of the user's bulk calls that were made before.
    """

    users: Sequence[PendingUser]
    in_bulk: bool
    calls: Sequence[Call] = ()
    outcomes: Sequence[CallDone] = ()


@dataclass(frozen=True, slots=True)
class NeedSingleCalls:
    """A worker's report: users that leave its batch; `work` has a task for each of them."""

    work: Sequence[Work]

    def positions(self) -> set[int]:
        """The positions of these users."""
        return {one.users[0].position for one in self.work}


@dataclass(frozen=True, slots=True)
class WorkDone:
    """A worker's report: the calls for these users are over and the worker is free."""

    work: Work
    users: Sequence[PendingUser]
    outcomes: Sequence[CallDone]


@dataclass(frozen=True, slots=True)
class WorkerCrashed:
    """A worker's last report: a bug, to be raised in the main thread."""

    error: Exception


CallReport = CallDone | NeedSingleCalls
Report = CallReport | WorkDone
# The outcomes of a batch, by call and the user's position.
Outcomes = dict["Call", dict[int, CallDone]]


def single_work(user: PendingUser, outcomes: Outcomes) -> Work:
    """The remaining calls, as single calls, of a user that leaves a batch with these outcomes."""
    done = [outcomes[call][user.position] for call in CALLS if user.position in outcomes[call]]
    calls = [call for call in user.calls if user.position not in outcomes[call]]
    return Work((user,), in_bulk=False, calls=calls, outcomes=[one.of(user) for one in done])
