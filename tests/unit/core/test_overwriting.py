"""Overwriting parts of a file in place."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from integration.core.files import FileError
from integration.core.overwriting import (
    UnreadableError,
    count_replaced,
    delete_overwritten,
    overwrite,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

TEXT = b"one\nsecret\nthree\nsecret"


def hide(lines: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Replace a word."""
    for line in lines:
        yield line, line.replace(b"secret", b"******")


def test_only_what_differs_is_written_and_the_file_stays_the_same_one(tmp_path: Path) -> None:
    """A program that has it open goes on appending to it."""
    path = tmp_path / "log"
    path.write_bytes(TEXT)
    before = path.stat()
    with path.open("ab") as writer:
        assert count_replaced(path, hide) == 2
        assert path.read_bytes() == TEXT
        assert overwrite(path, hide) == 2
        writer.write(b"\nmore")

    assert path.read_bytes() == b"one\n******\nthree\n******\nmore"
    assert path.stat().st_ino == before.st_ino
    assert overwrite(path, hide) == 0


def test_a_compressed_file_is_rewritten_with_its_rights(tmp_path: Path) -> None:
    """Nothing else is left in the folder."""
    path = tmp_path / "log.1.gz"
    path.write_bytes(gzip.compress(TEXT))
    path.chmod(0o640)

    assert overwrite(path, hide) == 2

    assert gzip.decompress(path.read_bytes()) == b"one\n******\nthree\n******"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_searched_is_an_error(tmp_path: Path) -> None:
    """Not "nothing found"."""
    damaged = tmp_path / "log.gz"
    damaged.write_bytes(gzip.compress(TEXT)[:-12])
    with pytest.raises(UnreadableError, match=r"Cannot read .*log\.gz"):
        count_replaced(damaged, hide)
    with pytest.raises(FileError):
        overwrite(tmp_path / "log" / "x" if (tmp_path / "log").write_bytes(b"") else damaged, hide)


def test_a_pipe_and_a_file_that_is_gone_have_nothing(tmp_path: Path) -> None:
    """Reading a pipe would wait for a writer."""
    os.mkfifo(tmp_path / "pipe")
    assert count_replaced(tmp_path / "pipe", hide) == 0
    assert overwrite(tmp_path / "gone", hide) == 0


def test_a_file_is_deleted_after_it_was_overwritten(tmp_path: Path) -> None:
    """What another link shows of it is zeros."""
    path, link = tmp_path / "one", tmp_path / "two"
    path.write_bytes(TEXT)
    link.hardlink_to(path)

    delete_overwritten(path)

    assert not path.exists()
    assert link.read_bytes() == bytes(len(TEXT))
