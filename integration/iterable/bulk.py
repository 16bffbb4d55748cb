"""Bulk calls: how batches are formed, and which users a bulk response reports as failed. Pure.

A bulk response with status 200 may report failures. It names users by email and never by index,
in lower case, so each user is in a call only once. Limits and shapes: Iterable's
`POST /api/users/bulkUpdate` and `POST /api/events/trackBulk`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from integration.core.models import CallResult

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from integration.core.models import Call, PendingUser

MAX_ITEMS = 1000
MAX_BYTES = 4_000_000
_ENVELOPES: dict[Call, tuple[bytes, bytes]] = {
    "users_update": (b'{"users":[', b"]}"),
    "events_track": (b'{"events":[', b"]}"),
}
_ENVELOPE_BYTES = 16  # at least as long as any of them
# With these codes Iterable refuses the whole call because of one record.
_REFUSED_FOR_ONE = frozenset({"RequestFieldsTypesMismatched", "BadJsonBody", "BatchTooLarge"})


class BulkRefusedError(Exception):
    """Iterable itself refused a bulk call (401, 403): this key allows single calls at most."""


class ResultGroup(NamedTuple):
    """Users of a bulk call with the same result, or with None if smaller calls must show it."""

    users: Sequence[PendingUser]
    result: CallResult | None


def bulk_body(call: Call, users: Sequence[PendingUser]) -> bytes:
    """The body of the bulk call: its items are the bodies of the single calls."""
    start, end = _ENVELOPES[call]
    return start + b",".join([user.body(call) for user in users]) + end


def next_batch(
    users: Iterator[PendingUser], held_back: list[PendingUser], limit: int = MAX_ITEMS
) -> list[PendingUser]:
    """Take users until a limit is reached: items, bytes of either body, each email once.

    Args:
        users: the source.
        held_back: receives the users that were taken but did not fit, last one first, for the
            next call.
        limit: the maximum number of users.
    """
    wanted = limit - len(held_back)
    taken = [*reversed(held_back), *islice(users, max(wanted, 0))]
    held_back.clear()
    if len(taken) > limit or not _fit_together(taken):
        kept = _fitting(taken[:limit])
        held_back += reversed(taken[kept:])
        del taken[kept:]
    return taken


def _fit_together(users: Sequence[PendingUser]) -> bool:
    """Whether the users fit into one call."""
    content = max(
        sum([len(user.profile) for user in users]), sum([len(user.event) for user in users])
    )
    if content + len(users) + _ENVELOPE_BYTES > MAX_BYTES:
        return len(users) <= 1
    return len({user.email.casefold() for user in users}) == len(users)


def _fitting(users: Sequence[PendingUser]) -> int:
    """How many of the first users fit into one call: at least one."""
    emails: set[str] = set()
    profile_bytes = event_bytes = _ENVELOPE_BYTES
    for count, user in enumerate(users):
        profile_bytes += len(user.profile) + 1
        event_bytes += len(user.event) + 1
        email = user.email.casefold()
        if count and (max(profile_bytes, event_bytes) > MAX_BYTES or email in emails):
            return count
        emails.add(email)
    return len(users)


def split_bulk_result(
    call: Call, users: Sequence[PendingUser], result: CallResult
) -> list[ResultGroup]:
    """Split a bulk call's result by user.

    Users get no result if the call was refused because of one record, if it counts more failures
    than it names, or if its counts or lists cannot be right: only smaller calls can show their
    outcomes. A firewall may have refused the call because it is a bulk call, so then even a
    single user gets no result.
    """
    if not result.success:
        return [ResultGroup(users, None if _is_for_one(result, len(users)) else result)]
    response = result.response if isinstance(result.response, dict) else {}
    disallowed = set(_strings(response.get("disallowedEventNames")))
    if call == "events_track" and disallowed.intersection(user.event_name for user in users):
        return _without_disallowed(users, result, response, disallowed)
    failed, others = _named_failures(users, result, response)
    failures = _failures_counted(response, len(users)) if _names_emails(response) else None
    if failures is None and others:
        return [*failed, ResultGroup(others, None)]
    if failures is not None and failures > len(failed) and others:
        return [
            *failed,
            ResultGroup(others, None if len(others) > 1 else _refused(result, response)),
        ]
    return failed + ([ResultGroup(others, _delivered(result, response))] if others else [])


def _without_disallowed(
    users: Sequence[PendingUser],
    result: CallResult,
    response: dict[str, object],
    disallowed: Container[str],
) -> list[ResultGroup]:
    """The users whose event has a disallowed name, and the groups of the others."""
    groups: list[ResultGroup] = []
    for name in sorted({user.event_name for user in users}):
        if name in disallowed:
            refused = [user for user in users if user.event_name == name]
            refusal = {"disallowedEventNames": [name]}
            groups.append(ResultGroup(refused, _refused(result, refusal)))
    others = [user for user in users if user.event_name not in disallowed]
    if others:
        count = response.get("failCount", 0)
        fewer = count - len(users) + len(others) if isinstance(count, int) else count
        rest = response | {"disallowedEventNames": [], "failCount": fewer}
        groups += split_bulk_result("events_track", others, replace(result, response=rest))
    return groups


def filtered_out_fields(result: CallResult) -> list[str]:
    """The fields that the project dropped without an error."""
    response = result.response if isinstance(result.response, dict) else {}
    return sorted(_strings(response.get("filteredOutFields")))


def _named_failures(
    users: Sequence[PendingUser], result: CallResult, response: dict[str, object]
) -> tuple[list[ResultGroup], list[PendingUser]]:
    """The users that the response names, in a group each, and the others."""
    reasons = _reasons_by_email(response)
    if not reasons:
        return [], list(users)
    failed: list[ResultGroup] = []
    others: list[PendingUser] = []
    for user in users:
        reason = reasons.get(user.email.casefold())
        if reason is None:
            others.append(user)
        else:
            refusal = {"failedUpdates": {reason: [user.email]}}
            failed.append(ResultGroup([user], _refused(result, refusal)))
    return failed, others


def _reasons_by_email(response: dict[str, object]) -> dict[str, str]:
    """The name of the list that has each failed email; the deprecated top-level list comes last."""
    lists = response.get("failedUpdates")
    named = list(lists.items()) if isinstance(lists, dict) else []
    named.append(("invalidEmails", response.get("invalidEmails")))
    reasons: dict[str, str] = {}
    for name, emails in named:
        for email in _strings(emails):
            reasons.setdefault(email.casefold(), name)
    return reasons


def _names_emails(response: dict[str, object]) -> bool:
    """Whether the lists of failures, if any, are lists."""
    lists = response.get("failedUpdates")
    if lists is None:
        return True
    return isinstance(lists, dict) and all(
        isinstance(emails, list | None) for emails in lists.values()
    )


def _is_for_one(result: CallResult, users: int) -> bool:
    if result.blocked:
        return True
    is_refusal_of_one = result.status_code == 400 and result.code in _REFUSED_FOR_ONE
    return users > 1 and (is_refusal_of_one or result.status_code == 413)


def _refused(result: CallResult, response: object) -> CallResult:
    return CallResult(
        success=False,
        response=response,
        status_code=result.status_code,
        attempts=result.attempts,
        error="client_error",
    )


def _delivered(result: CallResult, response: dict[str, object]) -> CallResult:
    """A success, without the lists of other users' failures, which every user would repeat."""
    counts = {name: response[name] for name in ("successCount", "failCount") if name in response}
    return CallResult(
        success=True,
        response=counts,
        status_code=result.status_code,
        attempts=result.attempts,
        error=None,
    )


def _failures_counted(response: dict[str, object], users: int) -> int | None:
    """The number of failed users by the response's counts, or None if these cannot be right."""
    successes, failures = response.get("successCount"), response.get("failCount", 0)
    if not (_is_count(successes, users) and _is_count(failures, users)):
        return None
    return max(failures, users - successes)


def _is_count(value: object, users: int) -> TypeGuard[int]:
    # JSON's true is an int in Python.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= users


def _strings(value: object) -> Iterable[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
