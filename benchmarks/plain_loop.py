"""The simple alternative: two `requests.post` for each user, one after the other.

    python -m benchmarks.plain_loop URL USERS [--session]

It has no retries, no rate limit and no journal; it counts the successes.
"""

from __future__ import annotations

import sys
from datetime import UTC
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.people import people
from sandbox.options import DEFAULT_API_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.people import Person

HEADERS = {"Api-Key": DEFAULT_API_KEY}
TIMEOUT_SECONDS = 10


def main() -> int:
    """Send all users; 0 when every call succeeded."""
    url, users, *options = sys.argv[1:]
    if "--session" in options:
        with requests.Session() as session:
            delivered = sum(deliver(session.post, url, person) for person in people(int(users)))
    else:
        delivered = sum(deliver(requests.post, url, person) for person in people(int(users)))
    return 0 if delivered == int(users) else 1


def deliver(post: Callable[..., requests.Response], url: str, person: Person) -> bool:
    """Make both calls for one user."""
    calls: dict[str, dict[str, Any]] = {
        "users/update": {
            "email": person.email,
            "dataFields": {
                "first_name": person.first_name,
                "last_name": person.last_name,
                "plan_type": "pro",
                "recent_page_view": True,
                "candidate": person.candidate,
            },
        },
        "events/track": {
            "email": person.email,
            "eventName": "page_view",
            "id": f"view-{person.id}",
            "createdAt": int(person.viewed.replace(tzinfo=UTC).timestamp()),
            "dataFields": {
                "page": person.page,
                "device": person.device,
                "browser": person.browser,
                "location": person.location,
                "timestamp": str(person.viewed),
                "candidate": person.candidate,
            },
        },
    }
    answers = [
        post(f"{url}/api/{path}", json=body, headers=HEADERS, timeout=TIMEOUT_SECONDS)
        for path, body in calls.items()
    ]
    return all(answer.ok and answer.json()["code"] == "Success" for answer in answers)


if __name__ == "__main__":
    sys.exit(main())
