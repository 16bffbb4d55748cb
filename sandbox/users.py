"""The users of an Iterable project: users/update, users/bulkUpdate and the reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sandbox.answers import SUCCESS, Answer, RefusedError, invalid_email
from sandbox.bulk import USER_REASONS, BulkReport
from sandbox.compact import packed, unpacked
from sandbox.misbehaviour import misbehaviour_of
from sandbox.schema import Schema, without_unknown
from sandbox.validation import data_fields_of, email_of, is_valid_email, items_of, object_body

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

UPDATE_PATH = "/api/users/update"
BULK_UPDATE_PATH = "/api/users/bulkUpdate"


class StoredUser(NamedTuple):
    """A stored profile."""

    data: bytes
    updates: int


class Profile(NamedTuple):
    """A valid record of a call."""

    email: str
    data: dict[str, Any]
    merge_nested: bool


class Users:
    """Profiles by lower case address, and the types of their fields."""

    def __init__(self) -> None:
        self.by_email: dict[str, StoredUser] = {}
        self.schema = Schema("user")
        self.duplicates_in_calls = 0
        self.project_fields: frozenset[str] = frozenset()

    def update(self, content: object) -> Answer:
        """Answer users/update: create the user or merge the fields into theirs."""
        body = object_body(content, UPDATE_PATH)
        email = email_of(body, UPDATE_PATH, "obj")
        if not is_valid_email(email):
            raise RefusedError(invalid_email(body["email"]))
        found = misbehaviour_of(email)
        if found and found.profile:
            raise RefusedError(found.profile)
        data = self._known_fields(data_fields_of(body, UPDATE_PATH, "obj"), body, set())
        learned: dict[str, str] = {}
        self.schema.check(data, learned)
        self.schema.learn(learned)
        self._store(Profile(email, data, body.get("mergeNestedObjects", False)))
        return SUCCESS

    def bulk_update(self, content: object) -> Answer:
        """Answer users/bulkUpdate; one record of a wrong type refuses them all."""
        body = object_body(content, BULK_UPDATE_PATH)
        report = BulkReport(USER_REASONS)
        learned: dict[str, str] = {}
        profiles, emails = self._sort(body, report, learned)
        report.created_fields = self.schema.learn(learned)
        for profile in profiles:
            self._store(profile)
        report.success_count = len(profiles)
        self.duplicates_in_calls += len(emails) - len(set(emails))
        return report.answer()

    def _sort(
        self, body: dict[str, Any], report: BulkReport, learned: dict[str, str]
    ) -> tuple[list[Profile], list[str]]:
        """Return the profiles to store, and the addresses of all records."""
        profiles: list[Profile] = []
        emails: list[str] = []
        for index, item in enumerate(items_of(body, "users", BULK_UPDATE_PATH)):
            where = f"obj.users[{index}]"
            email = email_of(item, BULK_UPDATE_PATH, where)
            data = data_fields_of(item, BULK_UPDATE_PATH, where)
            emails.append(email)
            failed_list = _failed_list(email)
            if failed_list:
                report.fail(failed_list, email)
                continue
            data = self._known_fields(data, body, report.dropped_fields)
            self.schema.check(data, learned)
            profiles.append(Profile(email, data, item.get("mergeNestedObjects", False)))
        return profiles, emails

    def _known_fields(
        self, data: dict[str, Any], body: dict[str, Any], dropped: set[str]
    ) -> dict[str, Any]:
        """Remove the fields that may not be created, by the project's or the call's setting."""
        allowed: AbstractSet[str] | None = self.project_fields or None
        if body.get("createNewFields") is False:
            allowed = self.schema.types.keys()
        return data if allowed is None else without_unknown(data, allowed, dropped)

    def _store(self, profile: Profile) -> None:
        old = self.by_email.get(profile.email)
        if old is None:
            self.by_email[profile.email] = StoredUser(packed(profile.data), 1)
            return
        merged = merge(unpacked(old.data), profile.data, nested=profile.merge_nested)
        self.by_email[profile.email] = StoredUser(packed(merged), old.updates + 1)

    def overwrite(self, email: str, data: dict[str, Any]) -> None:
        """Change fields without a call: no checks, and not counted as an update."""
        old = self.by_email.get(email, StoredUser(b"{}", 0))
        merged = merge(unpacked(old.data), data, nested=False)
        self.by_email[email] = StoredUser(packed(merged), old.updates)

    def read(self, email: str) -> dict[str, Any]:
        """Return the answer to a read: `{}` for an unknown user."""
        user = self.by_email.get(email.lower())
        if user is None:
            return {}
        return {"user": {"email": email.lower(), "dataFields": orjson.Fragment(user.data)}}


def _failed_list(email: str) -> str | None:
    """Return the list of `failedUpdates` that an address belongs in, if any.

    Raises:
        RefusedError: the address refuses the whole call.
    """
    if not is_valid_email(email):
        return "invalidEmails"
    found = misbehaviour_of(email)
    if found is None:
        return None
    if found.bulk:
        raise RefusedError(found.bulk)
    return found.profile_list


def merge(old: dict[str, Any], new: dict[str, Any], *, nested: bool) -> dict[str, Any]:
    """Return `old` with the fields of `new`; null is a value like any other.

    With `nested`, objects at the top level are merged too and not replaced.
    """
    merged = {**old, **new}
    if nested:
        for name, value in new.items():
            if isinstance(value, dict) and isinstance(old.get(name), dict):
                merged[name] = {**old[name], **value}
    return merged
