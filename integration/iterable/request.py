"""The requests of Iterable's endpoints as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from integration.core.models import BULK_ENDPOINTS, ENDPOINTS, Call
from integration.iterable.bulk import bulk_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.core.models import PendingUser
    from integration.iterable.responses import Expected

# The maximum of Iterable's `GET /api/events/{email}`.
MAX_EVENTS_READ = 200


class Request(NamedTuple):
    """One request.

    Attributes:
        endpoint: the name that limits and log lines use.
        path: the path and query of the URL.
        body: the JSON body of a POST, or None for a GET.
        email: the user that the request is about, or None for a bulk call.
        expected: the shape of a successful response.
    """

    endpoint: str
    path: str
    body: bytes | None
    email: str | None
    expected: Expected


def single_request(call: Call, email: str, body: bytes) -> Request:
    """`users/update` or `events/track` for one user."""
    endpoint = ENDPOINTS[call]
    return Request(endpoint, f"/api/{endpoint}", body, email, "code")


def bulk_request(call: Call, users: Sequence[PendingUser]) -> Request:
    """`users/bulkUpdate` or `events/trackBulk` for many users."""
    endpoint = BULK_ENDPOINTS[call]
    return Request(endpoint, f"/api/{endpoint}", bulk_body(call, users), None, "counts")


def profile_request(email: str) -> Request:
    """Read a user's profile."""
    path = f"/api/users/getByEmail?email={quote(email, safe='')}"
    return Request("users/getByEmail", path, None, email, "object")


def fields_request() -> Request:
    """Read the names and types of the project's profile fields."""
    return Request("users/getFields", "/api/users/getFields", None, None, "object")


def events_request(email: str) -> Request:
    """Read a user's newest events, as many as Iterable returns."""
    path = f"/api/events/{quote(email, safe='')}?limit={MAX_EVENTS_READ}"
    return Request("events/get", path, None, email, "object")
