"""The addresses of pings."""

from __future__ import annotations

import pytest

from integration.notify.pings import ping_url


@pytest.mark.parametrize(
    ("url", "what", "expected"),
    [
        ("https://hc-ping.com/uuid", "start", "https://hc-ping.com/uuid/start"),
        ("https://hc-ping.com/uuid/", "0", "https://hc-ping.com/uuid/0"),
        ("https://hc-ping.com/key/job?create=1", "69", "https://hc-ping.com/key/job/69?create=1"),
        ("http://localhost:8000", "143", "http://localhost:8000/143"),
    ],
)
def test_what_is_pinged_follows_the_path(url: str, what: str, expected: str) -> None:
    """A query stays at the end."""
    assert ping_url(url, what) == expected
