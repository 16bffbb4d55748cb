"""The output of a run, read from the journal: CSV, results file, summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from integration.core.csv_lines import csv_line, csv_text
from integration.core.exact_json import dumps_exactly
from integration.core.files import AtomicFile, atomic_write
from integration.core.models import PageView
from integration.delivery.new_users import email_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from integration.core.models import Counts, OutcomeGroup, Run

CSV_NAME = "query_results_{}.csv"
RESULTS_NAME = "integration_results_{}.json"
CSV_HEADER = PageView._fields
_AS_JSON = frozenset({dict, list, bool})


class CsvExport:
    """The CSV of a run while it is written: it gets its name when it is finished.

    Args:
        path: where it will be.
        columns: of the query, which are the header.

    Raises:
        FileError: by any method, the file cannot be written; none is left after `discard`.
    """

    def __init__(self, path: Path, columns: Sequence[str] = CSV_HEADER) -> None:
        self._file = AtomicFile(path)
        self._file.write(csv_line(columns))
        self._is_documented = tuple(columns) == CSV_HEADER
        self._count = 0

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        """Add rows with the values of the query's columns."""
        self._file.write(csv_text(rows if self._is_documented else _as_text(rows)))
        self._count += len(rows)

    def write_stored(self, rows: Sequence[Any]) -> None:
        """Add rows as the journal has them."""
        if not isinstance(rows[0], dict):
            self.write(rows)
            return
        # Stored by version 1.0, with the lines of the CSV.
        self._file.write("".join(row["csv_line"] for row in rows))
        self._count += len(rows)

    def finish(self) -> int:
        """Complete the file and return the number of its users."""
        self._file.finish()
        return self._count

    def discard(self) -> None:
        """Delete the unfinished file."""
        self._file.discard()


def _as_text(rows: Sequence[Sequence[object]]) -> list[tuple[object, ...]]:
    """The rows with objects, arrays and booleans as JSON."""
    columns = [
        [dumps_exactly(value).decode() if type(value) in _AS_JSON else value for value in values]
        if _AS_JSON.intersection(map(type, values))
        else values
        for values in zip(*rows, strict=True)
    ]
    return list(zip(*columns, strict=True))


def write_csv(
    path: Path, groups: Iterable[Sequence[Any]], columns: Sequence[str] = CSV_HEADER
) -> int:
    """Write the list of users (UTF-8) from the journal's rows and return their number.

    Raises:
        FileError: the file cannot be written; none is left.
    """
    export = CsvExport(path, columns)
    try:
        for rows in groups:
            export.write_stored(rows)
        return export.finish()
    except BaseException:
        export.discard()
        raise


def write_results(path: Path, run: Run, counts: Counts, groups: Iterable[OutcomeGroup]) -> None:
    """Write the results file as a stream: the run, then a line for each user.

    Raises:
        FileError: the file cannot be written; none is left.
    """
    place = run.columns.index("email")
    head = orjson.dumps(results_head(run, counts), option=orjson.OPT_INDENT_2).decode()
    with atomic_write(path) as file:
        file.write(f'{head[:-2]},\n  "records": [')
        separator = ""
        for group in groups:
            file.write(separator + ",".join(_record_lines(group, place)))
            separator = ","
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


def _record_lines(group: OutcomeGroup, place: int) -> list[str]:
    at = orjson.dumps(group.at).decode()
    success = "true" if group.success else "false"
    outcome = (
        f'"timestamp":{at},"users_update":{group.users_update},'
        f'"events_track":{group.events_track},"overall_success":{success}}}'
    )
    emails = [orjson.dumps(email_of(row, place)).decode() for row in group.rows]
    return [f'\n    {{"email":{email},{outcome}' for email in emails]
