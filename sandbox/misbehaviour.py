"""Addresses that make the sandbox misbehave, recognized by the start of their local part."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbox.answers import BATCH_TOO_LARGE, Answer, bad_params, envelope, types_mismatched
from sandbox.schema import mismatch

_FORGOTTEN = envelope(409, "ForgottenUserError", "Contact is GDPR forgotten")
_CONFLICT = envelope(409, "Conflict", "Email conflicts with another user")
_INVALID_DATA = bad_params("Invalid data fields")
_REFUSED = bad_params("Refused by the sandbox because of the address")
_BLOCKED = Answer(403, b"<html><body><h1>Request blocked</h1></body></html>", "text/html")
_MISMATCH = types_mismatched({"signupDate": mismatch("string", "date", "GGG", "user")})


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """What happens to the calls of one kind of address; None means nothing.

    `profile` and `event` answer single calls, `bulk` a whole bulk call. `profile_list`
    and `event_list` name the list of `failedUpdates` that holds the address after a bulk call.
    """

    prefix: str
    effect: str
    profile: Answer | None = None
    event: Answer | None = None
    profile_list: str | None = None
    event_list: str | None = None
    bulk: Answer | None = None
    event_disallowed: bool = False
    event_needs_no_user: bool = False


MISBEHAVIOURS = (
    Misbehaviour(
        "forgotten",
        "409 ForgottenUserError; in bulk failedUpdates.forgottenEmails",
        profile=_FORGOTTEN,
        event=_FORGOTTEN,
        profile_list="forgottenEmails",
        event_list="forgottenEmails",
    ),
    Misbehaviour(
        "typemismatch",
        "400 RequestFieldsTypesMismatched; in bulk for the whole call",
        profile=_MISMATCH,
        event=_MISMATCH,
        bulk=_MISMATCH,
    ),
    Misbehaviour(
        "invaliddata",
        "profile 400 BadParams; in bulk failedUpdates.invalidDataEmails",
        profile=_INVALID_DATA,
        profile_list="invalidDataEmails",
    ),
    Misbehaviour(
        "conflict",
        "profile 409 Conflict; in bulk failedUpdates.conflictEmails",
        profile=_CONFLICT,
        profile_list="conflictEmails",
    ),
    Misbehaviour(
        "eventrefused",
        "profile accepted, event 400; in bulk failedUpdates.invalidEmails",
        event=_REFUSED,
        event_list="invalidEmails",
    ),
    Misbehaviour(
        "profilerefused",
        "profile 400; in bulk failedUpdates.invalidDataEmails; event accepted",
        profile=_REFUSED,
        profile_list="invalidDataEmails",
        event_needs_no_user=True,
    ),
    Misbehaviour(
        "disallowedevent",
        "single event: 200 whose msg says that it is disallowed from tracking",
        event_disallowed=True,
    ),
    Misbehaviour(
        "firewalled",
        "403 with an HTML page, as from a firewall; in bulk for the whole call",
        profile=_BLOCKED,
        event=_BLOCKED,
        bulk=_BLOCKED,
    ),
    Misbehaviour("toolarge", "bulk: 413 BatchTooLarge for the whole call", bulk=BATCH_TOO_LARGE),
)

_BY_PREFIX = {misbehaviour.prefix: misbehaviour for misbehaviour in MISBEHAVIOURS}
_ANY_PREFIX = re.compile("|".join(_BY_PREFIX))


def misbehaviour_of(email: str) -> Misbehaviour | None:
    """Return what a (lower case) address provokes, if anything."""
    found = _ANY_PREFIX.match(email)
    return _BY_PREFIX[found.group()] if found else None
