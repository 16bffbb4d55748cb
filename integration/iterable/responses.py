"""What a response of Iterable means for its call: status first, then code. Pure functions.

The codes and envelopes are those of Iterable's API. `msg` is matched only where there is nothing
else: a disallowed event gets 200 and "Success".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

import orjson

from integration.core.exit_codes import ExitCode
from integration.core.models import CallResult
from integration.core.shutdown import StopReason
from integration.iterable.retry import RETRYABLE_STATUSES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from integration.core.models import ErrorKind
    from integration.iterable.retry import Retry

# The shape of a successful response: a code, counts, or any JSON object.
Expected = Literal["code", "counts", "object"]
DISALLOWED = "disallowed from tracking"
# Iterable's code for a token that is expired, issued in the future or wrongly signed.
INVALID_TOKEN_CODE = "InvalidJwtPayload"  # noqa: S105  a code, not a token
MAX_TEXT = 500
MAX_ERROR_BYTES = 10_000
# A Date header has whole seconds and is slightly old when it is read.
CLOCK_TOLERANCE_SECONDS = 30
# A larger rateLimitReset is a unix time, not a number of seconds.
_MAX_RESET_SECONDS = 10_000_000


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What a request got.

    Attributes:
        status: the HTTP status, or None if there was no HTTP response.
        retry_after: the `Retry-After` header.
        date: the `Date` header.
        error: what happened if there is no status.
        reason: a text for `error`.
        stop_reason: why no further call can succeed until the operator does what it says.
        headers: of a response that was fetched, to be looked up in lower case.
    """

    status: int | None
    body: bytes = b""
    retry_after: str | None = None
    date: str | None = None
    error: ErrorKind | None = None
    reason: str = ""
    stop_reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Classification(NamedTuple):
    """What a response means for its call.

    Attributes:
        status_code: the HTTP status, or None if there was no HTTP response.
        error: None for a success.
        response: the JSON of the response, or the start of its text if it was not JSON, or the
            reason why there was none.
        retry: whether the call may be retried.
        retry_after_seconds: the wait that a 429 asks for.
        stop_reason: why no further call can succeed.
    """

    status_code: int | None
    error: ErrorKind | None
    response: object
    retry: Retry = "no"
    retry_after_seconds: float | None = None
    stop_reason: StopReason | None = None

    @property
    def label(self) -> str:
        """What a retry is counted as: the status, or the error if there is none."""
        return str(self.status_code or self.error)

    def result(self, attempts: int) -> CallResult:
        """The call's result, if this was its last attempt."""
        return CallResult(
            success=self.error is None,
            response=self.response,
            status_code=self.status_code,
            attempts=attempts,
            error=self.error,
        )


def classify(http: HttpResponse, expected: Expected, now: datetime) -> Classification:
    """Decide whether a call succeeded, and what to do if it failed.

    Args:
        http: what the request got.
        expected: the shape of a success. A bulk call gets counts instead of a code, whatever
            the outcomes of its users; a reading call gets an object.
        now: the time in UTC.
    """
    if http.status is None:
        return _without_response(http)
    response, is_json = _decode(http.body)
    if 200 <= http.status < 300:
        error = _error_in_success(response, expected) if is_json else "invalid_response"
        stop_reason = _stop_reason(http, response, now) if error else None
        return Classification(http.status, error, response, stop_reason=stop_reason)
    return Classification(
        http.status,
        _error_of_status(http.status),
        _shortened(response) if len(http.body) > MAX_ERROR_BYTES else response,
        retry_of_status(http.status),
        retry_after_seconds(http, response, now) if http.status == 429 else None,
        _stop_reason(http, response, now),
    )


def _without_response(http: HttpResponse) -> Classification:
    is_final = http.error == "invalid_response" or http.stop_reason
    return Classification(
        None,
        http.error or "connection_error",
        http.reason,
        "no" if is_final else "after backoff",
        stop_reason=_unavailable(http.stop_reason),
    )


def _shortened(response: object) -> object:
    """The main parts of an error that is too long to be stored for every user of a call."""
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


def retry_of_status(status: int) -> Retry:
    """Whether a call that got this status, which is no success, may be retried."""
    if status == 429:
        return "after rate limit"
    return "after backoff" if status in RETRYABLE_STATUSES else "no"


def _error_in_success(response: object, expected: Expected) -> ErrorKind | None:
    if not isinstance(response, dict):
        return "invalid_response"
    if expected == "object":
        return None
    if expected == "counts":
        return _error_in_counts(response)
    code = response.get("code")
    if not isinstance(code, str):
        return "invalid_response"
    refused = code != "Success" or DISALLOWED in str(response.get("msg", ""))
    return "client_error" if refused else None


def _error_in_counts(response: dict[str, object]) -> ErrorKind | None:
    if "successCount" not in response:
        return "invalid_response"
    return "client_error" if response.get("code", "Success") != "Success" else None


def _decode(body: bytes) -> tuple[object, bool]:
    """The decoded JSON and True, or the start of the text and False.

    orjson reads deeper nesting than it writes. JSON that could not be written as part of a
    result, or shown by Python in a log line, counts as text.
    """
    try:
        response = orjson.loads(body)
        orjson.dumps([response])
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return body[: 4 * MAX_TEXT].decode("utf-8", "replace")[:MAX_TEXT], False
    return response, True


def _stop_reason(http: HttpResponse, response: object, now: datetime) -> StopReason | None:
    """Why no further call can succeed, if this failed one shows it."""
    if http.stop_reason:
        return _unavailable(http.stop_reason)
    if not isinstance(response, dict) or response.get("code") != INVALID_TOKEN_CODE:
        return None
    difference = clock_difference(http.date, now)
    if not difference:
        return None
    return StopReason(
        "stopped",
        f"Iterable refused the token: {difference}. Set the clock;"
        " if that does not help, check ITERABLE_JWT_SECRET",
        ExitCode.KEY_REFUSED,
    )


def _unavailable(text: str) -> StopReason | None:
    return StopReason("stopped", text, ExitCode.UNAVAILABLE) if text else None


def clock_difference(date: str | None, now: datetime) -> str:
    """How wrong this machine's clock is, by the `Date` header; empty if it is about right."""
    server_time = _http_date(date)
    behind = round((server_time - now).total_seconds()) if server_time else 0
    if abs(behind) < CLOCK_TOLERANCE_SECONDS:
        return ""
    side = "behind" if behind > 0 else "ahead of"
    return f"this machine's clock is {abs(behind)} s {side} Iterable's"


def retry_after_seconds(http: HttpResponse, response: object, now: datetime) -> float | None:
    """The wait that a 429 asks for: `Retry-After`, else `params.rateLimitReset`, else None.

    `Retry-After` is a number of seconds or an HTTP date (RFC 9110, section 10.2.3), the reset a
    number of seconds or a unix time. Dates are compared with the response's own `Date`, which
    is from the same clock, or with `now` if it has none.
    """
    server_time = _http_date(http.date) or now
    header = _header_seconds(http.retry_after, server_time)
    return header if header is not None else _reset_seconds(response, server_time)


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


def _reset_seconds(response: object, now: datetime) -> float | None:
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
