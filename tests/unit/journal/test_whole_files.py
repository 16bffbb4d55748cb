"""A journal that lacks rows, or may not be changed now, is one line and stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.config.values import number_above, whole_number
from integration.journal.file import JournalError
from integration.journal.schema import advice
from integration.journal.store import Journal
from tests.support.journals import HEADER
from tests.support.users import new_user, page_view


@pytest.mark.parametrize("missing", ["first = 1", "first = 1001", "first = 2001"])
def test_missing_rows_are_one_line(tmp_path: Path, missing: str) -> None:
    """At the start, in the middle or at the end: no user is skipped without a word."""
    with Journal(tmp_path / "journal.db") as journal:
        run = journal.begin(HEADER, map(new_user, map(page_view, range(1, 2502))))
        assert len(list(journal.pending(run))) == 2501
        journal.execute(f"DELETE FROM packed_rows WHERE {missing}")

        with pytest.raises(JournalError, match=r"is damaged .*rows are missing"):
            list(journal.pending(run))


def test_a_full_disk_before_there_is_a_run_does_not_ask_to_resume_one() -> None:
    """`--resume` would find nothing, and end with 0."""
    full = OSError(28, "No space left on device")
    assert advice(Path("j.db"), full).endswith("then run with --resume")
    assert advice(Path("j.db"), full, "run it again").endswith("Free some space, then run it again")


@pytest.mark.parametrize("digits", ["٣٣٠٦", "３３０６"])
def test_numbers_are_written_with_ascii_digits(digits: str) -> None:
    """Python also takes the digits of other scripts."""
    for convert in (whole_number(1, 65535), number_above(0)):
        assert convert("3306") == 3306
        with pytest.raises(ValueError, match=r"."):
            convert(digits)
