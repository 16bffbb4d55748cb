"""The output of a run, read from the journal: CSV, results file, summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from integration.core.csv_lines import csv_line
from integration.core.files import atomic_write
from integration.core.models import PageView

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from integration.core.models import Counts, Run, UserOutcome

CSV_NAME = "query_results_{}.csv"
RESULTS_NAME = "integration_results_{}.json"
CSV_HEADER = PageView._fields


def write_csv(path: Path, lines: Iterable[str]) -> int:
    """Write the list of users (UTF-8) and return their number.

    Raises:
        FileError: the file cannot be written; none is left.
    """
    count = 0
    with atomic_write(path) as file:
        file.write(csv_line(CSV_HEADER))
        for line in lines:
            file.write(line)
            count += 1
    return count


def write_results(path: Path, run: Run, counts: Counts, outcomes: Iterable[UserOutcome]) -> None:
    """Write the results file as a stream: the run, then a line for each user.

    Raises:
        FileError: the file cannot be written; none is left.
    """
    head = orjson.dumps(results_head(run, counts), option=orjson.OPT_INDENT_2).decode()
    with atomic_write(path) as file:
        file.write(f'{head[:-2]},\n  "records": [')
        separator = "\n    "
        for outcome in outcomes:
            file.write(f"{separator}{_record_json(outcome)}")
            separator = ",\n    "
        file.write("\n  ]\n}\n")


def results_head(run: Run, counts: Counts) -> dict[str, object]:
    """All of the results file but its records."""
    return {
        "run_id": run.run_id,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "status": run.status,
        "stop_reason": run.stop_reason,
        "mode": run.mode,
        "authentication": run.authentication,
        "csv_file": run.csv_file,
        "dry_run": run.dry_run,
        "total_users": counts.total_users,
        "successful": counts.successful,
        "partial_failures": counts.partial_failures,
        "total_failures": counts.total_failures,
        "not_attempted": counts.not_attempted,
        "unchanged": counts.unchanged,
        "retries": {
            "total": run.retries.total,
            "by_status": dict(run.retries.by_status),
            "seconds_waited": round(run.retries.seconds_waited, 3),
        },
    }


def summary_lines(run: Run, counts: Counts) -> list[str]:
    """The summary that ends the log of a run."""
    rule = "=" * 70
    lines = [
        rule,
        "INTEGRATION SUMMARY",
        rule,
        f"Total users processed: {counts.total_users}",
        f"✓ Successful (both API calls): {counts.successful}",
        f"⚠ Partial failures (one call failed): {counts.partial_failures}",
        f"✗ Total failures (both calls failed): {counts.total_failures}",
        *_line_if_any("Not attempted", counts.not_attempted),
        *_line_if_any("Unchanged", counts.unchanged),
        f"✓ CSV Export: {run.csv_file}",
        f"✓ Authentication: {run.authentication}",
        f"Retries: {run.retries.total}",
    ]
    if run.stop_reason:
        lines.append(f"Stopped early: {run.stop_reason}")
    return [*lines, rule]


def _line_if_any(label: str, count: int) -> list[str]:
    return [f"{label}: {count}"] if count else []


def _record_json(outcome: UserOutcome) -> str:
    email, at = orjson.dumps(outcome.email).decode(), orjson.dumps(outcome.at).decode()
    success = "true" if outcome.success else "false"
    return (
        f'{{"email":{email},"timestamp":{at},"users_update":{outcome.users_update},'
        f'"events_track":{outcome.events_track},"overall_success":{success}}}'
    )
