"""One person in all runs: the outcome of both calls, with Iterable's answers.

No index finds an email: it would cost each run a tenth of its CPU time, and each unchanged user a
third more space. `email_digests` has two bytes for each user instead, a few pages for a run. They
are all read, and name the users with this email and one in 65,536 others, who are looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

from integration.core.models import CALLS, NOT_ATTEMPTED, CallResult
from integration.journal.newer_runs import positions_of
from integration.journal.queries import runs_that
from integration.journal.schema import CallStatus, UserOutcome, email_key, outcome_of

if TYPE_CHECKING:
    from integration.core.models import Call, Run
    from integration.journal.reading import JournalReader

# A person may be in hundreds of runs: one statement reads all, from places as [[run, position], …].
_RUN_OF_PLACE = "run IN (SELECT json_extract(value, '$[0]') FROM json_each(?))"
_OUTCOMES = (
    "SELECT o.run, json_extract(p.value, '$[1]'), o.at, o.users_update_status, o.users_update,"
    " o.events_track_status, o.events_track FROM json_each(?) p CROSS JOIN outcomes o"
    " ON o.run = json_extract(p.value, '$[0]') AND o.first = (SELECT MAX(n.first) FROM outcomes n"
    " WHERE n.run = json_extract(p.value, '$[0]') AND n.first <= json_extract(p.value, '$[1]'))"
    " ORDER BY p.key"
)


class Delivery(NamedTuple):
    """What a run has of a person.

    Attributes:
        run: the run.
        position: the person's among its users, from 1.
        outcome: that of both calls together.
        at: when the last call was over, ISO 8601 in UTC, or None.
        results: the result of each call that was to be made, with Iterable's answer.
    """

    run: Run
    position: int
    outcome: UserOutcome
    at: str | None
    results: dict[Call, CallResult]


def deliveries_to(file: JournalReader, email: str, limit: int | None = None) -> list[Delivery]:
    """What the runs have of the person with this email, in any case; newest run first."""
    key = email_key(email)
    places = positions_of(file, key)[:limit] if key else []
    if not places:
        return []
    text = orjson.dumps(places).decode()
    runs = {run.number: run for run in runs_that(file, _RUN_OF_PLACE, text)}
    return [_delivery(runs[run], *more) for run, *more in file.all(_OUTCOMES, (text,))]


def _delivery(  # noqa: PLR0917  the columns of a row
    run: Run,
    position: int,
    at: str | None,
    profile: int | None,
    profile_text: str | None,
    event: int | None,
    event_text: str | None,
) -> Delivery:
    results = read_results((profile, profile_text), (event, event_text))
    return Delivery(run, position, outcome_of(profile, event), at, results)


def read_results(*calls: tuple[int | None, str | None]) -> dict[Call, CallResult]:
    """The results of the calls that are to be made, from status and text of both."""
    return {
        call: read_result(text)
        for call, (status, text) in zip(CALLS, calls, strict=True)
        if status != CallStatus.NOT_WANTED
    }


def read_result(text: str | None) -> CallResult:
    """The result of a call as the journal has it."""
    return CallResult(**orjson.loads(text)) if text else NOT_ATTEMPTED


def read_pack(file: JournalReader, run: int, position: int) -> tuple[int, int, bytes]:
    """The pack with the row of a user: its first and last position, and its content."""
    pack = file.one(
        "SELECT first, last, content FROM packed_rows WHERE run = ? AND first <= ?"
        " ORDER BY first DESC LIMIT 1",
        (run, position),
    )
    file.check(pack is not None, "rows are missing")
    first, last, content = pack
    return first, last, content
