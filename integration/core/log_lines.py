"""How a line of the log looks: text or JSON, without secrets and control characters."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from integration.core.json_log import JsonFormatter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.core.redaction import SecretMask

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

# A value from the database must not be able to forge a log line.
_CONTROL_CODES = [*range(32), *range(127, 160), 0x2028, 0x2029]
_CONTROL_CHARACTERS = {code: repr(chr(code))[1:-1] for code in _CONTROL_CODES}


class LogStyle(NamedTuple):
    """How the log looks.

    Attributes:
        format: text or json.
        only_stderr: whether stdout is kept for an answer, so that all lines go to stderr.
    """

    format: str = "text"
    only_stderr: bool = False

    @classmethod
    def of_environment(cls, environment: Mapping[str, str], *, only_stderr: bool) -> LogStyle:
        """The style until the settings are known."""
        found = environment.get("LOG_FORMAT", "").strip().lower()
        return cls("json" if found == "json" else "text", only_stderr)

    def formatter(self, mask: SecretMask) -> logging.Formatter:
        """Formats the records of consoles and file."""
        return JsonFormatter(mask) if self.format == "json" else LineFormatter(mask)


TEXT = LogStyle()


class LineFormatter(logging.Formatter):
    """One line per record: time, module, level and message; no secrets, no control characters."""

    def __init__(self, mask: SecretMask) -> None:
        super().__init__(datefmt=TIME_FORMAT)
        self._mask = mask
        self._last_time = (0, "")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """Use the module's name without its package, mask secrets, escape control characters."""
        module = record.name.rpartition(".")[2]
        message = self._mask(record.message)
        if not message.isprintable():
            message = message.translate(_CONTROL_CHARACTERS)
        return f"{self._time_of(record)} - {module} - {record.levelname} - {message}"

    def _time_of(self, record: logging.LogRecord) -> str:
        """The record's local time; formatted once a second."""
        second, text = self._last_time
        if second != int(record.created):
            second, text = int(record.created), self.formatTime(record, self.datefmt)
            self._last_time = (second, text)
        return text

    def formatException(self, ei: Any) -> str:  # noqa: N802, ANN401  logging's names
        """Mask a traceback; it keeps its line breaks."""
        return self._mask(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802  logging's name
        """Mask a stack; it keeps its line breaks."""
        return self._mask(super().formatStack(stack_info))
