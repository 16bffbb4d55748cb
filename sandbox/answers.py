"""Iterable's answers: the envelope, the refusals and their recorded wording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer before it is encoded."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class RefusedError(Exception):
    """A call that is answered with a refusal and changes nothing."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


# The code that Iterable sends with a status, for faults that name only the status.
CODE_BY_STATUS = {
    200: "Success",
    400: "BadParams",
    401: "BadApiKey",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    413: "BatchTooLarge",
    429: "RateLimitExceeded",
}


def code_for(status: int) -> str:
    """Return the code that fits a status; everything unlisted is a GenericError."""
    return CODE_BY_STATUS.get(status, "GenericError")


def json_answer(value: object, status: int = 200) -> Answer:
    """Return `value` as a JSON answer."""
    return Answer(status, orjson.dumps(value))


def envelope(
    status: int,
    code: str,
    message: str = "",
    params: dict[str, Any] | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """Return Iterable's `{"msg", "code", "params"}` with a status."""
    body = orjson.dumps({"msg": message, "code": code, "params": params})
    return Answer(status, body, headers=headers)


SUCCESS = envelope(200, "Success")
BATCH_TOO_LARGE = envelope(413, "BatchTooLarge", "Request body is too large, the limit is 4 MB.")


def not_found(path: str) -> Answer:
    """Answer a path that the API does not have."""
    return envelope(404, "NotFound", f"No such endpoint: {path}")


def invalid_email(email: str) -> Answer:
    """Answer an address that Iterable does not accept."""
    return envelope(400, "InvalidEmailAddressError", f"Invalid email: {email}")


def unknown_email(email: str) -> Answer:
    """Answer an event for a user that does not exist."""
    return envelope(400, "UnknownEmailError", f"Email {email} not found")


def bad_json(path: str, params: dict[str, Any] | None = None) -> Answer:
    """Answer a body that is not JSON, or not of the documented shape."""
    return envelope(400, "BadJsonBody", f"[{path}] Invalid JSON body", params)


def bad_params(message: str) -> Answer:
    """Answer a well-formed body with a value that Iterable does not accept."""
    return envelope(400, "BadParams", message)


def bad_api_key(path: str) -> Answer:
    """Answer a missing or wrong key."""
    params = {"ip": "127.0.0.1", "endpoint": path}
    return envelope(401, "BadApiKey", "Invalid API key", params)


def forbidden(status: int, path: str) -> Answer:
    """Answer a call that this kind of key may not make."""
    code = "Unauthorized" if status == 401 else "Forbidden"
    return envelope(status, code, f"This API key may not call {path}")


def types_mismatched(errors: dict[str, dict[str, Any]]) -> Answer:
    """Answer fields whose values do not have the types that the project has stored."""
    names = ", ".join(errors)
    message = f"The request does not have the same data types as the project for: {names}"
    return envelope(400, "RequestFieldsTypesMismatched", message, {"validationErrors": errors})
