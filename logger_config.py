"""Logging to the console and to a rotating file.

INFO goes to stdout, WARNING and above to stderr, so that with `>/dev/null` in a crontab cron mails
only problems. The file gets everything from DEBUG on. Secrets are masked in every line. With
LOG_FORMAT=json, each line is a JSON object.
"""

from __future__ import annotations

import io
import logging
import math
import os
import stat
import sys
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from integration.core.files import FileError
from integration.core.log_lines import TEXT, LogStyle
from integration.core.redaction import FILE_ONLY, SecretMask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 10_000_000
BACKUPS = 5


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Prints lines above the progress bar, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        try:
            self._print(f"{self.format(record)}\n")
            self.flush()
        except (OSError, ValueError):
            self.handleError(record)

    def _print(self, line: str) -> None:
        # Only a run with a progress bar has loaded tqdm.
        tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
        if tqdm is None:
            self.stream.write(line)
        else:
            tqdm.write(line, file=self.stream, end="")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002  logging's
        """Ignore a closed pipe (`| head`) or a full disk: neither may end the run."""
        if isinstance(sys.exc_info()[1], BlockingIOError):
            return  # slow reader of a non-blocking pipe: only this line is lost
        _silence(self.stream)


class PrivateRotatingFileHandler(RotatingFileHandler):
    """A rotating log file that only its owner can read, since it contains email addresses.

    Every record is written at once and without a buffer, so that a kill loses no line.
    """

    stream: io.FileIO | None  # type: ignore[assignment]  # unlike the parent's, it takes bytes
    _size = 0.0
    _rest = b""

    def _open(self) -> io.FileIO:  # type: ignore[override]
        stream = io.FileIO(self.baseFilename, "a", opener=_open_privately)
        status = os.fstat(stream.fileno())
        # A pipe or a terminal (LOG_FILE=/dev/stdout) has no size and is never rotated.
        self._size = status.st_size if stat.S_ISREG(status.st_mode) else -math.inf
        return stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            if self._size >= self.maxBytes:
                with suppress(OSError):
                    self.doRollover()
            self._write(line)
        except Exception:  # noqa: BLE001  as in logging: no log line may end the run
            self.handleError(record)

    def _write(self, line: bytes) -> None:
        """Write a line, after the rest of one that a full disk took only in part."""
        if self.stream is None:  # closed, or not reopened because the rotation failed
            self.stream = self._open()
        data = self._rest + line
        written = self.stream.write(data)
        if written is not None:  # None: the reader of a non-blocking pipe is too slow
            self._size += written
            self._rest = data[written:]

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Ignore a full disk: CSV, results file and journal report it."""


def _open_privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class EarlyRecords(logging.Handler):
    """Buffers records until LOG_LEVEL and LOG_FILE are known.

    A warning or error is printed at once, with the records before it: the program may end there.
    """

    def __init__(self, consoles: Sequence[logging.Handler]) -> None:
        super().__init__()
        self._consoles = consoles
        self._records: list[logging.LogRecord] = []
        self._printed = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Buffer one record."""
        self._records.append(record)
        if record.levelno >= logging.WARNING:
            self._print_on(self._consoles)

    def hand_over_to(self, consoles: Sequence[logging.Handler]) -> None:
        """Print the remaining records on these consoles; they receive later ones directly."""
        self._print_on(consoles)
        self._consoles = ()

    def copy_to(self, file: logging.Handler) -> None:
        """Write all buffered records to the file."""
        _replay(self._records, [file])

    def _print_on(self, consoles: Sequence[logging.Handler]) -> None:
        _replay(self._records[self._printed :], consoles)
        self._printed = len(self._records)


def _replay(records: Sequence[logging.LogRecord], handlers: Sequence[logging.Handler]) -> None:
    for record in records:
        for handler in handlers:
            if record.levelno >= handler.level:
                handler.handle(record)


def begin_log(level: str, style: LogStyle = TEXT) -> None:
    """Buffer records until `log_to_console` and `log_to_file` are called.

    Args:
        level: the console's level until then.
        style: the console's style until then.
    """
    logging.getLogger().addHandler(EarlyRecords(_new_consoles(level, SecretMask(), style)))


def log_to_console(level: str, mask: SecretMask, style: LogStyle = TEXT) -> None:
    """Log to stdout (below WARNING) and stderr from `level` on; removes other handlers.

    Uncaught exceptions are logged, too.
    """
    root = logging.getLogger()
    early = _early_records()
    consoles = _new_consoles(level, mask, style)
    for records in early:
        records.hand_over_to(consoles)
    for handler in (*consoles, *early):
        root.addHandler(handler)


def _early_records() -> list[EarlyRecords]:
    handlers = logging.getLogger().handlers
    return [handler for handler in handlers if isinstance(handler, EarlyRecords)]


def _new_consoles(level: str, mask: SecretMask, style: LogStyle) -> list[logging.Handler]:
    """Handlers for stdout and stderr; removes all existing handlers."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.DEBUG)
    # No line shows them. Source: Python's "Logging HOWTO", section "Optimization".
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # None if the parent process closed them.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # Escape characters that the console cannot encode, instead of losing the line.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    formatter = style.formatter(mask)
    output = ConsoleHandler(sys.stderr if style.only_stderr else sys.stdout)
    output.addFilter(lambda record: record.levelno < logging.WARNING)
    problems = ConsoleHandler(sys.stderr)
    for handler, lowest in ((output, level), (problems, max(level, "WARNING", key=_number))):
        handler.addFilter(_is_for_consoles)
        handler.setLevel(lowest)
        handler.setFormatter(formatter)
    sys.excepthook = _log_unexpected
    # The two edges log what happens; these libraries would repeat it for each request.
    for library in ("urllib3", "mysql.connector"):
        logging.getLogger(library).setLevel(logging.ERROR)
    return [output, problems]


def _is_for_consoles(record: logging.LogRecord) -> bool:
    return not FILE_ONLY.keys() & vars(record).keys()


def log_to_file(path: Path, mask: SecretMask, style: LogStyle = TEXT) -> None:
    """Log everything from DEBUG on to `path`, rotated at 10 MB with five backups.

    Raises:
        FileError: the file cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = PrivateRotatingFileHandler(
            path, maxBytes=MAX_FILE_BYTES, backupCount=BACKUPS, encoding="utf-8"
        )
    except OSError as error:
        raise FileError(
            f"Cannot write the log {path}: {error.strerror or error}; check LOG_FILE"
        ) from error
    handler.setLevel(logging.DEBUG)
    handler.setFormatter(style.formatter(mask))
    root = logging.getLogger()
    for records in _early_records():
        records.copy_to(handler)
        root.removeHandler(records)
    root.addHandler(handler)


def rotated_files(path: Path) -> list[Path]:
    """The paths of the log's backups."""
    return [Path(f"{path}.{number}") for number in range(1, BACKUPS + 1)]


def _log_unexpected(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Log an uncaught exception, so that it is in the file, with secrets masked."""
    logger.critical(
        "Unexpected error: %s. What was done before it is recorded: see main.py --status or"
        " cli.py stats",
        kind.__name__,
        exc_info=(kind, error, traceback),
    )


def print_answer(lines: Iterable[str]) -> None:
    """Print the answer to a command such as `--status`; a closed pipe (`| head`) is no error.

    Raises:
        FileError: it cannot be printed, on a full disk for example.
    """
    try:
        print("\n".join(lines), flush=True)  # noqa: T201  not a log line
    except (OSError, ValueError) as error:
        _silence(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise FileError(f"Cannot print: {error}") from error


def _silence(stream: TextIO) -> None:
    """Discard further output to this stream.

    Otherwise, flushing its buffer at exit would fail again and set the exit code to 120.
    Source: Python's documentation of signal, "Note on SIGPIPE".
    """
    with suppress(OSError, ValueError), Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), stream.fileno())


def _number(level: str) -> int:
    return int(logging.getLevelName(level))
