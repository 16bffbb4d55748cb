"""Where log lines go, and what never gets into them."""

from __future__ import annotations

import logging
import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from io import StringIO
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tqdm import tqdm

import logger_config
from integration.core.files import FileError
from integration.core.log_lines import LineFormatter
from integration.core.redaction import FILE_ONLY, MASK, SecretMask
from logger_config import (
    ConsoleHandler,
    PrivateRotatingFileHandler,
    log_to_console,
    log_to_file,
)
from tests.support.runs import MAIN, database_of, environment_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.process import SandboxProcess

ROOT = Path(__file__).resolve().parents[2]
NO_SECRETS = SecretMask()
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d - delivery - [A-Z]+ - .*")
logger = logging.getLogger("delivery")
# Fills a pipe, reads it completely, logs two more lines and prints what the pipe received.
SLOW_READER = """
from contextlib import suppress

def read_on():
    text = b""
    with suppress(BlockingIOError):
        while True:
            text += os.read(reader, 65536)
    return text

reader, writer = os.pipe()
os.set_blocking(reader, False)
os.set_blocking(writer, False)
os.dup2(writer, 1)
for number in range(9999):
    logging.info(number)
# How much of the rest is kept for later differs from one Python to the next.
for _ in range(99):
    read_on()
    logging.info("the rest of what was under way")
read_on()
logging.info("first")
logging.info("second")
sys.stderr.write(read_on().decode())
"""
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@pytest.fixture(autouse=True)
def _clean_logging() -> Iterator[None]:
    """Remove what a test added to the process's logging."""
    names = (None, "urllib3", "mysql.connector")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for handler in our_handlers():
        logging.getLogger().removeHandler(handler)
        handler.close()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def our_handlers() -> list[logging.Handler]:
    """The root logger's handlers that are not pytest's."""
    ours = (ConsoleHandler, PrivateRotatingFileHandler)
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, ours)]


def log_one_of_each() -> None:
    """A line of each level, whose text is the level."""
    for level in LEVELS:
        logger.log(getattr(logging, level), "%s", level.lower())


def formatted(message: object, *, mask: SecretMask = NO_SECRETS) -> str:
    """The line that a record with this message becomes."""
    record = logging.LogRecord("delivery", logging.INFO, __file__, 1, message, None, None)
    return LineFormatter(mask).format(record)


def mode_of(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def run_logging(
    code: str, *, stdout: int | IO[str] = subprocess.PIPE, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    """Run code in a separate process that logs to its console and exits with 7."""
    program = (
        "import logging, os, pathlib, sys\n"
        "from logger_config import log_to_console, log_to_file\n"
        "from integration.core.redaction import SecretMask\n"
        "log_to_console('INFO', SecretMask())\n"
        f"{code}\n"
        "sys.exit(7)\n"
    )
    # Buffered, as it is by default.
    environment = {
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": encoding,
        "PYTHONUNBUFFERED": "",
    }
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


class TestConsole:
    """INFO for people, problems for cron's mail."""

    @pytest.mark.parametrize(
        ("level", "to_stdout", "to_stderr"),
        [
            ("DEBUG", ["debug", "info"], ["warning", "error"]),
            ("INFO", ["info"], ["warning", "error"]),
            ("WARNING", [], ["warning", "error"]),
            ("ERROR", [], ["error"]),
        ],
    )
    def test_info_goes_to_stdout_and_problems_to_stderr(
        self,
        capfd: pytest.CaptureFixture[str],
        level: str,
        to_stdout: list[str],
        to_stderr: list[str],
    ) -> None:
        """Each line goes to one of them, from the configured level on."""
        log_to_console(level, NO_SECRETS)
        log_one_of_each()
        printed = capfd.readouterr()
        assert [line.rpartition(" ")[2] for line in printed.out.splitlines()] == to_stdout
        assert [line.rpartition(" ")[2] for line in printed.err.splitlines()] == to_stderr
        assert all(LINE.fullmatch(line) for line in (printed.out + printed.err).splitlines())

    def test_the_second_configuration_replaces_the_first(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """The console is configured before the settings are known, and again with them."""
        log_to_console("INFO", NO_SECRETS)
        log_to_console("INFO", SecretMask(["geheim"]))
        logger.info("geheim")
        assert capfd.readouterr().out.count("\n") == 1
        assert len(our_handlers()) == 2

    @pytest.mark.parametrize("library", ["urllib3.connectionpool", "mysql.connector.connection"])
    def test_a_library_logs_nothing_below_a_warning(
        self, capfd: pytest.CaptureFixture[str], library: str
    ) -> None:
        """The program's own modules log requests; the libraries would repeat them."""
        log_to_console("DEBUG", NO_SECRETS)
        logging.getLogger(library).info("again")
        assert capfd.readouterr().out == ""

    def test_a_line_is_printed_above_the_progress_bar(self) -> None:
        """The bar is cleared first, so that the line starts at the left edge."""
        stream = StringIO()
        handler = ConsoleHandler(stream)
        handler.setFormatter(LineFormatter(NO_SECRETS))
        with tqdm(total=2, file=stream):
            handler.emit(logging.LogRecord("delivery", 20, "", 1, "between", None, None))
        assert re.search(r"\r\d{4}-[^\r]* - between\n\r", stream.getvalue())

    def test_a_console_that_is_not_utf_8_loses_no_line(self) -> None:
        """Symbols and names that it cannot show are escaped; cron's console is often ASCII."""
        ran = run_logging("logging.info('✓ Zoë')", encoding="ascii")
        assert ran.stdout.endswith(" - INFO - \\u2713 Zo\\xeb\n")

    def test_a_line_is_flushed_immediately(self) -> None:
        """The run can be followed through a pipe; a kill loses no line."""
        ran = run_logging("logging.info('seen')\nos._exit(7)")
        assert ran.stdout.endswith(" - INFO - seen\n")

    def test_a_reader_that_is_gone_does_not_end_the_run(self) -> None:
        """`main.py | head -1` still delivers, and its exit code is the run's."""
        read_end, write_end = os.pipe()
        os.close(read_end)
        ran = run_logging("for number in range(9999): logging.info(number)", stdout=write_end)
        os.close(write_end)
        assert (ran.returncode, ran.stderr) == (7, "")

    @needs_dev_full
    def test_a_full_disk_behind_stdout_does_not_end_the_run(self) -> None:
        """The lines are lost, the run continues."""
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            ran = run_logging("logging.info('lost')", stdout=full)
        assert (ran.returncode, ran.stderr) == (7, "")

    def test_a_slow_reader_misses_no_line_after_it_has_caught_up(self) -> None:
        """A pipe that is full for now (as with ssh) is not one whose reader is gone."""
        ran = run_logging(SLOW_READER)
        assert ran.returncode == 7
        assert re.fullmatch(r".* - INFO - first\n.* - INFO - second\n", ran.stderr)

    @pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
    def test_a_closed_console_does_not_end_the_run(
        self, tmp_path: Path, sandbox: SandboxProcess, closed: str
    ) -> None:
        """Output for a closed stdout or stderr is dropped, and written nowhere else."""
        emails = ["profilerefused@example.com", "ada@example.com"]
        database = database_of(tmp_path / "customers.sqlite", emails)
        ran = subprocess.run(
            ["sh", "-c", f'exec "$0" "$1" {closed}', sys.executable, str(MAIN)],
            cwd=tmp_path,
            env=os.environ | environment_for(tmp_path, sandbox, database),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert ran.returncode == 1
        assert len(sandbox.state()["events"]) == 2
        assert bool(ran.stdout) == (closed == "2>&-")
        assert " - ERROR - " not in ran.stdout
        assert bool(ran.stderr) == (closed == ">&-")
        assert " - INFO - " not in ran.stderr
        written = (tmp_path / "run.log").read_text()
        assert " - ERROR - " in written
        assert " - INFO - INTEGRATION SUMMARY" in written


class TestFile:
    """A complete record, for later investigation."""

    def test_it_has_debug_whatever_the_console_shows(self, tmp_path: Path) -> None:
        """LOG_LEVEL applies to the console only; the file always has every level."""
        log_to_console("ERROR", NO_SECRETS)
        log_to_file(tmp_path / "run.log", NO_SECRETS)
        log_one_of_each()
        lines = (tmp_path / "run.log").read_text().splitlines()
        assert [line.rpartition(" ")[2] for line in lines] == ["debug", "info", "warning", "error"]
        assert all(LINE.fullmatch(line) for line in lines)

    def test_file_only_lines_are_on_no_console(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Payloads are personal data: no console shows them, even at DEBUG, and no cron mail."""
        log_to_console("DEBUG", NO_SECRETS)
        log_to_file(tmp_path / "run.log", NO_SECRETS)
        for level in (logging.DEBUG, logging.ERROR):
            logging.getLogger("test").log(level, "a payload", extra=FILE_ONLY)
        assert capfd.readouterr() == ("", "")
        assert (tmp_path / "run.log").read_text().count("a payload") == 2

    def test_a_new_run_appends_to_the_same_file(self, tmp_path: Path) -> None:
        """The previous run is not overwritten; folders are created; the encoding is UTF-8."""
        path = tmp_path / "logs" / "run.log"
        path.parent.mkdir()
        path.write_text("yesterday\n")
        log_to_console("ERROR", NO_SECRETS)
        log_to_file(path, NO_SECRETS)
        logger.info("today ✓")
        assert re.fullmatch("yesterday\n.* - today ✓\n", path.read_text(encoding="utf-8"))

    def test_it_rotates_at_ten_megabytes_with_five_backups(self, tmp_path: Path) -> None:
        """The documented sizes."""
        log_to_file(tmp_path / "new" / "folder" / "run.log", NO_SECRETS)
        (handler,) = our_handlers()
        assert isinstance(handler, RotatingFileHandler)
        assert (handler.maxBytes, handler.backupCount) == (10_000_000, 5)

    def test_every_file_is_private_also_after_rotation(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The log contains names and emails; its permissions do not depend on the umask."""
        monkeypatch.setattr(logger_config, "MAX_FILE_BYTES", 1000)
        before = os.umask(0)
        try:
            log_to_console("ERROR", NO_SECRETS)
            log_to_file(tmp_path / "run.log", NO_SECRETS)
            for number in range(200):
                logger.info("line %d", number)
        finally:
            os.umask(before)
        names = ["run.log", *(f"run.log.{number}" for number in range(1, 6))]
        assert sorted(path.name for path in tmp_path.iterdir()) == names
        assert {mode_of(path) for path in tmp_path.iterdir()} == {0o600}
        assert "line 199" in (tmp_path / "run.log").read_text()

    def test_text_that_utf_8_cannot_encode_loses_no_line(self, tmp_path: Path) -> None:
        """A file name with foreign bytes contains surrogates; the line is kept, escaped."""
        log_to_console("ERROR", NO_SECRETS)
        log_to_file(tmp_path / "run.log", NO_SECRETS)
        logger.info("Exported to %s", os.fsdecode(b"caf\xe9.csv"))
        assert (tmp_path / "run.log").read_text().endswith(" - Exported to caf\\udce9.csv\n")

    def test_a_path_that_cannot_be_opened_is_one_line(self, tmp_path: Path) -> None:
        """The line says which setting to fix."""
        with pytest.raises(FileError) as caught:
            log_to_file(tmp_path, NO_SECRETS)
        reason = "Is a directory; check LOG_FILE"
        assert str(caught.value) == f"Cannot write the log {tmp_path}: {reason}"

    def test_a_kill_loses_no_line(self, tmp_path: Path) -> None:
        """A line is in the file when the call that logged it returns."""
        path = tmp_path / "run.log"
        ended = run_logging(
            f"log_to_file(pathlib.Path({str(path)!r}), SecretMask())\n"
            "for number in range(99): logging.debug('line %d', number)\n"
            "os.kill(os.getpid(), 9)"
        )
        assert ended.returncode == -9
        written = [line.rpartition(" ")[2] for line in path.read_text().splitlines()]
        assert written == [str(number) for number in range(99)]

    def test_each_line_has_its_own_time(self, tmp_path: Path) -> None:
        """Of the second in which it was logged, also when seconds go back."""
        log_to_file(tmp_path / "run.log", NO_SECRETS)
        (handler,) = our_handlers()
        moments = [1_800_000_000.9, 1_800_000_000.1, 1_800_000_001.0, 1_799_999_999.5]
        for moment in moments:
            record = logging.LogRecord("delivery", logging.INFO, "", 1, "x", None, None)
            record.created = moment
            handler.handle(record)
        written = [line[:19] for line in (tmp_path / "run.log").read_text().splitlines()]
        local = [datetime.fromtimestamp(moment) for moment in moments]  # noqa: DTZ006  as in the log
        assert written == [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in local]

    def test_lines_of_many_threads_do_not_mix(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also while the file is rotated; the order of each thread is kept."""
        monkeypatch.setattr(logger_config, "MAX_FILE_BYTES", 20_000)
        log_to_console("ERROR", NO_SECRETS)
        log_to_file(tmp_path / "run.log", NO_SECRETS)

        def log_lines(thread: int) -> None:
            for number in range(200):
                logger.debug("thread %d line %d", thread, number)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(log_lines, range(8)))
        files = sorted(tmp_path.iterdir(), reverse=True)
        lines = [line for path in files for line in path.read_text().splitlines()]
        assert len(files) > 1
        assert all(LINE.fullmatch(line) for line in lines)
        for thread in range(8):
            mine = [int(line.split()[-1]) for line in lines if f" thread {thread} " in line]
            assert mine == list(range(200))

    def test_a_file_of_earlier_runs_is_rotated(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What they wrote counts."""
        monkeypatch.setattr(logger_config, "MAX_FILE_BYTES", 1000)
        (tmp_path / "run.log").write_text("x" * 1000)
        log_to_console("ERROR", NO_SECRETS)
        log_to_file(tmp_path / "run.log", NO_SECRETS)
        logger.info("new")
        assert (tmp_path / "run.log.1").read_text() == "x" * 1000
        assert (tmp_path / "run.log").read_text().endswith(" - new\n")

    def test_a_file_that_cannot_be_rotated_loses_no_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It grows instead."""
        monkeypatch.setattr(logger_config, "MAX_FILE_BYTES", 100)
        (tmp_path / "run.log.4").touch()
        (tmp_path / "run.log.5").mkdir()
        log_to_console("ERROR", NO_SECRETS)
        log_to_file(tmp_path / "run.log", NO_SECRETS)
        for number in range(20):
            logger.info("line %d", number)
        lines = (tmp_path / "run.log").read_text().splitlines()
        assert [line.rpartition(" ")[2] for line in lines] == [str(n) for n in range(20)]

    def test_a_pipe_is_never_rotated(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor a device such as /dev/stdout: it has no size, and must not be renamed."""
        monkeypatch.setattr(logger_config, "MAX_FILE_BYTES", 100)
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        log_to_console("ERROR", NO_SECRETS)
        log_to_file(tmp_path / "pipe", NO_SECRETS)
        for number in range(20):
            logger.info("line %d", number)
        received = os.read(reader, 65536).decode().splitlines()
        os.close(reader)
        assert [line.rpartition(" ")[2] for line in received] == [str(n) for n in range(20)]
        assert [path.name for path in tmp_path.iterdir()] == ["pipe"]

    def test_a_line_that_the_disk_took_in_part_is_completed(self, tmp_path: Path) -> None:
        """When there is room again; of the lines in between, none is left in part."""
        path = tmp_path / "run.log"
        ended = run_logging(
            "import resource\n"
            f"path = pathlib.Path({str(path)!r})\n"
            "log_to_file(path, SecretMask())\n"
            "logging.info('first')\n"
            "most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
            "def limit(size): resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))\n"
            "limit(path.stat().st_size + 30)\n"
            "for text in ('in part', 'lost', 'lost'): logging.info(text)\n"
            "limit(most)\n"
            "logging.info('last')"
        )
        assert (ended.returncode, ended.stderr) == (7, "")
        written = [line.rpartition(" - ")[2] for line in path.read_text().splitlines()]
        assert written == ["first", "in part", "last"]

    @needs_dev_full
    def test_a_full_disk_does_not_end_the_run(self) -> None:
        """The results file reports the full disk; not every log line, nor the program's exit."""
        ran = run_logging("log_to_file(pathlib.Path('/dev/full'), SecretMask())\nlogging.info('a')")
        assert (ran.returncode, ran.stderr) == (7, "")
        assert ran.stdout.endswith(" - INFO - a\n")


class TestOneLinePerRecord:
    """A value from the database cannot add a line or control a terminal."""

    @pytest.mark.parametrize(
        ("message", "shown"),
        [
            ("a\n2026-01-13 14:30:45 - main - INFO - forged", r"a\n2026-01-13 14:30:45"),
            ("a\rb", r"a\rb"),
            ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
            ("\x9b31m", r"\x9b31m"),
            ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
            ("a\x00b\tc\x7f", r"a\x00b\tc\x7f"),
            ("✓ Zoë 🙂 C:\\new", "✓ Zoë 🙂 C:\\new"),
        ],
    )
    def test_control_characters_are_escaped(self, message: str, shown: str) -> None:
        """They are shown as Python escapes; all else stays readable."""
        assert formatted(message).partition(" - INFO - ")[2].startswith(shown)

    @given(st.text())
    @example("\u2029")
    def test_any_message_is_one_printable_line(self, message: str) -> None:
        """No character splits the line, and no control character reaches a terminal."""
        line = formatted(message)
        assert len(line.splitlines()) == 1
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)


class TestSecrets:
    """Every line is masked."""

    @pytest.mark.parametrize("secret", ["geheim", "tab\tand\\slash", "nl\n'and\"quotes", "\x9b31m"])
    def test_no_secret_is_in_a_line(self, secret: str) -> None:
        """Neither as it is, nor in the form that escaping the line would give it."""
        assert formatted(f"<{secret}>", mask=SecretMask([secret])).endswith(f" - <{MASK}>")

    def test_a_traceback_is_masked_on_console_and_in_file(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """A bug's traceback may contain values; each handler masks it."""
        mask = SecretMask(["geheim"])
        log_to_console("INFO", mask)
        log_to_file(tmp_path / "run.log", mask)
        try:
            raise ValueError("the key is geheim")  # noqa: TRY301  a traceback is needed
        except ValueError:
            logger.exception("%s failed", "geheim")
        for text in (capfd.readouterr().err, (tmp_path / "run.log").read_text()):
            assert f"ERROR - {MASK} failed\nTraceback" in text
            assert text.endswith(f"ValueError: the key is {MASK}\n")
            assert "geheim" not in text

    def test_an_unexpected_error_is_in_the_file_without_secrets(self, tmp_path: Path) -> None:
        """The traceback of a nightly run can be read the next morning; the exit code is 1."""
        ended = run_logging(
            "log_to_console('INFO', SecretMask(['geheim']))\n"
            f"log_to_file(pathlib.Path({str(tmp_path / 'run.log')!r}), SecretMask(['geheim']))\n"
            "raise ZeroDivisionError('the key is geheim')"
        )
        assert ended.returncode == 1
        for text in (ended.stderr, (tmp_path / "run.log").read_text()):
            assert "CRITICAL - Unexpected error: ZeroDivisionError." in text
            assert "see main.py --status or cli.py stats\nTraceback" in text
            assert text.endswith(f"ZeroDivisionError: the key is {MASK}\n")
            assert "geheim" not in text

    def test_a_stack_is_masked(self, capfd: pytest.CaptureFixture[str]) -> None:
        """It contains lines of the source, and keeps its own line breaks."""
        log_to_console("INFO", SecretMask(["stack_info=True"]))
        logger.info("here", stack_info=True)
        assert f'\n    logger.info("here", {MASK})' in capfd.readouterr().out
