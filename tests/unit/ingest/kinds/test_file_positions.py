"""What is read of a file that was read before, and files that change or end too early."""

from __future__ import annotations

import gzip
import json
import os
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.ingest.errors import OptionRefused, SourceError, SourceUnavailable
from integration.ingest.kinds.file_positions import FilePosition, position_at, start_offset
from integration.ingest.kinds.files import LocalFile
from integration.ingest.kinds.jsonl_file import JsonlFormat
from tests.support.readers import file_reader, good, read, records, window

if TYPE_CHECKING:
    from pathlib import Path

    from integration.ingest.models import RawPage

LINES = 40_000


def lines(first: int, last: int, text: str = "x") -> bytes:
    """A part of a CSV file with a column `n`."""
    return b"".join(f"{number},{text}\n".encode() for number in range(first, last))


def numbers(pages: list[RawPage]) -> list[int]:
    """The values of that column."""
    return [int(str(record["n"])) for record in good(pages)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is larger than what its fingerprint covers."""
    path = tmp_path / "views.csv"
    path.write_bytes(b"n,t\n" + lines(0, LINES))
    return path


def run(path: Path, position: dict[str, object] | None = None, **options: object) -> list[RawPage]:
    """A run with usual pages; positions pass through JSON, as in the database."""
    if position is not None:
        position = json.loads(json.dumps(position))
    return read(file_reader(path, page_records=5000), position, **options)


def test_an_unchanged_file_is_not_read(path: Path) -> None:
    """Nor is one that was only touched."""
    position = run(path)[-1].position
    assert run(path, position) == []
    os.utime(path, (1, 1))
    assert run(path, position) == []


def test_a_grown_file_is_read_from_where_it_ended(path: Path) -> None:
    """Only the new lines."""
    position = run(path)[-1].position
    with path.open("ab") as file:
        file.write(lines(LINES, LINES + 10))
    assert numbers(run(path, position)) == list(range(LINES, LINES + 10))


@pytest.mark.parametrize(
    "content",
    [
        b"n,t\n" + lines(0, LINES, "y"),
        b"n,t\n" + lines(0, 5) + lines(5, LINES + 100, "z"),
        b"n,t\n" + lines(0, 10),
        b"n,t\n" + lines(0, LINES - 10) + lines(0, 20),
        b"t,n\n" + b"x,1\n" * LINES,
    ],
    ids=["another beginning", "the same beginning", "shorter", "another end", "another header"],
)
def test_a_file_that_was_written_again_is_read_as_a_whole(path: Path, content: bytes) -> None:
    """Whatever its length."""
    position = run(path)[-1].position
    path.write_bytes(content)
    assert len(records(run(path, position))) == content.count(b"\n") - 1


@pytest.mark.parametrize("more", ["", "20000,right\n"])
def test_a_change_in_the_middle_is_noticed_when_beginning_and_end_are_the_same(
    path: Path, more: str
) -> None:
    """A corrected value may be as long as the wrong one."""
    rows = "".join(f"{number:05},right\n" for number in range(20_000))
    path.write_text(f"a,b\n{rows.replace('10000,right', '10000,wrong')}")
    reader = file_reader(path, page_records=9_000)
    position = read(reader)[-1].position
    path.write_text(f"a,b\n{rows}{more}")
    assert len(records(read(reader, position))) == 20_000 + len(more.split())


def test_a_file_with_another_beginning_and_the_same_end_is_read_as_a_whole(path: Path) -> None:
    """Both ends of what was read count."""
    position = run(path)[-1].position
    with path.open("r+b") as file:
        file.write(b"n,t\n9")
    assert len(records(run(path, position))) == LINES


def test_a_compressed_file_that_has_become_shorter_is_read_as_a_whole(tmp_path: Path) -> None:
    """It is not known which of its bytes precede the offset."""
    path = tmp_path / "views.csv.gz"
    path.write_bytes(b"x" * 100_000)
    with closing(LocalFile(str(path))) as file:
        known = position_at(file, 5, done=False)
    path.write_bytes(b"x" * 100_001)
    with closing(LocalFile(str(path))) as file:
        assert start_offset(known, file) == 5
    path.write_bytes(b"x" * 99_999)
    with closing(LocalFile(str(path))) as file:
        assert start_offset(known, file) == 0


def test_a_killed_run_continues_at_the_next_record(path: Path) -> None:
    """After each of its pages."""
    for page, after in pairwise(run(path)):
        rest = run(path, page.position)
        assert numbers(rest)[0] == numbers([after])[0]
        assert numbers(rest)[-1] == LINES - 1


def test_a_full_refresh_reads_everything(path: Path) -> None:
    """Whatever the checkpoint says."""
    position = run(path)[-1].position
    assert len(records(run(path, position, full_refresh=True))) == LINES


def test_a_position_of_another_kind_or_version_is_no_position(path: Path) -> None:
    """Then everything is read."""
    positions: list[dict[str, object]] = [{}, {"files": 1}, {"files": {str(path): {}}}]
    for position in positions:
        assert len(records(run(path, position))) == LINES
    known = run(path)[-1].position
    files = known["files"]
    assert isinstance(files, dict)
    assert FilePosition.from_json({**files[str(path)], "head": 1}) is None


def test_several_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    """In the order of their names; only what is new, and vanished ones are forgotten."""
    for name in ("b", "a"):
        (tmp_path / f"{name}.csv").write_text(f"n\n{name}1\n{name}2\n")
    reader = file_reader(tmp_path / "*.csv")
    pages = read(reader)
    assert [record["n"] for record in good(pages)] == ["a1", "a2", "b1", "b2"]
    assert [page.is_last for page in pages] == [False, True]
    (tmp_path / "c.csv").write_text("n\nc1\n")
    (tmp_path / "a.csv").unlink()

    (page,) = read(reader, pages[-1].position)

    assert good([page]) == [{"n": "c1"}]
    files = page.position["files"]
    assert isinstance(files, dict)
    assert sorted(files) == [str(tmp_path / "b.csv"), str(tmp_path / "c.csv")]


def test_a_limit_holds_for_all_files_together(tmp_path: Path) -> None:
    """The next run continues with the rest."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"n\n{name}1\n{name}2\n")
    reader = file_reader(tmp_path / "*.csv")
    pages = read(reader, limit=3)
    assert [record["n"] for record in good(pages)] == ["a1", "a2", "b1"]
    assert pages[-1].is_last
    assert good(read(reader, pages[-1].position)) == [{"n": "b2"}]


@pytest.mark.parametrize("pattern", ["missing.csv", "none_*.csv"])
def test_no_file_is_an_error(tmp_path: Path, pattern: str) -> None:
    """The message names the path."""
    with pytest.raises(SourceUnavailable, match=r"No file matches .*: check the source's path"):
        read(file_reader(tmp_path / pattern))


def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    """With the system's reason."""
    path = tmp_path / "loop.csv"
    path.write_text("a\n")
    reader = file_reader(path)
    pages = reader.pages(None, window())
    next(pages)
    path.unlink()
    with pytest.raises(SourceError, match="No file matches"):
        read(reader)


def test_a_broken_file_does_not_keep_the_others_unread(tmp_path: Path) -> None:
    """Its error ends the run; each file has its own position."""
    (tmp_path / "a.csv").write_text("n\na1\n")
    (tmp_path / "b.csv").write_text('n\nb1\n"b2\n')
    (tmp_path / "c.csv").write_text("n\nc1\n")
    reader = file_reader(tmp_path / "*.csv")

    pages = read(reader)

    assert [record["n"] for record in good(pages)] == ["a1", "b1", "c1"]
    assert [page.error is None for page in pages] == [True, True, False]
    assert "b.csv is cut off at byte 5" in str(pages[-1].error)
    with (tmp_path / "b.csv").open("a") as file:
        file.write('"\n')
    assert good(read(reader, pages[-1].position)) == [{"n": "b2\n"}]


def test_several_broken_files_are_one_error(tmp_path: Path) -> None:
    """The first three are named; a path that no file matches is one of them."""
    for number in range(4):
        (tmp_path / f"{number}.csv").write_text('n\n"')
    (tmp_path / "good.csv").write_text("n\n1\n")
    pages = read(file_reader(tmp_path / "none*", tmp_path / "*.csv"))
    assert good(pages) == [{"n": "1"}]
    text = str(pages[-1].error)
    assert text.startswith(f"5 files cannot be read to their end: No file matches {tmp_path}/none*")
    assert "1.csv is cut off" in text
    assert text.endswith("; and 2 more")


def change_size(path: Path) -> None:
    """Append to a file."""
    with path.open("ab") as file:
        file.write(lines(0, 1))


def change_content(path: Path) -> None:
    """Overwrite without another length."""
    with path.open("r+b") as file:
        file.write(b"n,t\n9")


def replace_file(path: Path) -> None:
    """Put another file in its place."""
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("change", [change_size, change_content, replace_file, os.unlink])
def test_a_file_that_changes_while_it_is_read_is_an_error(path: Path, change: object) -> None:
    """What was read before counts."""
    assert callable(change)
    pages = file_reader(path, page_records=5000).pages(None, window())
    found = [next(pages)]
    change(path)

    found += list(pages)

    assert found[-1].is_last
    assert f"{path} c" in str(found[-1].error)
    assert numbers(found) == list(range(len(numbers(found))))
    assert len(numbers(found)) < LINES


def test_a_compressed_file_is_read_like_any_other(tmp_path: Path) -> None:
    """With several members, and padding between them; offsets are those of the content."""
    path = tmp_path / "views.csv.gz"
    content = b"n,t\n" + lines(0, LINES)
    path.write_bytes(
        gzip.compress(content[:99_999]) + b"\0" * 100 + gzip.compress(content[99_999:])
    )
    pages = run(path)
    assert numbers(pages) == list(range(LINES))
    assert pages[0].origin.startswith(f"{path}:4-")
    assert numbers(run(path, pages[2].position)) == numbers(pages[3:])
    assert run(path, pages[-1].position) == []
    with path.open("ab") as file:
        file.write(gzip.compress(lines(LINES, LINES + 5)))
    assert numbers(run(path, pages[-1].position)) == list(range(LINES, LINES + 5))


def test_a_cut_off_compressed_file_is_an_error_that_keeps_the_rest(tmp_path: Path) -> None:
    """The whole lines before the cut."""
    path = tmp_path / "views.csv.gz"
    path.write_bytes(gzip.compress(b"n,t\n" + lines(0, LINES))[:-1000])

    pages = run(path)

    assert str(pages[-1].error) == (f"{path} is cut off: the gzip file has no end. Write it again")
    assert numbers(pages) == list(range(len(numbers(pages))))
    assert LINES / 2 < len(numbers(pages)) < LINES
    files = pages[-1].position["files"]
    assert isinstance(files, dict)
    assert files[str(path)]["done"] is False


def test_a_compressed_file_cut_off_between_records_is_an_error_as_well(tmp_path: Path) -> None:
    """All its records count, and the run does not end as if the file were complete."""
    path = tmp_path / "views.csv.gz"
    path.write_bytes(gzip.compress(b"n,t\n" + lines(0, 10))[:-5])

    pages = run(path)

    assert numbers(pages) == list(range(10))
    assert str(pages[-1].error).startswith(f"{path} is cut off")


def test_a_file_that_fails_between_records_is_an_error(tmp_path: Path) -> None:
    """A part that cannot be read is not the end of the file."""
    path = tmp_path / "views.csv.gz"
    path.write_bytes(gzip.compress(b"n,t\n" + lines(0, 10)) + b"no gzip member")

    pages = run(path)

    assert numbers(pages) == list(range(10))
    assert "is not a gzip file, or damaged" in str(pages[-1].error)


@pytest.mark.parametrize("content", [b"n,t\n1,x\n", None], ids=["not compressed", "checksum"])
def test_a_damaged_compressed_file_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    """It is not known which of its bytes are right."""
    path = tmp_path / "views.csv.gz"
    compressed = gzip.compress(lines(0, 10))
    path.write_bytes(content or compressed[:-8] + b"\0\0\0\0" + compressed[-4:])
    with pytest.raises(SourceError, match="is not a gzip file, or damaged"):
        run(path)


def test_since_and_until_are_refused(path: Path) -> None:
    """Rather than ignored."""
    with pytest.raises(OptionRefused, match="--since and --until cannot be used with a file") as it:
        run(path, since=window().started_at)
    assert it.value.exit_code == ExitCode.CONFIGURATION


def test_a_compressed_file_of_json_lines(tmp_path: Path) -> None:
    """The kinds have this in common."""
    path = tmp_path / "views.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n'))
    assert records(read(file_reader(path, format_=JsonlFormat()))) == [{"a": 1}]
