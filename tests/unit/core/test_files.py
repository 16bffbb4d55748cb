"""Files that are complete or absent, and private."""

from __future__ import annotations

import errno
import os
import resource
import stat
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.core.files import (
    FileError,
    atomic_write,
    display_path,
    ensure_writable_folder,
    is_there,
    raise_open_file_limit,
    reserve_timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.core.files import AtomicFile


@contextmanager
def file_size_limit(largest_bytes: int) -> Iterator[None]:
    """Simulate a full disk: no file of this process can grow beyond this size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The usual umasks, and the most permissive."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode_of(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def write_half_and_raise(file: AtomicFile, failure: type[BaseException]) -> None:
    """A writer whose rows end with an error."""
    file.write("half")
    raise failure


def write_parts(file: AtomicFile, parts: int) -> None:
    """A writer of many parts."""
    for _ in range(parts):
        file.write("x" * 9_999)


class TestAtomicWrite:
    """A file gets its name when it is whole."""

    def test_the_name_appears_when_the_file_is_whole(self, tmp_path: Path) -> None:
        """A reader never sees a partial file under the final name."""
        path = tmp_path / "list.csv"
        with atomic_write(path) as file:
            file.write("half")
            assert [entry.name for entry in tmp_path.iterdir()] == ["list.csv.part"]
        assert path.read_text() == "half"
        assert [entry.name for entry in tmp_path.iterdir()] == ["list.csv"]

    def test_text_is_utf_8_and_newlines_stay(self, tmp_path: Path) -> None:
        """CSV has CRLF, JSON has LF, on every platform."""
        path = tmp_path / "list.csv"
        with atomic_write(path) as file:
            file.write("ä🙂\r\nb\n")
        assert path.read_bytes() == "ä🙂\r\nb\n".encode()

    def test_only_the_owner_can_read_it_from_the_start(self, tmp_path: Path, umask: int) -> None:
        """Files contain personal data: mode 0600, even while they are written."""
        path = tmp_path / "list.csv"
        with atomic_write(path):
            assert mode_of(tmp_path / "list.csv.part") == 0o600
        assert mode_of(path) == 0o600

    def test_a_part_left_by_others_does_not_make_it_readable(self, tmp_path: Path) -> None:
        """The mode is that of the new file, whatever existed before."""
        left = tmp_path / "list.csv.part"
        left.write_text("left by a process that was killed")
        left.chmod(0o644)
        with atomic_write(tmp_path / "list.csv") as file:
            file.write("new")
        assert mode_of(tmp_path / "list.csv") == 0o600
        assert (tmp_path / "list.csv").read_text() == "new"

    def test_a_part_that_is_a_link_is_not_followed(self, tmp_path: Path) -> None:
        """In a folder where others may write, a link must not lead to another file."""
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (tmp_path / "list.csv.part").symlink_to(victim)
        with atomic_write(tmp_path / "list.csv") as file:
            file.write("new")
        assert victim.read_text() == "precious"
        assert not (tmp_path / "list.csv").is_symlink()

    @pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
    def test_a_failure_leaves_the_old_file_and_no_part(
        self, tmp_path: Path, failure: type[BaseException]
    ) -> None:
        """No partial file stays, even after Ctrl-C, and the failure is raised."""
        path = tmp_path / "list.csv"
        path.write_text("old")
        with pytest.raises(failure), atomic_write(path) as file:
            write_half_and_raise(file, failure)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("parts", [10, 100], ids=["at the end", "while writing"])
    def test_a_full_disk_leaves_nothing_and_is_one_line(self, tmp_path: Path, parts: int) -> None:
        """The line names the file and the reason, whenever the buffer is written."""
        path = tmp_path / "list.csv"
        full = file_size_limit(10_000)
        with full, pytest.raises(FileError) as caught, atomic_write(path) as file:
            write_parts(file, parts)
        assert str(caught.value) == f"Cannot write {path}: {os.strerror(errno.EFBIG)}"
        assert list(tmp_path.iterdir()) == []

    def test_a_missing_folder_is_one_line(self, tmp_path: Path) -> None:
        """The line names the file and the reason."""
        path = tmp_path / "nowhere" / "list.csv"
        message = f"^Cannot write {path}: No such file or directory$"
        with pytest.raises(FileError, match=message), atomic_write(path):
            pytest.fail("the block must not be entered")

    def test_a_name_that_is_taken_by_a_folder_is_one_line(self, tmp_path: Path) -> None:
        """The rename fails last, and leaves nothing behind either."""
        path = tmp_path / "list.csv"
        path.mkdir()
        with pytest.raises(FileError, match=r"Is a directory$"), atomic_write(path) as file:
            file.write("whole")
        assert list(tmp_path.iterdir()) == [path]


class TestMakeWritableFolder:
    """Detected before the first call, where possible."""

    def test_it_is_created_with_its_parents_and_left_empty(self, tmp_path: Path) -> None:
        """The probe is deleted; calling it twice is not an error."""
        folder = tmp_path / "a" / "b"
        ensure_writable_folder(folder)
        ensure_writable_folder(folder)
        assert list(folder.iterdir()) == []

    def test_a_file_in_its_place_is_one_line(self, tmp_path: Path) -> None:
        """The line says which setting to fix."""
        folder = tmp_path / "taken"
        folder.touch()
        with pytest.raises(FileError) as caught:
            ensure_writable_folder(folder)
        assert str(caught.value) == (
            f"Cannot write in the folder {folder}: File exists; check OUTPUT_DIR"
        )

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
    def test_a_folder_that_takes_no_files_is_refused(self) -> None:
        """An existing folder is not sufficient."""
        with pytest.raises(FileError, match=r"^Cannot write in the folder /proc: .*OUTPUT_DIR$"):
            ensure_writable_folder(Path("/proc"))

    def test_a_full_disk_is_refused(self, tmp_path: Path) -> None:
        """On a full disk a file can be created, but nothing can be written to it."""
        with file_size_limit(0), pytest.raises(FileError, match="File too large; check OUTPUT"):
            ensure_writable_folder(tmp_path)


class PatientClock:
    """A clock that only sleeping advances; a sleep may end a little early."""

    def __init__(self, start: datetime) -> None:
        self.now = start

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        assert 0 < seconds <= 1
        self.now += timedelta(seconds=max(seconds - 0.001, 0.001))


class TestReserveTimestamp:
    """Two runs in one second do not use the same names."""

    NAMES = ("a_{}.csv", "b_{}.json")
    START = datetime(2026, 12, 31, 23, 59, 59, 250_000)  # noqa: DTZ001  local time

    @pytest.fixture
    def clock(self) -> PatientClock:
        """It starts in the middle of a second."""
        return PatientClock(self.START)

    @pytest.mark.parametrize(
        ("taken", "expected"),
        [
            ([], "20261231_235959"),
            (["other.csv"], "20261231_235959"),
            (["a_20261231_235959.csv"], "20270101_000000"),
            (["b_20261231_235959.json"], "20270101_000000"),
            (["a_20261231_235959.csv", "b_20270101_000000.json"], "20270101_000001"),
        ],
    )
    def test_it_is_the_first_second_in_which_no_file_has_it(
        self, tmp_path: Path, clock: PatientClock, taken: list[str], expected: str
    ) -> None:
        """The files of one run share a timestamp, so it must be free for all of them."""
        for name in taken:
            (tmp_path / name).touch()
        with reserve_timestamp(tmp_path, self.NAMES, clock, clock.sleep) as timestamp:
            assert timestamp == expected
            assert timestamp == f"{clock():%Y%m%d_%H%M%S}"

    def test_two_runs_of_one_second_get_different_timestamps_and_none_of_the_future(
        self, tmp_path: Path, clock: PatientClock
    ) -> None:
        """Reserved before the first file exists, released when the run ends."""
        with reserve_timestamp(tmp_path, self.NAMES, clock, clock.sleep) as first:
            assert clock() == self.START
            with reserve_timestamp(tmp_path, self.NAMES, clock, clock.sleep) as second:
                assert first < second == f"{clock():%Y%m%d_%H%M%S}"
        assert list(tmp_path.iterdir()) == []

    def test_the_wait_for_a_free_timestamp_is_limited(
        self, tmp_path: Path, clock: PatientClock
    ) -> None:
        """After the clock was set back, the names of an hour may be taken: one line says so."""
        for number in range(3_600):
            moment = self.START + timedelta(seconds=number)
            (tmp_path / f"a_{moment:%Y%m%d_%H%M%S}.csv").touch()
        reservation = reserve_timestamp(tmp_path, self.NAMES, clock, clock.sleep)
        with pytest.raises(FileError, match=f"taken in {tmp_path}.*OUTPUT_DIR$"), reservation:
            pass
        assert clock() - self.START < timedelta(seconds=60)

    def test_a_reservation_in_a_folder_that_is_gone_is_one_line(
        self, tmp_path: Path, clock: PatientClock
    ) -> None:
        """It names the file that cannot be made."""
        reservation = reserve_timestamp(tmp_path / "gone", self.NAMES, clock, clock.sleep)
        with pytest.raises(FileError, match=r"a_.*\.csv: No such file"), reservation:
            pass


class TestDisplayPath:
    """A path as people write it."""

    def test_a_path_below_the_working_directory_is_shown_relative_to_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Shorter, and in the form of OUTPUT_DIR."""
        monkeypatch.chdir(tmp_path)
        assert display_path(tmp_path / "out" / "a.csv") == Path("out/a.csv")
        assert display_path(tmp_path.parent / "a.csv") == tmp_path.parent / "a.csv"
        assert display_path(tmp_path) == tmp_path

    def test_without_a_working_directory_it_is_the_whole_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A run whose working directory was removed still reports where its files are."""
        folder = tmp_path / "gone"
        folder.mkdir()
        monkeypatch.chdir(folder)
        folder.rmdir()
        assert display_path(folder / "a.csv") == folder / "a.csv"

    def test_bytes_that_are_not_utf_8_are_shown_as_escapes(self) -> None:
        """The displayed path can be printed and written into the results file."""
        assert display_path(Path("/tmp", os.fsdecode(b"caf\xe9"))) == Path("/tmp/caf\\xe9")


class TestIsThere:
    """An inaccessible path does not count as missing."""

    def test_a_file_is_there_and_another_is_not(self, tmp_path: Path) -> None:
        """A dangling link does not exist."""
        (tmp_path / "link").symlink_to(tmp_path / "nothing")
        assert is_there(tmp_path)
        assert not is_there(tmp_path / "nothing")
        assert not is_there(tmp_path / "link")

    def test_an_inaccessible_path_is_an_error(self, tmp_path: Path) -> None:
        """The line names the path and the reason."""
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "name"
        with pytest.raises(FileError, match=f"^Cannot reach {path}: Not a directory$"):
            is_there(path)


class TestOpenFiles:
    """The limit of open files of this process."""

    @pytest.fixture
    def limit(self) -> Iterator[int]:
        """What the system allows; the current limit is low."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        yield before[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_a_low_limit_is_raised(self, limit: int) -> None:
        """A shell's limit is often lower than what the system allows."""
        raise_open_file_limit(200)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 256
        raise_open_file_limit(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, limit)

    def test_more_than_the_system_allows_is_an_error(self, limit: int) -> None:
        """Before the first call, not in the middle of a run."""
        with pytest.raises(FileError, match=r"ulimit -n.*lower MAX_WORKERS"):
            raise_open_file_limit(limit + 1)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_written_to_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Nothing more can be done to make the file's name durable."""
    let_folders_fail(monkeypatch, number)

    with atomic_write(tmp_path / "results.json") as file:
        file.write("{}")

    assert (tmp_path / "results.json").read_text(encoding="utf-8") == "{}"


def test_a_folder_whose_disk_fails_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing disk is reported, whichever operation fails."""
    let_folders_fail(monkeypatch, errno.EIO)

    with (
        pytest.raises(FileError, match="Input/output error"),
        atomic_write(tmp_path / "results.json"),
    ):
        pass


def let_folders_fail(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make a folder's sync fail with this error; files are synced as usual."""
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
