"""The values that travel between the modules: a row of Query 2, a call, its result."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
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
# The name of an event whose row has no other.
EVENT_NAME = "page_view"
Mode = Literal["single", "bulk"]
# Runs of up to this size log every user and send one at a time; larger ones are tuned for speed.
SMALL_RUN_USERS = 100
# All users of Query 2, the first of them, or those that an earlier run left pending.
RunKind = Literal["full", "limited", "retry"]
RunStatus = Literal[
    "loading",  # its users are being stored, or that failed: it has sent nothing
    "running",  # sending, or crashed
    "completed",
    "stopped",  # by an error that concerns the whole run
    "interrupted",  # by a signal
]

# Errors after which the same call may well succeed later.
TRANSIENT_ERRORS: frozenset[ErrorKind] = frozenset(
    {"server_error", "rate_limited", "timeout", "connection_error"}
)


class PageView(NamedTuple):
    """One row of Query 2: a customer and their latest qualifying page view.

    The fields are the query's columns and the CSV's header, in that order. `event_time` is
    `YYYY-MM-DD HH:MM:SS` in UTC.
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
    event_time: str


@dataclass(frozen=True, slots=True)
class CallResult:
    """The outcome of one call for one user.

    Attributes:
        response: the JSON that Iterable answered, or the start of the text if it was not JSON,
            or the reason why there was no answer.
        attempts: the number of requests that were sent.
    """

    success: bool
    response: object
    status_code: int | None
    attempts: int
    error: ErrorKind | None

    @property
    def code(self) -> str | None:
        """Iterable's code for the outcome, if the answer has one."""
        code = self.response.get("code") if isinstance(self.response, dict) else None
        return code if isinstance(code, str) else None

    @property
    def key_refused(self) -> bool:
        """Whether Iterable itself refused the key, so that every other call would fail too."""
        return self.status_code in (401, 403) and self.code is not None

    @property
    def blocked(self) -> bool:
        """Whether something in between, such as a firewall, refused this request."""
        return self.status_code in (401, 403) and self.code is None

    @property
    def retries_exhausted(self) -> bool:
        """Whether the call used up its attempts without a definite response."""
        return self.error in TRANSIENT_ERRORS


NOT_ATTEMPTED = CallResult(
    success=False, response=None, status_code=None, attempts=0, error="not_attempted"
)


class NewUser(NamedTuple):
    """A user of a run before it is stored.

    Attributes:
        row: the JSON that the payloads and the CSV line are made from, without line breaks.
        rejection: why the user cannot be sent, or None.
        calls: those to make.
    """

    customer_id: int | str
    email: str | None
    row: bytes
    rejection: str | None = None
    calls: tuple[Call, ...] = CALLS


class StoredUser(NamedTuple):
    """A user of a run as the journal has it.

    Attributes:
        row: the user's `NewUser.row`.
        calls: those that have not succeeded yet.
    """

    position: int
    row: bytes
    calls: tuple[Call, ...]


class PendingUser(NamedTuple):
    """A user of a run with calls that still have to be made.

    Attributes:
        profile: the JSON body of `users/update`, as it is sent.
        event: the JSON body of `events/track`, as it is sent.
        calls: those that have not succeeded yet.
        event_name: the name of the event.
    """

    position: int
    email: str
    profile: bytes
    event: bytes
    calls: tuple[Call, ...] = CALLS
    event_name: str = EVENT_NAME

    def body(self, call: Call) -> bytes:
        """The JSON body of `call`."""
        return self.profile if call == "users_update" else self.event


@dataclass(frozen=True, slots=True)
class Counts:
    """The outcomes of a run's users; the parts always add up to `total_users`."""

    successful: int = 0
    partial_failures: int = 0
    total_failures: int = 0
    not_attempted: int = 0
    unchanged: int = 0

    @property
    def total_users(self) -> int:
        """All users of the run."""
        failed = self.partial_failures + self.total_failures
        return self.successful + failed + self.not_attempted + self.unchanged

    @property
    def undelivered(self) -> int:
        """Users with a call that did not succeed."""
        return self.partial_failures + self.total_failures + self.not_attempted

    @property
    def delivered(self) -> int:
        """Users with a call that succeeded, in this run or, if unchanged, in an earlier one."""
        return self.successful + self.partial_failures + self.unchanged


@dataclass(frozen=True, slots=True)
class Retries:
    """The retries of a run: their number by status or error, and the time spent waiting."""

    by_status: tuple[tuple[str, int], ...] = ()
    seconds_waited: float = 0.0

    @property
    def total(self) -> int:
        """The number of retries."""
        return sum(count for _, count in self.by_status)

    def __add__(self, other: Retries) -> Retries:
        """The retries of two parts of a run."""
        counts = Counter(dict(self.by_status)) + Counter(dict(other.by_status))
        seconds = self.seconds_waited + other.seconds_waited
        return Retries(tuple(sorted(counts.items())), seconds)


# The stop reason of a run whose key Iterable refused (exit code 77) starts with this.
KEY_REFUSED = "Iterable refused the API key"


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run before its first user; times are ISO 8601 in UTC.

    Attributes:
        project: distinguishes Iterable projects without naming them.
        limit: the maximum number of users to read from Query 2.
        incremental: whether users that have not changed are skipped.
        sync: the name of the sync that it is a run of, or empty.
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
    sync: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(NewRun):
    """A run in the journal, which identifies it by `number`.

    Attributes:
        columns: those of its query.
    """

    number: int
    status: RunStatus
    finished_at: str | None = None
    stop_reason: str | None = None
    mode: Mode | None = None
    retries: Retries = Retries()
    total_users: int = 0
    columns: tuple[str, ...] = PageView._fields

    @property
    def is_loaded(self) -> bool:
        """Whether the users of the run were stored; before that it has sent nothing."""
        return self.status != "loading"

    @property
    def key_refused(self) -> bool:
        """Whether the run stopped because Iterable refused its key."""
        return (self.stop_reason or "").startswith(KEY_REFUSED)


class OutcomeGroup(NamedTuple):
    """Consecutive users of a run with the same outcome.

    Attributes:
        rows: the decoded JSON of each user's row.
        at: when the last call was over, or None.
        users_update: the result as JSON text, as the results file shows it; null if the call was
            not to be made.
        events_track: the same for the event.
        success: whether all calls that were to be made succeeded.
    """

    rows: Sequence[Any]
    at: str | None
    users_update: str
    events_track: str
    success: bool


@dataclass(frozen=True, slots=True)
class DeliveredUser:
    """A user whose calls succeeded, with the bodies that were sent; None was not to be sent."""

    email: str
    profile: bytes | None
    event: bytes | None
    delivered_at: datetime
