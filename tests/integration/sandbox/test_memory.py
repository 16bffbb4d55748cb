"""The sandbox's memory: small per user, and not under a client's control."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests

from sandbox import SandboxProcess
from tests.support.sandbox_api import EMAIL, Api

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTE = 1_000_000


@pytest.fixture(name="api")
def api_fixture() -> Iterator[Api]:
    """A server private to the test: peak memory never decreases."""
    with SandboxProcess() as sandbox:
        api = Api(sandbox)
        with api.session:
            api.update()
            yield api


def peak(api: Api) -> int:
    """Return the server's peak memory so far."""
    bytes_at_peak: int = api.sandbox.stats()["peak_memory_bytes"]
    return bytes_at_peak


def test_a_user_and_an_event_take_about_a_kilobyte(api: Api) -> None:
    """A million of both must fit in well under 2 GB."""
    api.update_bulk(*(f"first{n}@example.com" for n in range(1_000)))
    before, count = peak(api), 30_000
    for start in range(0, count, 1_000):
        items = [
            {
                "email": f"user{n}@example.com",
                "eventName": "page_view",
                "id": f"{n:08d}-8d3c-5b6a-9d3c-0123456789ab",
                "dataFields": {"name": "Ada", "plan": "pro", "text": "x" * 80},
            }
            for n in range(start, start + 1_000)
        ]
        api.post("users/bulkUpdate", {"users": items})
        assert api.post("events/trackBulk", {"events": items}).json()["successCount"] == 1_000
    assert (peak(api) - before) / count < 1_500


def test_a_body_that_is_too_large_is_not_kept(api: Api) -> None:
    """Its length is counted, its bytes are discarded."""
    before = peak(api)
    body = b"x" * 60 * MEGABYTE
    assert api.post("users/bulkUpdate", data=body).status_code == 413
    assert peak(api) - before < 20 * MEGABYTE


def test_a_long_state_waits_for_a_slow_reader(api: Api) -> None:
    """It is sent no faster than it is read; a client that disconnects affects no other."""
    text = {"text": "x" * 3_000}
    for batch in range(20):
        emails = [f"user{n}.{batch}@example.com" for n in range(1_000)]
        users = [{"email": email, "dataFields": text} for email in emails]
        api.post("users/bulkUpdate", {"users": users})
    before, url = peak(api), f"{api.sandbox.url}/_sandbox/state"
    with requests.get(url, stream=True, timeout=30) as leaving:
        leaving.raw.read(10)
    with requests.get(url, stream=True, timeout=30) as answer:
        time.sleep(0.3)
        assert peak(api) - before < 30 * MEGABYTE
        stored = answer.json()["users"]
    assert len(stored) == 20_001
    assert stored[EMAIL]["updates"] == 1
