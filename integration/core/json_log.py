"""Log records as JSON: one object a line, for programs that collect logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from integration.core.clock import to_iso
from integration.core.log_context import current_run

if TYPE_CHECKING:
    from integration.core.redaction import SecretMask


class JsonFormatter(logging.Formatter):
    """One JSON object per record; secrets are masked in each text, so that it stays JSON."""

    def __init__(self, mask: SecretMask) -> None:
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """ASCII without line breaks: what a text contains cannot forge a line."""
        line = {
            "time": to_iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "logger": record.name,
            "message": self._mask(record.getMessage()),
        }
        if run_id := current_run():
            line["run_id"] = run_id
        if record.exc_info:
            line["exception"] = self._mask(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = self._mask(self.formatStack(record.stack_info))
        return json.dumps(line)
