"""The users of a run by outcome, and the runs together: what the window shows of deliveries."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from integration.core.models import CALLS, ENDPOINTS, Counts, Run
from integration.journal.packing import unpack
from integration.journal.people import read_pack, read_results
from integration.journal.queries import count_outcomes, runs_before
from integration.journal.schema import NOT_SUCCEEDED, SUCCEEDED, CallStatus, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.core.models import Call, CallResult
    from integration.journal.reading import JournalReader
    from integration.journal.schema import UserOutcome

_SUCCEEDED = f"({', '.join(str(int(one)) for one in sorted(SUCCEEDED))})"
_NOT_SUCCEEDED = f"({', '.join(str(int(one)) for one in sorted(NOT_SUCCEEDED))})"

# The status of a call; one that is not to be made has that of the other.
_PROFILE, _EVENT = (
    f"COALESCE(CASE {one}_status WHEN {CallStatus.NOT_WANTED:d} THEN {other}_status"
    f" ELSE {one}_status END, -1)"
    for one, other in (CALLS, CALLS[::-1])
)
# `schema.outcome_of` in SQL.
OUTCOME = (
    f"CASE WHEN {_PROFILE} = {CallStatus.UNCHANGED:d} AND {_EVENT} = {CallStatus.UNCHANGED:d}"
    " THEN 'unchanged'"
    f" WHEN {_PROFILE} IN {_SUCCEEDED} AND {_EVENT} IN {_SUCCEEDED} THEN 'successful'"
    f" WHEN {_PROFILE} IN {_SUCCEEDED} OR {_EVENT} IN {_SUCCEEDED} THEN 'partial_failures'"
    f" WHEN {_PROFILE} IN {_NOT_SUCCEEDED} OR {_EVENT} IN {_NOT_SUCCEEDED} THEN 'total_failures'"
    " ELSE 'not_attempted' END"
)
_RANGES = (
    "SELECT first, last, at, users_update_status, users_update, events_track_status, events_track"
    " FROM outcomes WHERE run = :run AND last > :after AND {condition} ORDER BY first LIMIT :limit"
)


class RunUser(NamedTuple):
    """A user of a run.

    Attributes:
        position: from 1.
        row: the decoded row; see `people.Delivery`.
        at: when the last call was over, ISO 8601 in UTC, or None.
    """

    position: int
    row: Any
    outcome: UserOutcome
    at: str | None
    results: dict[Call, CallResult]


class Reason(NamedTuple):
    """Why calls of a run failed.

    Attributes:
        call: the endpoint, or "not sent" for rows that cannot be sent.
        text: Iterable's code, or what went wrong.
        users: how many have it.
    """

    call: str
    text: str
    users: int


class RunTotals(NamedTuple):
    """All runs together."""

    runs: int
    counts: Counts
    by_status: dict[str, int]
    retries: int


def users_of_run(
    file: JournalReader, run: int, outcome: UserOutcome | None, after: int, limit: int
) -> list[RunUser]:
    """Users of a run after a position, in the query's order.

    Args:
        file: the journal.
        run: its number.
        outcome: only users with this one.
        after: the position of the last user of the page before, or 0.
        limit: the maximum number of users.
    """
    condition = f"{OUTCOME} = :outcome" if outcome else ":outcome IS NULL"
    return _users(file, condition, run=run, after=after, limit=limit, outcome=outcome)


def rejected_users_of_run(file: JournalReader, run: int, after: int, limit: int) -> list[RunUser]:
    """Users of a run that cannot be sent as they are."""
    condition = f"{CallStatus.REJECTED:d} IN (users_update_status, events_track_status)"
    return _users(file, condition, run=run, after=after, limit=limit)


def _users(
    file: JournalReader, condition: str, *, run: int, after: int, limit: int, **values: object
) -> list[RunUser]:
    query = _RANGES.format(condition=condition)
    ranges = file.all(query, {"run": run, "after": after, "limit": limit, **values})
    rows = _Rows(file, run)
    places = [
        (position, piece)
        for piece in ranges
        for position in range(max(piece[0], after + 1), piece[1] + 1)[:limit]
    ]
    return [_user(rows[position], position, piece) for position, piece in places[:limit]]


def _user(row: object, position: int, piece: Sequence[Any]) -> RunUser:
    _, _, at, profile, profile_text, event, event_text = piece
    results = read_results((profile, profile_text), (event, event_text))
    return RunUser(position, row, outcome_of(profile, event), at, results)


class _Rows:
    """The rows of a run by position; consecutive ones are unpacked once."""

    def __init__(self, file: JournalReader, run: int) -> None:
        self._file = file
        self._run = run
        self._first = 0
        self._lines: Sequence[bytes] = ()

    def __getitem__(self, position: int) -> object:
        if not self._first <= position < self._first + len(self._lines):
            self._first, last, content = read_pack(self._file, self._run, position)
            self._lines = self._file.unpacked(unpack, content, last - self._first + 1)
        return orjson.loads(self._lines[position - self._first])


def failure_reasons(file: JournalReader, run: int) -> list[Reason]:
    """Why calls of a run failed, most users first."""
    found: Counter[tuple[str, str]] = Counter()
    for call, text, users in _failed_calls(file, run):
        found[call, text] += users
    return [Reason(call, text, users) for (call, text), users in found.most_common()]


def _failed_calls(file: JournalReader, run: int) -> Iterator[tuple[str, str, int]]:
    for call in CALLS:
        # Both calls have the reason of a rejected row.
        others = f" AND users_update_status IS NOT {CallStatus.REJECTED:d}" * (call != CALLS[0])
        rows = file.all(
            f"SELECT {call}_status, json_extract({call}, '$.error'),"
            f" json_extract({call}, '$.status_code'), json_extract({call}, '$.response.code'),"
            f" CASE WHEN {call}_status = {CallStatus.REJECTED:d}"
            f" THEN json_extract({call}, '$.response') END, SUM(last - first + 1)"
            f" FROM outcomes WHERE run = ? AND {call}_status IN {_NOT_SUCCEEDED}{others}"
            " GROUP BY 1, 2, 3, 4, 5",
            (run,),
        )
        for status, error, code, answer, reason, users in rows:
            if status == CallStatus.REJECTED:
                yield "not sent", str(reason), users
            else:
                text = f"{code} {answer or error}" if code else str(error)
                yield ENDPOINTS[call], text, users


def run_totals(file: JournalReader) -> RunTotals:
    """All runs together; those in progress with their outcomes so far."""
    rows = file.all("SELECT run, status, retries FROM runs ORDER BY run")
    sums = file.one(
        "SELECT TOTAL(successful), TOTAL(partial_failures), TOTAL(total_failures),"
        " TOTAL(not_attempted), TOTAL(unchanged) FROM runs WHERE successful IS NOT NULL"
    )
    counts = Counts(*map(int, sums))
    for (run,) in file.all("SELECT run FROM runs WHERE successful IS NULL"):
        counts = _sum(counts, count_outcomes(file, run))
    retries = sum(sum(orjson.loads(text).values()) for _, _, text in rows)
    return RunTotals(len(rows), counts, dict(Counter(status for _, status, _ in rows)), retries)


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(
        one.successful + other.successful,
        one.partial_failures + other.partial_failures,
        one.total_failures + other.total_failures,
        one.not_attempted + other.not_attempted,
        one.unchanged + other.unchanged,
    )


def only_in(file: JournalReader, run: int, other: int, limit: int) -> tuple[int, list[Any]]:
    """The users of a run that the other run does not have: how many, and the rows of the first."""
    positions = [
        position
        for (position,) in file.all(
            "SELECT position FROM users WHERE run = ? AND customer_id NOT IN"
            " (SELECT customer_id FROM users WHERE run = ?) ORDER BY position",
            (run, other),
        )
    ]
    rows = _Rows(file, run)
    return len(positions), [rows[position] for position in positions[:limit]]


def previous_run(file: JournalReader, run: Run) -> Run | None:
    """The run before this one, if any."""
    earlier = runs_before(file, run.number, 1)
    return earlier[0] if earlier else None
