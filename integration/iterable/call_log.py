"""The log lines of calls."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from integration.core.redaction import FILE_ONLY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.core.models import Call, CallResult, PendingUser
    from integration.iterable.request import Request
    from integration.iterable.retry import RetryState


class CallLog:
    """Logs what happens to calls, under the client's name.

    Args:
        logger: where the lines go.
        max_attempts: the limit that the lines of attempts and retries show.

    Attributes:
        names_users: whether these lines name their user.
    """

    def __init__(self, logger: logging.Logger, max_attempts: int) -> None:
        self._logger = logger
        self._max_attempts = max_attempts
        # Held while a failure and its response are logged, so that the lines stay together.
        self._lock = threading.Lock()
        self.names_users = False

    def start(self, request: Request) -> None:
        """A call starts."""
        if not self._logger.isEnabledFor(logging.DEBUG):
            return
        endpoint, body, email = request.endpoint, request.body, request.email
        if body is None:
            self._logger.debug("Reading %s for email: %s", endpoint, email)
        elif email is None:
            self._logger.debug("Calling %s with %d bytes", endpoint, len(body))
        else:
            line = "Calling %s for email: %s. Payload: %s"
            self._logger.debug(line, endpoint, email, body.decode(), extra=FILE_ONLY)

    def attempt(self, request: Request, state: RetryState) -> None:
        """A request is about to be sent."""
        self._logger.debug(
            "Attempt %d/%d for %s%s",
            state.counted_attempts + 1,
            self._max_attempts,
            request.endpoint,
            self._user_suffix(request),
        )

    def retry(self, request: Request, label: str, wait: float, state: RetryState) -> None:
        """A failed request is to be retried after a wait of `wait` seconds."""
        self._logger.warning(
            "Retryable error %s from %s. Retrying in %.2fs (attempt %d/%d)%s",
            label,
            request.endpoint,
            wait,
            max(state.counted_attempts, 1),
            self._max_attempts,
            self._user_suffix(request),
        )

    def failure(self, endpoint: str, subject: str, result: CallResult) -> None:
        """A call for `subject` is over; nothing is logged unless it failed."""
        if result.success or result.error == "not_attempted":
            return
        with self._lock:
            problem = _problem(endpoint, result)
            self._logger.error("%s after %d attempt(s) for %s", problem, result.attempts, subject)
            if result.status_code is not None:
                self._logger.error("Response: %s", result.response)

    def bulk_failure(
        self, endpoint: str, call: Call, users: Sequence[PendingUser], result: CallResult
    ) -> None:
        """A bulk call has this result for these users; nothing is logged unless it failed.

        Payloads are logged per user. A single call logs its payload when it starts.
        """
        if result.success or result.error == "not_attempted":
            return
        subject = users[0].email if len(users) == 1 else f"{len(users)} users"
        self.failure(endpoint, subject, result)
        for user in users:
            line = "Failed %s call for email: %s. Payload: %s"
            payload = user.body(call).decode()
            self._logger.debug(line, endpoint, user.email, payload, extra=FILE_ONLY)

    def dropped_fields(self, endpoint: str, fields: Sequence[str]) -> None:
        """Iterable dropped fields that it has not dropped before."""
        self._logger.warning(
            "Iterable drops fields that the project does not know (%s): %s."
            " Add them in the project's settings, or let the project accept new fields",
            endpoint,
            ", ".join(fields),
        )

    def _user_suffix(self, request: Request) -> str:
        return f" for {request.email}" if self.names_users and request.email else ""


def _problem(endpoint: str, result: CallResult) -> str:
    status = result.status_code
    if status is None:
        return f"{result.error} from {endpoint}: {result.response}"
    if status < 400:
        return f"{result.error} from {endpoint}: Status {status}"
    family = "4xx Client Error" if status < 500 else "5xx Server Error"
    return f"{family} from {endpoint}: Status {status}"
