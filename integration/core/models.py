"""The values that travel between the modules: a row of Query 2, a call, its result."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

ErrorKind = Literal[
    "client_error",  # Iterable refused the request: 4xx, or another code than Success
    "server_error",  # 5xx until the attempts were used up
    "rate_limited",  # 429 for longer than a call may wait
    "timeout",  # no answer in time
    "connection_error",  # refused, reset, or ended before the answer was whole
    "invalid_response",  # an answer that is not Iterable's: not JSON, not HTTP
    "invalid_record",  # not sent: the record cannot be delivered as it is
    "not_attempted",  # not sent: the run stopped before
]
Call = Literal["users_update", "events_track"]
CALLS: tuple[Call, Call] = ("users_update", "events_track")
ENDPOINTS: dict[Call, str] = {"users_update": "users/update", "events_track": "events/track"}
BULK_ENDPOINTS: dict[Call, str] = {
    "users_update": "users/bulkUpdate",
    "events_track": "events/trackBulk",
}
Mode = Literal["single", "bulk"]
# Up to here a run shows one user after the other; above, it is about speed.
SMALL_RUN_USERS = 100
# Everybody of Query 2, the first of them, or those whom an earlier run left open.
RunKind = Literal["full", "limited", "retry"]

# Errors after which the same call may well succeed later.
TRANSIENT_ERRORS: frozenset[ErrorKind] = frozenset(
    {"server_error", "rate_limited", "timeout", "connection_error"}
)


class PageView(NamedTuple):
    """One row of Query 2: a customer and their latest qualifying page view.

    The fields are the query's columns and the CSV's header, in that order.
    `event_time` is UTC without a zone, as the session's `time_zone` makes it.
    """

    id: int | str
    email: str | None
    first_name: str | None
    last_name: str | None
    plan_type: str | None
    candidate: str | None
    page: str | None
    device: str | None
    browser: str | None
    location: str | None
    event_time: datetime


@dataclass(frozen=True, slots=True)
class CallResult:
    """What became of one call for one user.

    `response` is the JSON that Iterable answered, or the start of a text that was no JSON,
    or the reason why there was no answer; `attempts` counts the requests that were sent.
    """

    success: bool
    response: object
    status_code: int | None
    attempts: int
    error: ErrorKind | None

    @property
    def code(self) -> str | None:
        """Iterable's word for what happened, if the answer has one."""
        code = self.response.get("code") if isinstance(self.response, dict) else None
        return code if isinstance(code, str) else None

    @property
    def key_refused(self) -> bool:
        """Whether Iterable itself refused the key, and so would refuse it for every user."""
        return self.status_code in (401, 403) and self.code is not None

    @property
    def blocked(self) -> bool:
        """Whether something in between, such as a firewall, refused this one request."""
        return self.status_code in (401, 403) and self.code is None

    @property
    def gave_up(self) -> bool:
        """Whether the call used up its tries without a definite answer."""
        return self.error in TRANSIENT_ERRORS


NOT_ATTEMPTED = CallResult(
    success=False, response=None, status_code=None, attempts=0, error="not_attempted"
)


@dataclass(frozen=True, slots=True)
class PendingUser:
    """A user of a run for whom at least one call is not yet known to have succeeded.

    `profile` and `event` are the JSON bodies of the two calls, as they are sent.
    """

    position: int
    email: str
    profile: bytes
    event: bytes
    calls: tuple[Call, ...] = CALLS

    def body(self, call: Call) -> bytes:
        """The JSON body of `call`."""
        return self.profile if call == "users_update" else self.event


@dataclass(frozen=True, slots=True)
class Counts:
    """How the users of a run fared; the parts always add up to `total_users`."""

    successful: int = 0
    partial_failures: int = 0
    total_failures: int = 0
    not_attempted: int = 0
    unchanged: int = 0

    @property
    def total_users(self) -> int:
        """Everybody the query returned."""
        failed = self.partial_failures + self.total_failures
        return self.successful + failed + self.not_attempted + self.unchanged


@dataclass(frozen=True, slots=True)
class Retries:
    """The repeats of a run: how many, after which status or error, and the time they waited."""

    by_status: tuple[tuple[str, int], ...] = ()
    seconds_waited: float = 0.0

    @property
    def total(self) -> int:
        """All repeats together."""
        return sum(count for _, count in self.by_status)

    def __add__(self, other: Retries) -> Retries:
        """Those of two parts of a run."""
        counts = Counter(dict(self.by_status)) + Counter(dict(other.by_status))
        seconds = self.seconds_waited + other.seconds_waited
        return Retries(tuple(sorted(counts.items())), seconds)


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What is known of a run when it begins; times are ISO 8601 in UTC.

    `project` tells Iterable projects apart without naming them; `limit` is how many users of
    Query 2 were asked for at most, and `incremental` whether those without news are left out.
    """

    run_id: str
    started_at: str
    authentication: str
    csv_file: str
    results_file: str
    dry_run: bool
    kind: RunKind = "full"
    project: str = ""
    limit: int | None = None
    incremental: bool = False


# What the stop reason of a run begins with whose key Iterable refused: exit code 77.
KEY_REFUSED = "Iterable refused the API key"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the journal has it."""

    header: RunHeader
    finished_at: str | None
    status: str
    stop_reason: str | None
    mode: str | None
    retries: Retries

    @property
    def key_refused(self) -> bool:
        """Whether the run stopped because Iterable refused its key."""
        return (self.stop_reason or "").startswith(KEY_REFUSED)


class UserOutcome(NamedTuple):
    """A user of a finished run; both results are JSON already, as the journal has them."""

    email: str | None
    at: str | None
    users_update: str
    events_track: str
    success: bool


@dataclass(frozen=True, slots=True)
class DeliveredUser:
    """A user whose two calls succeeded, with the bodies that were sent."""

    email: str
    profile: bytes
    event: bytes
    delivered_at: datetime
