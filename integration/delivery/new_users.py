"""From the rows of a query to users that the journal stores, and back to what is sent. Pure.

RecordError    exit 69: a row cannot be sent; the message is one line that names the row
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from integration.core.errors import AppError
from integration.core.exact_json import EXACT, dumps_exactly
from integration.core.exit_codes import ExitCode
from integration.core.mapping import Mapping
from integration.core.models import CALLS, DeliveredUser, NewUser, PendingUser
from integration.iterable.payloads import Payloads, payloads_of, undeliverable_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from integration.core.mapping import Target
    from integration.core.models import Call, StoredUser
    from integration.database.cells import Cells

    PayloadMaker = Callable[[bytes], Payloads]

MAX_INTEGER = 2**63 - 1


class RecordError(AppError):
    """A row of Query 2 cannot be sent; the message is one line that names the row."""

    exit_code = ExitCode.UNAVAILABLE


def new_users(rows: Sequence[tuple[Any, ...]]) -> list[NewUser]:
    """The users of these rows, which have the values of a `PageView`.

    Raises:
        RecordError: a value has a type that no user could be sent with.
    """
    ids = [row[0] for row in rows]
    emails = [row[1] for row in rows]
    lines = map(_row_json, rows)
    return list(map(NewUser, ids, emails, lines, map(undeliverable_reason, emails)))


def _row_json(row: tuple[Any, ...]) -> bytes:
    try:
        return orjson.dumps(row)
    except orjson.JSONEncodeError as error:
        if isinstance(row[0], int) and abs(row[0]) > MAX_INTEGER:
            return _row_json((str(row[0]), *row[1:]))  # JSON has no integers of more than 64 bits
        raise RecordError(
            f"Customer {row[0]!r} has a value of a type that cannot be sent ({error}):"
            " compare the tables with database_setup.sql"
        ) from error


def mapped_users(mapping: Mapping, cells: Cells, first: int) -> list[NewUser]:
    """The users of these rows of any query.

    Args:
        mapping: of its columns.
        cells: the rows, and why some cannot be sent.
        first: the number of the first row among all rows of the query.

    Raises:
        RecordError: a value cannot be written as JSON.
    """
    identity, send_profile = mapping.place("id"), mapping.place("send_profile")
    required = [place for place in (identity, mapping.place("event_id")) if place is not None]
    checked = required if send_profile is None else [*required, send_profile]
    users = []
    for index, row in enumerate(cells.rows):
        email = row[mapping.email_place]
        problem = cells.problems.get(index)
        for place in checked:
            problem = problem or _problem_of(mapping.targets[place], row[place])
        calls = mapping.calls
        if send_profile is not None and not row[send_profile]:
            calls = CALLS[1:]
        customer = row[identity] if identity is not None else email and str(email).lower()
        # Not even an email: no two rows are the same user then.
        customer_id = f"row {first + index}" if customer in {None, ""} else customer
        rejection = problem or undeliverable_reason(email)
        users.append(NewUser(customer_id, email, _exact_json(row), rejection, calls))
    return users


def _problem_of(target: Target, value: object) -> str | None:
    """Why a row cannot be sent, by a column that is no field."""
    if target.role == "send_profile":
        is_known = value in {0, 1}
        return None if is_known else f"not sent: send_profile is {value}, expected 0 or 1"
    return f"not sent: {target.column} is empty" if value in {None, ""} else None


def _exact_json(row: tuple[Any, ...]) -> bytes:
    try:
        return orjson.dumps(row)
    except TypeError:
        pass  # a number of more digits
    try:
        return EXACT + dumps_exactly(row)
    except TypeError as error:
        raise RecordError(f"A row has a value that cannot be sent ({error}): {row!r}") from error


def payload_maker(columns: Sequence[str]) -> PayloadMaker:
    """What makes the payloads of stored rows of a query with these columns."""
    mapping = Mapping.of(columns)
    if mapping.is_documented:
        return _payloads
    from integration.iterable.mapped_payloads import MappedPayloads  # noqa: PLC0415  not for Query 2

    return MappedPayloads(mapping)


def pending_users(columns: Sequence[str], users: Iterable[StoredUser]) -> Iterator[PendingUser]:
    """Users of a run, whose query has these columns, as they are sent."""
    payloads = payload_maker(columns)
    for position, row, calls in users:
        email, profile, event, event_name = payloads(row)
        yield PendingUser(position, email, profile, event, calls, event_name)


def delivered_user(
    row: bytes,
    delivered_at: datetime,
    calls: Sequence[Call] = CALLS,
    payloads: PayloadMaker | None = None,
) -> DeliveredUser:
    """The user of a stored row as it was sent, by these calls."""
    sent = (payloads or _payloads)(row)
    profile, event = (
        body if call in calls else None
        for call, body in zip(CALLS, (sent.profile, sent.event), strict=True)
    )
    return DeliveredUser(sent.email, profile, event, delivered_at)


def _payloads(row: bytes) -> Payloads:
    if not row.startswith(b"{"):
        return payloads_of(row)
    stored = orjson.loads(row)  # by version 1.0, which stored what is sent
    profile, event = stored["profile"], stored["event"]
    return Payloads(profile["email"], orjson.dumps(profile), orjson.dumps(event))


def email_of(row: Any, place: int = 1) -> str | None:  # noqa: ANN401  decoded JSON
    """The email of a stored row, which is at this place."""
    email = row["profile"]["email"] if isinstance(row, dict) else row[place]
    return None if email is None else str(email)
