"""The names of a run's CSV and results file, and the CSV while the users are loaded."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from integration.core.clock import local_now
from integration.core.files import display_path, is_there, reserve_timestamp
from integration.delivery.reports import CSV_NAME, RESULTS_NAME, CsvExport, write_csv
from integration.journal.queries import read_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.journal.store import Journal


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileNames:
    """The absolute paths of the files that a run writes."""

    csv_file: str
    results_file: str


class RunFiles:
    """Reserves the names of a new run's files; a context manager that releases them at its end.

    Enter it after the journal's lock, so that the names are released while the lock is held.

    Args:
        folder: where the files will be written.

    Attributes:
        csv: the CSV of the users that this run loads; None if it loads none.
    """

    def __init__(self, folder: Path) -> None:
        self.csv: CsvExport | None = None
        self._folder = folder
        self._reserved = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reserved.close()

    def reserve(self) -> FileNames:
        """Names with the current local time that no other run uses.

        Raises:
            FileError: no name can be reserved.
        """
        names = (CSV_NAME, RESULTS_NAME)
        # A symlink to the folder may change during the run.
        folder = self._folder.resolve()
        stamp = self._reserved.enter_context(
            reserve_timestamp(folder, names, local_now, time.sleep)
        )
        return FileNames(*(str(folder / name.format(stamp)) for name in names))

    def begin_csv(self, csv_file: str, columns: Sequence[str]) -> CsvExport:
        """Begin the CSV; it is deleted at the end unless it is finished.

        Raises:
            FileError: it cannot be written.
        """
        self.csv = CsvExport(Path(csv_file), columns)
        self._reserved.callback(self.csv.discard)
        return self.csv


def export_csv(journal: Journal, run: int, files: RunFiles) -> None:
    """Step 4.5: give the CSV its name; for users of an earlier run, write it from the journal."""
    path = Path(read_run(journal, run).csv_file)
    if files.csv is None and is_there(path):
        logger.info("The CSV already exists: %s", display_path(path))
        return
    if files.csv:
        count = files.csv.finish()
    else:
        count = write_csv(path, journal.rows(run), read_run(journal, run).columns)
    logger.info("Exported %d records to CSV: %s", count, display_path(path))
