"""From the rows of Query 2 to users that the journal stores, and back to what is sent. Pure.

RecordError    exit 69: a row cannot be sent; the message is one line that names the row
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.core.models import DeliveredUser, NewUser, PendingUser
from integration.iterable.payloads import Payloads, payloads_of, undeliverable_reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from integration.core.models import StoredUser

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


def pending_user(user: StoredUser) -> PendingUser:
    """The user as it is sent."""
    return PendingUser(user.position, *_payloads(user.row), user.calls)


def delivered_user(row: bytes, delivered_at: datetime) -> DeliveredUser:
    """The user of a stored row as it was sent."""
    return DeliveredUser(*_payloads(row), delivered_at)


def _payloads(row: bytes) -> Payloads:
    if not row.startswith(b"{"):
        return payloads_of(row)
    stored = orjson.loads(row)  # by version 1.0, which stored what is sent
    profile, event = stored["profile"], stored["event"]
    return Payloads(profile["email"], orjson.dumps(profile), orjson.dumps(event))


def email_of(row: Any) -> str | None:  # noqa: ANN401  decoded JSON
    """The email of a stored row."""
    email = row["profile"]["email"] if isinstance(row, dict) else row[1]
    return None if email is None else str(email)
