"""Telling of the passes of `cli.py run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.config.loading import with_secrets
from integration.config.notify_settings import NOTIFY_SECRET_VARIABLES, load_notify_settings
from integration.config.settings import DEFAULT_JOURNAL_FILE
from integration.core.redaction import SecretMask
from integration.notify.conditions import ingest_conditions
from integration.notify.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from integration.core.run_ends import SourceEnd
    from integration.core.shutdown import Stop


class IngestTelling:
    """Tells of each pass.

    Args:
        variables: all that are set; settings of the ingest may be wrong.
        working_dir: what relative paths are relative to.
        stop: the program's.

    Raises:
        ConfigurationError: a setting of the notifications cannot be used.
    """

    def __init__(self, variables: Mapping[str, str], working_dir: Path, stop: Stop) -> None:
        self._settings = load_notify_settings(with_secrets(variables, NOTIFY_SECRET_VARIABLES))
        self.secrets = self._settings.secrets()
        journal = working_dir / variables.get("JOURNAL_FILE", str(DEFAULT_JOURNAL_FILE))
        names = ("DB_PASSWORD", "INGEST_DB_PASSWORD", "API_KEY")
        mask = SecretMask({*self.secrets, *(variables.get(name, "") for name in names)})
        self._reporter = Reporter(self._settings, journal, mask, stop)

    def started(self) -> None:
        """Ping the start of a pass."""
        self._reporter.started()

    def ended(self, exit_code: int, error: str | None, sources: Sequence[SourceEnd]) -> None:
        """Ping the end of a pass, and notify of what has changed."""
        conditions = ingest_conditions(exit_code, error, sources, self._settings.notify_when)
        self._reporter.ended(exit_code, conditions, error or _summary(sources))


def _summary(sources: Sequence[SourceEnd]) -> str:
    texts = [
        f"{one.name}: exit code {one.exit_code:d}, {one.records:,} records,"
        f" {one.rejected:,} rejected"
        for one in sources
    ]
    return "; ".join(texts)
