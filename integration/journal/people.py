"""One person in all runs: what was to be sent, and the outcome of both calls.

No index finds an email: it would cost each run a tenth of its CPU time, and each unchanged user a
third more space. `email_digests` has two bytes for each user instead, a few pages for a run. They
are all read, and name the users with this email and one in 65,536 others, who are looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from integration.core.models import CALLS, NOT_ATTEMPTED, CallResult
from integration.journal.newer_runs import positions_of
from integration.journal.packing import unpack
from integration.journal.queries import read_run
from integration.journal.schema import CallStatus, UserOutcome, email_key, outcome_of

if TYPE_CHECKING:
    from integration.core.models import Call, Run
    from integration.journal.reading import JournalReader


class Delivery(NamedTuple):
    """What a run has of a person.

    Attributes:
        run: the run.
        position: the person's among its users, from 1.
        row: the decoded row: the values of a `PageView`, or what version 1.0 stored.
        outcome: that of both calls together.
        at: when the last call was over, ISO 8601 in UTC, or None.
        results: the result of each call that was to be made, with Iterable's answer.
    """

    run: Run
    position: int
    row: Any
    outcome: UserOutcome
    at: str | None
    results: dict[Call, CallResult]


def deliveries_to(file: JournalReader, email: str, limit: int | None = None) -> list[Delivery]:
    """What the runs have of the person with this email, in any case; newest run first."""
    key = email_key(email)
    if key is None:
        return []
    return [_delivery(file, *place) for place in positions_of(file, key)[:limit]]


def _delivery(file: JournalReader, run: int, position: int) -> Delivery:
    at, *calls = file.one(
        "SELECT at, users_update_status, users_update, events_track_status, events_track"
        " FROM outcomes WHERE run = ? AND first <= ? ORDER BY first DESC LIMIT 1",
        (run, position),
    )
    (profile, profile_text, event, event_text) = calls
    results = read_results((profile, profile_text), (event, event_text))
    row = _row(file, run, position)
    return Delivery(read_run(file, run), position, row, outcome_of(profile, event), at, results)


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


def _row(file: JournalReader, run: int, position: int) -> Any:  # noqa: ANN401  decoded JSON
    first, last, content = read_pack(file, run, position)
    # Decoding this one takes a fraction of decoding all.
    return orjson.loads(file.unpacked(unpack, content, last - first + 1)[position - first])


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
