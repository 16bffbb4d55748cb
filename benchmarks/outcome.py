"""Whether a measured run did its work: all users delivered and in every file. Streams the files."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def problems_at_iterable(stats: Mapping[str, Any], users: int) -> Iterator[str]:
    """What the sandbox is missing: a profile and an event for each user."""
    for kind in ("users", "events"):
        if stats[kind] != users:
            yield f"{stats[kind]} {kind} in the sandbox"


def problems_of_run(folder: Path, users: int, outcome: str) -> Iterator[str]:
    """Problems with the files that a run, whose users all had this outcome, left in `folder`."""
    (results,) = folder.glob("integration_results_*.json")
    (rows,) = folder.glob("query_results_*.csv")
    try:
        head, records, delivered = read_results(results)
    except ValueError as error:
        yield f"the results file is not valid: {error}"
        return
    if not head["total_users"] == head[outcome] == records == delivered == users:
        yield f"results file: {records} records, {delivered} of them successful"
    if (count := count_csv(rows)) != users:
        yield f"{count} rows in the CSV"
    if (count := count_delivered(folder / "iterable_journal.db")) != users:
        yield f"{count} users delivered in the journal"


def read_results(path: Path) -> tuple[dict[str, Any], int, int]:
    """Parse a results file of any length: its head, how many records, how many successful.

    A record is a line, so that each is parsed alone; what is around them must be an object.

    Raises:
        ValueError: it is not valid JSON.
    """
    with path.open("rb") as file:
        head = _lines_until(file, b'  "records": [')
        records = delivered = 0
        comma = True
        for line in file:
            if line == b"  ]\n":
                break
            if not comma:
                raise ValueError(f"no comma before record {records + 1}")
            text = line.rstrip(b"\n")
            comma = text.endswith(b",")
            delivered += orjson.loads(text.removesuffix(b","))["overall_success"] is True
            records += 1
        if comma and records:
            raise ValueError("a comma after the last record")
        return orjson.loads(head + b"]" + file.read()), records, delivered


def _lines_until(lines: Iterator[bytes], start: bytes) -> bytes:
    """All lines up to the first that begins so, which is included."""
    head = b""
    for line in lines:
        head += line
        if line.startswith(start):
            return head
    raise ValueError("no records")


def count_csv(path: Path) -> int:
    """The rows of a CSV without its header."""
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def count_delivered(path: Path) -> int:
    """The users of a journal's newest run whose calls both succeeded, in this run or before."""
    with closing(sqlite3.connect(path)) as database:
        row = database.execute(
            "SELECT COALESCE(SUM(last - first + 1), 0) FROM outcomes"
            " WHERE users_update_status IN (1, 2) AND events_track_status IN (1, 2)"
            " AND run = (SELECT MAX(run) FROM runs)"
        ).fetchone()
    return int(row[0])
