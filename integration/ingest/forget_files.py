"""The log, CSV and results files that mention a person, and what replaces that in them.

A record of the person becomes an empty one of the same length. Elsewhere the addresses are masked,
and in lines of a log that mention the person, the names as well.
"""

from __future__ import annotations

import csv
import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import orjson

from integration.core.personal_data import mask_of
from integration.journal.schema import SQLITE_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from integration.core.overwriting import Replace
    from integration.core.personal_data import Person, PersonalData

# The names that runs of main.py give to their files; a time and perhaps more follows.
CSV_PREFIX = "query_results_"
RESULTS_PREFIX = "integration_results_"
# Compressed files that cannot be read here.
_OPAQUE = (".bz2", ".xz", ".zst", ".zip", ".7z", ".lz4")
# A quote that is never closed must not make one record of the rest of a file.
_MAX_RECORD_BYTES = 1_000_000
_SURROGATES = "surrogateescape"


class Files(NamedTuple):
    """The files to search.

    Attributes:
        logs: the log and its backups.
        lists: CSV files of runs.
        results: results files of runs.
        opaque: backups of these that cannot be read, and journals that were set aside as damaged.
    """

    logs: Sequence[Path]
    lists: Sequence[Path]
    results: Sequence[Path]
    opaque: Sequence[Path]

    def steps(self, person: Person, data: PersonalData) -> list[tuple[Path, Replace]]:
        """Each file with what has to be replaced in it."""
        by_kind: tuple[tuple[Sequence[Path], Replace], ...] = (
            (self.lists, partial(blank_csv_records, person, data)),
            (self.results, partial(blank_results, person, data)),
            (self.logs, partial(mask_lines, data)),
        )
        return [(path, replace) for paths, replace in by_kind for path in paths]


def find_files(log: Path, journal: Path, folders: Iterable[Path]) -> Files:
    """All files that there are.

    Args:
        log: the log file, whose backups have its name and a suffix.
        journal: the journal, for those that were set aside.
        folders: where runs wrote their files.
    """
    logs = _beginning_with(log.parent, rf"{re.escape(log.name)}([.-].*)?")
    unique = sorted({folder.resolve() for folder in folders})
    lists, results = (
        [path for folder in unique for path in _beginning_with(folder, f"{prefix}.*")]
        for prefix in (CSV_PREFIX, RESULTS_PREFIX)
    )
    damaged = _beginning_with(journal.parent, rf"{re.escape(journal.name)}\.damaged-\d+.*")
    found = [*logs, *lists, *results]
    opaque = {path for path in found if path.name.lower().endswith(_OPAQUE)}
    logs, lists, results = (
        [path for path in paths if path not in opaque] for paths in (logs, lists, results)
    )
    return Files(logs, lists, results, sorted({*opaque, *damaged}))


def _beginning_with(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder with such a name; databases are none of them."""
    if not folder.is_dir():
        return []
    paths = sorted(path for path in folder.iterdir() if re.fullmatch(pattern, path.name))
    return [path for path in paths if path.is_file() and not _is_database(path)]


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SQLITE_HEADER)) == SQLITE_HEADER and ".damaged-" not in path.name


def mask_lines(data: PersonalData, lines: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The lines of a log."""
    for line in lines:
        yield line, data.mask_bytes(line)


def blank_csv_records(
    person: Person, data: PersonalData, lines: Iterable[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """The records of a CSV file, of which one may have several lines."""
    is_of: Callable[[list[str]], bool] | None = None
    for number, record in enumerate(_csv_records(lines)):
        row = _cells(record)
        if number == 0:
            is_of = _finder(person, row)
        if is_of is not None and number and is_of(row):
            yield record, _blank_record(record, len(row))
        else:
            yield record, data.mask_bytes(record) if is_of is None else _masked(data, record)


def _csv_records(lines: Iterable[bytes]) -> Iterator[bytes]:
    record = b""
    for line in lines:
        record += line
        if record.count(b'"') % 2 == 0 or len(record) > _MAX_RECORD_BYTES:
            yield record
            record = b""
    if record:
        yield record


def _cells(record: bytes) -> list[str]:
    text = record.decode("utf-8-sig", _SURROGATES).removesuffix("\n").removesuffix("\r")
    try:
        return next(csv.reader([text]), [])
    except csv.Error:
        return []


def _finder(person: Person, header: list[str]) -> Callable[[list[str]], bool] | None:
    """Whether a row is the person's; None if the file has no header that says."""
    if not {"id", "email"} <= set(header):
        return None
    number, email = header.index("id"), header.index("email")

    def is_of(row: list[str]) -> bool:
        # A cell that a spreadsheet would evaluate has an apostrophe.
        return len(row) == len(header) and (
            person.has_email(row[email].removeprefix("'"))
            or person.has_id(row[number].removeprefix("'"))
        )

    return is_of


def _blank_record(record: bytes, cells: int) -> bytes:
    """Empty cells after a mask that has the length of the rest."""
    content = record.rstrip(b"\r\n")
    commas = "," * (cells - 1)
    return f"{mask_of(len(content) - len(commas))}{commas}".encode() + record[len(content) :]


def blank_results(
    person: Person, data: PersonalData, lines: Iterable[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """The lines of a results file, in which each record is a line."""
    for line in lines:
        yield line, _without_person(person, line) or _masked(data, line)


def _without_person(person: Person, line: bytes) -> bytes | None:
    """The line of one of the person's records without email and responses; None for others."""
    content = line.strip().removesuffix(b",")
    try:
        record = orjson.loads(content) if content.startswith(b'{"email"') else None
    except orjson.JSONDecodeError:
        return None
    if record is None or not person.has_email(record["email"]):
        return None
    for call in ("users_update", "events_track"):
        if isinstance(record.get(call), dict):
            record[call]["response"] = None
    blank = orjson.dumps({**record, "email": None})
    if len(blank) > len(content):
        return None
    return line.replace(content, blank + b" " * (len(content) - len(blank)), 1)


def _masked(data: PersonalData, line: bytes) -> bytes:
    return data.mask_emails(line.decode(errors=_SURROGATES)).encode(errors=_SURROGATES)
