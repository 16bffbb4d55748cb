"""An Iterable project: pure state, and the effect of each write call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.answers import Answer, RefusedError, json_answer
from sandbox.endpoints import Endpoint
from sandbox.events import Events
from sandbox.users import Users

if TYPE_CHECKING:
    from sandbox.options import SandboxOptions

DEFAULT_EVENTS_READ = 30
MAX_EVENTS_READ = 200


class Project:
    """The users and events of one project."""

    def __init__(self, options: SandboxOptions) -> None:
        self.users = Users()
        self.events = Events(self.users.by_email)
        self.configure(options)

    def configure(self, options: SandboxOptions) -> None:
        """Apply the options that decide what the project stores."""
        self.users.project_fields = frozenset(options.project_fields)
        self.events.project_fields = frozenset(options.project_fields)
        self.events.disallowed = frozenset(options.disallowed_events)

    def write(self, endpoint: Endpoint, content: object, now: int) -> Answer:
        """Answer a write call and apply it; `now` is the wall clock in unix seconds."""
        try:
            if endpoint is Endpoint.USERS_UPDATE:
                return self.users.update(content)
            if endpoint is Endpoint.USERS_BULK_UPDATE:
                return self.users.bulk_update(content)
            if endpoint is Endpoint.EVENTS_TRACK:
                return self.events.track(content, now)
            return self.events.track_bulk(content, now)
        except RefusedError as refusal:
            return refusal.answer

    def read(self, endpoint: Endpoint, email: str, limit: str | None) -> Answer:
        """Answer a read."""
        if endpoint is Endpoint.USERS_FIELDS:
            return json_answer({"fields": self.users.schema.types})
        if endpoint is Endpoint.EVENTS_READ:
            return json_answer(self.events.read(email, events_limit(limit)))
        return json_answer(self.users.read(email))

    @property
    def duplicate_users_in_call(self) -> int:
        """How often a bulk call contained a user more than once."""
        return self.users.duplicates_in_calls + self.events.duplicates_in_calls


def events_limit(limit: str | None) -> int:
    """Return how many events a read asks for: 30 by default, at most 200."""
    if limit is None or not limit.isdecimal():
        return DEFAULT_EVENTS_READ
    return max(1, min(MAX_EVENTS_READ, int(limit)))
