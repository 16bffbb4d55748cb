"""One pass of `run` over its sources: what `--json` prints, and what is told of it."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from integration.core.run_ends import Extent, SourceEnd
from integration.database.errors import DatabaseError
from integration.ingest.alarms import COMPARED_RUNS
from integration.ingest.runs import comparable_runs, last_runs
from integration.ingest.statistics import run_statistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.core.exit_codes import ExitCode
    from integration.database.writing import WriteSession
    from integration.ingest.rejections import RejectedRecord
    from integration.ingest.run_all import Ingest
    from integration.ingest.run_rules import RunRequest
    from integration.ingest.statistics import RunStatistics

UNEXPECTED = "Unexpected error: see the log"


class SourcePass(NamedTuple):
    """The run of a source.

    Attributes:
        run: None if none was stored: a dry run, or the source could not be locked.
        earlier_seconds: how long the last complete runs before it took.
    """

    source: str
    exit_code: int
    run: RunStatistics | None = None
    earlier_seconds: Sequence[float] = ()

    @property
    def end(self) -> SourceEnd:
        """What is told of it."""
        run = self.run
        if run is None:
            return SourceEnd(self.source, self.exit_code)
        is_complete = run.status == "completed"
        extent = Extent(run.seconds, self.earlier_seconds) if is_complete else None
        return SourceEnd(self.source, self.exit_code, run.error, run.records, run.rejected, extent)


@dataclass(slots=True)
class PassResult:
    """How a pass ended; filled in while it runs.

    Attributes:
        exit_code: until it is known, the one that Python ends with after an unexpected error.
        error: why the pass ended early, or None.
    """

    exit_code: int = 1
    error: str | None = UNEXPECTED
    sources: Sequence[SourcePass] = field(default_factory=tuple)

    def end(self, exit_code: int, error: str | None) -> None:
        """Record how the pass ended."""
        self.exit_code, self.error = exit_code, error

    def as_json(self) -> str:
        """The object, in one line."""
        sources = [
            {"source": one.source, "exit_code": one.exit_code, "run": one.run}
            for one in self.sources
        ]
        head = {"command": "run", "exit_code": self.exit_code, "error": self.error}
        return json.dumps({**head, "sources": sources}, default=_plain)


@contextmanager
def recorded_pass(ingest: Ingest, request: RunRequest, result: PassResult) -> Iterator[None]:
    """Add the runs of the block to the result; none if the database was gone at its end."""
    session = ingest.workplace.session
    before = _newest_run(session)
    yield
    with suppress(DatabaseError):
        result.sources = [
            _pass(session, name, code, before, request) for name, code in ingest.outcomes.items()
        ]


def _newest_run(session: WriteSession) -> int:
    """The number of the newest run of any source; 0 before the first."""
    rows = session.query("SELECT MAX(run_id) FROM etl_runs")
    return int(rows[0][0] or 0)


def _pass(
    session: WriteSession, name: str, code: ExitCode, newest_before: int, request: RunRequest
) -> SourcePass:
    run = next(iter(last_runs(session, name, 1)), None)
    if request.dry_run or run is None or run.run_id <= newest_before:
        return SourcePass(name, code)
    # Others do not read as much as those before them.
    if not request.is_regular:
        return SourcePass(name, code, run_statistics(run))
    begins = run.cursor_from is None
    earlier = comparable_runs(session, name, run.run_id, COMPARED_RUNS, from_beginning=begins)
    return SourcePass(name, code, run_statistics(run), [one.seconds for one in earlier])


def rejected_json(records: Sequence[RejectedRecord]) -> str:
    """The records that are still rejected, in one line."""
    listed = [one._asdict() for one in records]
    return json.dumps({"command": "rejected", "records": listed}, default=_plain)


def _plain(value: Any) -> object:  # noqa: ANN401  what JSON has no form for
    return value.isoformat() if isinstance(value, datetime) else asdict(value)
