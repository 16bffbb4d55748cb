"""The events of an Iterable project: events/track, events/trackBulk and the read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import orjson

from sandbox.answers import SUCCESS, Answer, RefusedError, envelope, invalid_email, unknown_email
from sandbox.bulk import EVENT_REASONS, BulkReport
from sandbox.compact import packed, unpacked
from sandbox.misbehaviour import misbehaviour_of
from sandbox.schema import Schema, without_unknown
from sandbox.validation import (
    created_at_of,
    data_fields_of,
    email_of,
    event_id_of,
    event_name_of,
    is_valid_email,
    items_of,
    object_body,
)

if TYPE_CHECKING:
    from collections.abc import Container
    from collections.abc import Set as AbstractSet

TRACK_PATH = "/api/events/track"
TRACK_BULK_PATH = "/api/events/trackBulk"


class StoredEvent(NamedTuple):
    """A stored event."""

    email: str
    event_name: str
    created_at: int
    data: bytes
    updates: int


class Event(NamedTuple):
    """A valid record of a call."""

    email: str
    event_id: str | None
    event_name: str
    created_at: int | None
    data: dict[str, Any]


class Events:
    """Events by id and by lower case address, and the types of their fields by event name."""

    def __init__(self, users: Container[str]) -> None:
        self.by_id: dict[str, StoredEvent] = {}
        self.ids_by_email: dict[str, tuple[str, ...]] = {}
        self.schemas: dict[str, Schema] = {}
        self.duplicates_in_calls = 0
        self._users = users
        self.project_fields: frozenset[str] = frozenset()
        self.disallowed: frozenset[str] = frozenset()

    def track(self, content: object, now: int) -> Answer:
        """Answer events/track; `now` (unix seconds) is the time of an event without one."""
        body = object_body(content, TRACK_PATH)
        event = _read_event(body, TRACK_PATH, "obj")
        if not is_valid_email(event.email):
            raise RefusedError(invalid_email(body["email"]))
        found = misbehaviour_of(event.email)
        if found and found.event:
            raise RefusedError(found.event)
        if event.event_name in self.disallowed or (found and found.event_disallowed):
            return _disallowed(event.event_name)
        if event.email not in self._users and not (found and found.event_needs_no_user):
            raise RefusedError(unknown_email(event.email))
        event = self._with_known_fields(event, body, set())
        learned: dict[str, dict[str, str]] = {}
        self._check(event, learned)
        self._learn(learned)
        event_id = self._store(event, now)
        return SUCCESS if event.event_id else envelope(200, "Success", params={"id": event_id})

    def track_bulk(self, content: object, now: int) -> Answer:
        """Answer events/trackBulk; one record of a wrong type refuses them all."""
        body = object_body(content, TRACK_BULK_PATH)
        report = BulkReport(EVENT_REASONS)
        learned: dict[str, dict[str, str]] = {}
        events, emails = self._sort(body, report, learned)
        report.created_fields = self._learn(learned)
        for event in events:
            self._store(event, now)
        report.success_count = len(events)
        self.duplicates_in_calls += len(emails) - len(set(emails))
        return report.answer()

    def _sort(
        self, body: dict[str, Any], report: BulkReport, learned: dict[str, dict[str, str]]
    ) -> tuple[list[Event], list[str]]:
        """Return the events to store, and the addresses of all records."""
        events: list[Event] = []
        emails: list[str] = []
        for index, item in enumerate(items_of(body, "events", TRACK_BULK_PATH)):
            event = _read_event(item, TRACK_BULK_PATH, f"obj.events[{index}]")
            emails.append(event.email)
            failed_list = self._failed_list(event.email)
            if failed_list:
                report.fail(failed_list, event.email)
            elif event.event_name in self.disallowed:
                report.disallow(event.event_name)
            else:
                known = self._with_known_fields(event, item, report.dropped_fields)
                self._check(known, learned)
                events.append(known)
        return events, emails

    def _failed_list(self, email: str) -> str | None:
        """Return the list of `failedUpdates` that an address belongs in, if any.

        Raises:
            RefusedError: the address refuses the whole call.
        """
        is_known = email in self._users
        if not is_known and not is_valid_email(email):
            return "invalidEmails"
        found = misbehaviour_of(email)
        if found and found.bulk:
            raise RefusedError(found.bulk)
        if found and found.event_list:
            return found.event_list
        if is_known or (found and found.event_needs_no_user):
            return None
        return "notFoundEmails"

    def _with_known_fields(self, event: Event, item: dict[str, Any], dropped: set[str]) -> Event:
        """Remove the fields that may not be created, by the project's or the event's setting."""
        allowed: AbstractSet[str] | None = self.project_fields or None
        if item.get("createNewFields") is False:
            schema = self.schemas.get(event.event_name)
            allowed = schema.types.keys() if schema else frozenset()
        if allowed is None:
            return event
        return event._replace(data=without_unknown(event.data, allowed, dropped))

    def _check(self, event: Event, learned: dict[str, dict[str, str]]) -> None:
        name = event.event_name
        schema = self.schemas.get(name) or _NO_SCHEMA
        schema.check(event.data, learned.setdefault(name, {}))

    def _learn(self, learned: dict[str, dict[str, str]]) -> list[str]:
        created: list[str] = []
        for name, types in learned.items():
            created += self.schemas.setdefault(name, Schema("event")).learn(types)
        return list(dict.fromkeys(created))

    def _store(self, event: Event, now: int) -> str:
        event_id = event.event_id or str(uuid4())
        old = self.by_id.get(event_id)
        created_at = now if event.created_at is None else event.created_at
        data, updates = event.data, 1
        if old is not None:
            data, updates = {**unpacked(old.data), **data}, old.updates + 1
        if old is None or old.email != event.email:
            self._index(event_id, event.email, old)
        self.by_id[event_id] = StoredEvent(
            event.email, event.event_name, created_at, packed(data), updates
        )
        return event_id

    def _index(self, event_id: str, email: str, old: StoredEvent | None) -> None:
        if old is not None:
            remaining = tuple(i for i in self.ids_by_email[old.email] if i != event_id)
            self.ids_by_email[old.email] = remaining
        self.ids_by_email[email] = (*self.ids_by_email.get(email, ()), event_id)

    def read(self, email: str, limit: int) -> dict[str, Any]:
        """Return the answer to a read: the newest events of a user first."""
        ids = self.ids_by_email.get(email.lower(), ())
        newest = sorted(ids, key=lambda i: self.by_id[i].created_at, reverse=True)[:limit]
        return {"events": [event_as_json(i, self.by_id[i]) for i in newest]}


_NO_SCHEMA = Schema("event")


def event_as_json(event_id: str, event: StoredEvent) -> dict[str, Any]:
    """Return an event as it is read back."""
    return {
        "id": event_id,
        "email": event.email,
        "eventName": event.event_name,
        "createdAt": event.created_at,
        "dataFields": orjson.Fragment(event.data),
    }


def _read_event(item: dict[str, Any], path: str, where: str) -> Event:
    return Event(
        email_of(item, path, where),
        event_id_of(item, path, where),
        event_name_of(item, path, where),
        created_at_of(item, path, where),
        data_fields_of(item, path, where),
    )


def _disallowed(event_name: str) -> Answer:
    return envelope(200, "Success", f"Event {event_name} is disallowed from tracking.")
