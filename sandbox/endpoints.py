"""The calls that the mock server knows, their published limits, and the path of each."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple
from urllib.parse import parse_qs, unquote


class Endpoint(Enum):
    """An API call; the value is its name in statistics and faults."""

    USERS_UPDATE = "users/update"
    USERS_BULK_UPDATE = "users/bulkUpdate"
    EVENTS_TRACK = "events/track"
    EVENTS_TRACK_BULK = "events/trackBulk"
    USERS_READ = "users/{email}"
    USERS_READ_BY_EMAIL = "users/getByEmail"
    USERS_FIELDS = "users/getFields"
    EVENTS_READ = "events/{email}"


WRITES = {
    "/api/users/update": Endpoint.USERS_UPDATE,
    "/api/users/bulkUpdate": Endpoint.USERS_BULK_UPDATE,
    "/api/events/track": Endpoint.EVENTS_TRACK,
    "/api/events/trackBulk": Endpoint.EVENTS_TRACK_BULK,
}
SINGLE_WRITES = frozenset({Endpoint.USERS_UPDATE, Endpoint.EVENTS_TRACK})
BULK_WRITES = frozenset({Endpoint.USERS_BULK_UPDATE, Endpoint.EVENTS_TRACK_BULK})

# Calls per second and project, as Iterable publishes them.
PUBLISHED_LIMITS = {
    "users/update": 500.0,
    "users/bulkUpdate": 5.0,
    "events/track": 2000.0,
    "events/trackBulk": 10.0,
    "users/{email}": 100.0,
    "users/getByEmail": 100.0,
    "users/getFields": 3.0,
    "events/{email}": 100.0,
}


class Read(NamedTuple):
    """A read: the endpoint, the user and the number of items."""

    endpoint: Endpoint
    email: str = ""
    limit: str | None = None


def read_at(path: str, query: str) -> Read | None:
    """Return the read that a GET of `path` asks for."""
    parameters = {name: values[0] for name, values in parse_qs(query).items()}
    if path == "/api/users/getFields":
        return Read(Endpoint.USERS_FIELDS)
    if path == "/api/users/getByEmail":
        return Read(Endpoint.USERS_READ_BY_EMAIL, parameters.get("email", ""))
    if path in WRITES:
        return None
    for prefix, endpoint in (
        ("/api/users/", Endpoint.USERS_READ),
        ("/api/events/", Endpoint.EVENTS_READ),
    ):
        if path.startswith(prefix) and len(path) > len(prefix):
            email = unquote(path[len(prefix) :])
            return Read(endpoint, email, parameters.get("limit"))
    return None
