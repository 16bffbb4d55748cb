"""A client for tests of the sandbox: real HTTP, and an empty project for each test."""

from __future__ import annotations

import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from sandbox import SandboxOptions, SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

EMAIL = "ada@example.com"


class Api:
    """A sandbox, and a session with its key."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Api-Key"] = sandbox.options.api_key

    def post(
        self,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> requests.Response:
        """POST JSON to `/api/` + path."""
        url = f"{self.sandbox.url}/api/{path}"
        return self.session.post(url, json=body, headers=headers, timeout=30, **options)

    def get(self, path: str) -> requests.Response:
        """GET `/api/` + path."""
        return self.session.get(f"{self.sandbox.url}/api/{path}", timeout=30)

    def update(self, email: str = EMAIL, **data: object) -> requests.Response:
        """Call users/update."""
        return self.post("users/update", {"email": email, "dataFields": data})

    def track(self, email: str = EMAIL, **event: object) -> requests.Response:
        """Call events/track with a page_view."""
        return self.post("events/track", {"email": email, "eventName": "page_view", **event})

    def update_bulk(self, *emails: str) -> requests.Response:
        """Call users/bulkUpdate."""
        return self.post("users/bulkUpdate", {"users": [{"email": email} for email in emails]})

    def track_bulk(self, *emails: str) -> requests.Response:
        """Call events/trackBulk with a page_view for each address."""
        events = [
            {"email": email, "eventName": "page_view", "id": f"e-{index}"}
            for index, email in enumerate(emails)
        ]
        return self.post("events/trackBulk", {"events": events})

    def users(self) -> dict[str, Any]:
        """Return the users that the sandbox stored."""
        users: dict[str, Any] = self.sandbox.state()["users"]
        return users

    def events(self) -> dict[str, Any]:
        """Return the events that the sandbox stored."""
        events: dict[str, Any] = self.sandbox.state()["events"]
        return events

    def connect(self) -> socket.socket:
        """Open a plain TCP connection."""
        address = urlsplit(self.sandbox.url)
        return socket.create_connection((address.hostname or "", address.port or 0), timeout=30)


@pytest.fixture(scope="module", name="running_sandbox")
def running_sandbox_fixture() -> Iterator[SandboxProcess]:
    """One server for all tests of a module."""
    with SandboxProcess() as sandbox:
        yield sandbox


@pytest.fixture(name="api")
def api_fixture(running_sandbox: SandboxProcess) -> Iterator[Api]:
    """An empty project with the default options."""
    running_sandbox.configure(**asdict(SandboxOptions()))
    running_sandbox.reset()
    api = Api(running_sandbox)
    with api.session:
        yield api
