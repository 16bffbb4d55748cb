"""Whether to retry a GET. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

from integration.iterable.responses import retry_after_seconds, retry_of_status

if TYPE_CHECKING:
    from datetime import datetime

    from integration.iterable.responses import HttpResponse
    from integration.iterable.retry import Retry


class Decision(NamedTuple):
    """What to do about a response; see `retry.Decision`."""

    retry: Retry
    retry_after_seconds: float | None = None


def decide(http: HttpResponse, now: datetime) -> Decision:
    """Decide whether a GET may be retried, from its response alone."""
    if http.status is None:
        is_final = http.error == "invalid_response" or bool(http.stop_reason)
        return Decision("no" if is_final else "after backoff")
    if 200 <= http.status < 300:
        return Decision("no")
    if http.status != 429:
        return Decision(retry_of_status(http.status))
    return Decision("after rate limit", retry_after_seconds(http, _json_of(http.body), now))


def _json_of(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
