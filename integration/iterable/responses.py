"""What an answer of Iterable means: status first, then code. Pure functions.

The codes and envelopes are those of Iterable's API; `msg` is matched only where there is
nothing else: a disallowed event is answered with 200 and "Success".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal

import orjson

from integration.iterable.retry import RETRYABLE_STATUSES

if TYPE_CHECKING:
    from datetime import datetime

    from integration.core.models import ErrorKind

Retry = Literal["no", "after backoff", "after rate limit"]
# What a good answer looks like: a code, counts, or any JSON object.
Expected = Literal["code", "counts", "object"]
DISALLOWED = "disallowed from tracking"
MAX_TEXT = 500
MAX_ERROR_BYTES = 10_000
# An answer's date is of whole seconds, and a moment old when it is read.
CLOCK_TOLERANCE_SECONDS = 30
# Above this a reset is a moment in unix time, not a number of seconds.
_MAX_RESET_SECONDS = 10_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's outcome as the wire showed it.

    Without a `status` there was no HTTP answer: `error` and `reason` say what happened.
    With a `stop_reason` no call can succeed before somebody has done what it says.
    """

    status: int | None
    body: bytes = b""
    retry_after: str | None = None
    date: str | None = None
    error: ErrorKind | None = None
    reason: str = ""
    stop_reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means for the call; `response` is the JSON answered, else a text."""

    error: ErrorKind | None
    retry: Retry
    response: object


def classify(answer: Answer, expected: Expected = "code") -> Verdict:
    """Success, or which error, and whether the call is worth another try.

    A bulk call answers 200 with counts in place of a code, whatever became of its users; a
    reading call with what it read.
    """
    if answer.status is None:
        definite = answer.error == "invalid_response" or answer.stop_reason
        retry: Retry = "no" if definite else "after backoff"
        return Verdict(answer.error or "connection_error", retry, answer.reason)
    response, is_json = _decode(answer.body)
    if 200 <= answer.status < 300:
        error = _error_in_success(response, expected) if is_json else "invalid_response"
        return Verdict(error, "no", response)
    kept = _shortened(response) if len(answer.body) > MAX_ERROR_BYTES else response
    return Verdict(_error_of_status(answer.status), _again_after(answer.status), kept)


def _shortened(response: object) -> object:
    """What says most of an error that is too long to be kept for every user of a call."""
    if not isinstance(response, dict):
        return str(response)[:MAX_TEXT]
    return {name: str(response[name])[:MAX_TEXT] for name in ("code", "msg") if name in response}


def _error_of_status(status: int) -> ErrorKind:
    if status == 408:
        return "timeout"
    if status == 429:
        return "rate_limited"
    if status < 400:  # a redirect: Iterable's API has none
        return "invalid_response"
    return "client_error" if status < 500 else "server_error"


def _again_after(status: int) -> Retry:
    if status == 429:
        return "after rate limit"
    return "after backoff" if status in RETRYABLE_STATUSES else "no"


def retry_after_seconds(answer: Answer, now: datetime) -> float | None:
    """The wait that a 429 asks for: `Retry-After`, else `params.rateLimitReset`, else None.

    `Retry-After` is seconds or an HTTP date (RFC 9110, section 10.2.3). Iterable gives the
    reset in seconds; a moment in unix time is understood too. A moment is measured against
    the answer's own `Date`, which is of the same clock; `now` stands in for it.
    """
    server_time = _http_date(answer.date) or now
    header = _header_seconds(answer.retry_after, server_time)
    return header if header is not None else _reset_seconds(answer.body, server_time)


def clock_complaint(answer: Answer, now: datetime) -> str:
    """How far this machine's clock is from the server's; empty when it is about right."""
    server_time = _http_date(answer.date)
    behind = round((server_time - now).total_seconds()) if server_time else 0
    if abs(behind) < CLOCK_TOLERANCE_SECONDS:
        return ""
    side = "behind" if behind > 0 else "ahead of"
    return f"this machine's clock is {abs(behind)} s {side} Iterable's"


def _error_in_success(response: object, expected: Expected) -> ErrorKind | None:
    if not isinstance(response, dict):
        return "invalid_response"
    if expected == "object":
        return None
    if expected == "counts":
        return None if "successCount" in response else "invalid_response"
    code = response.get("code")
    if not isinstance(code, str):
        return "invalid_response"
    refused = code != "Success" or DISALLOWED in str(response.get("msg", ""))
    return "client_error" if refused else None


def _decode(body: bytes) -> tuple[object, bool]:
    """The JSON answered and True, or else the start of the text and False.

    orjson reads deeper than it writes. What could not be written as a part of a result, nor
    shown by Python in a log line, counts as text.
    """
    try:
        response = orjson.loads(body)
        orjson.dumps([response])
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return body[: 4 * MAX_TEXT].decode("utf-8", "replace")[:MAX_TEXT], False
    return response, True


def _header_seconds(header: str | None, now: datetime) -> float | None:
    if header is None:
        return None
    seconds = _number(header)
    if seconds is not None:
        return seconds
    moment = _http_date(header)
    return None if moment is None else max((moment - now).total_seconds(), 0.0)


def _http_date(header: str | None) -> datetime | None:
    if header is None:
        return None
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _reset_seconds(body: bytes, now: datetime) -> float | None:
    response, _ = _decode(body)
    params = response.get("params") if isinstance(response, dict) else None
    seconds = _number(params.get("rateLimitReset")) if isinstance(params, dict) else None
    if seconds is not None and seconds > _MAX_RESET_SECONDS:
        return max(seconds - now.timestamp(), 0.0)
    return seconds


def _number(value: object) -> float | None:
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
