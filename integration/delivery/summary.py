"""What `--json` prints: one object for a command, in one line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from integration.delivery.reports import results_head
from integration.journal.queries import count_outcomes, read_run, recent_runs

if TYPE_CHECKING:
    from integration.core.facts import DeliveryFacts
    from integration.core.verdict import Verdict
    from integration.journal.reading import JournalReader

RUNS_SHOWN = 10
UNEXPECTED = "Unexpected error: see the log"


@dataclass(slots=True)
class CommandResult:
    """How a command ended; filled in while it runs.

    Attributes:
        command: run or status.
        exit_code: until it is known, the one that Python ends with after an unexpected error.
        error: the line that the command ended with, or None.
        parts: what the command has to show.
    """

    command: str
    exit_code: int = 1
    error: str | None = UNEXPECTED
    parts: dict[str, object] = field(default_factory=dict)

    def end(self, exit_code: int, error: str | None) -> None:
        """Record how the command ended."""
        self.exit_code, self.error = exit_code, error

    def as_json(self) -> str:
        """The object, in one line."""
        head = {"command": self.command, "exit_code": self.exit_code, "error": self.error}
        return json.dumps({**head, **self.parts}, default=_plain)


def _plain(value: Any) -> object:  # noqa: ANN401  what JSON has no form for
    return value.isoformat() if isinstance(value, datetime) else asdict(value)


def run_part(file: JournalReader, number: int) -> dict[str, object]:
    """A run: all of its results file but the users, and the file's path."""
    run = read_run(file, number)
    return {**results_head(run, count_outcomes(file, number)), "results_file": run.results_file}


def status_parts(
    verdict: Verdict, facts: DeliveryFacts, file: JournalReader | None
) -> dict[str, object]:
    """The verdict, pending users, and the newest runs."""
    runs = recent_runs(file, RUNS_SHOWN) if file else []
    return {
        "verdict": verdict,
        "is_running": facts.is_running,
        "unfinished": facts.unfinished,
        "undelivered": facts.undelivered,
        "elsewhere": facts.elsewhere,
        "unsendable_users": facts.unsendable,
        "runs": [run_part(file, run.number) for run in runs] if file else [],
    }
