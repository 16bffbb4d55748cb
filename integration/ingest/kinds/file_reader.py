"""Reading files page by page: what the kinds csv and jsonl have in common."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

from integration.ingest.errors import OptionRefused, SourceError, SourceLimited, SourceRefused
from integration.ingest.kinds.file_formats import Taken
from integration.ingest.kinds.file_positions import FilePosition, position_at, start_offset
from integration.ingest.kinds.files import PART_BYTES, parts_of
from integration.ingest.kinds.http_client import StoppedReading
from integration.ingest.models import RawPage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from integration.ingest.kinds.file_formats import Format, Layout
    from integration.ingest.kinds.file_positions import ByteFile
    from integration.ingest.models import RawRecord, Window

MAX_PAGE_RECORDS = 5_000
# A longer record is no record: the quote is missing that ends it, or this is another kind of file.
MAX_RECORD_BYTES = 16 * PART_BYTES
MAX_ERRORS_SHOWN = 3


@dataclass(slots=True)
class _Buffer:
    """A part of a file that is being read.

    Attributes:
        offset: where `data` begins in the file, in uncompressed bytes.
        error: why the rest of the file cannot be read.
    """

    parts: Iterator[bytes]
    data: bytes = b""
    offset: int = 0
    at_end: bool = False
    error: SourceError | None = None

    def fill(self) -> None:
        """Read one more part."""
        try:
            part = next(self.parts, None)
        except SourceError as error:
            self.error, part = error, None
        if part is None:
            self.at_end = True
        else:
            self.data += part

    def drop(self, size: int) -> None:
        """Forget the beginning."""
        self.data = self.data[size:]
        self.offset += size


class FileReader:
    """Reads the files of a source; see `models.Reader`.

    Args:
        names: the paths or URLs of the files that exist, in the order in which they are read.
        open_file: opens one of them.
        format_: how their records are written.
        page_records: the maximum number of records of a page.
        on_close: closes what `open_file` needs.
    """

    def __init__(
        self,
        names: Callable[[], Sequence[str]],
        open_file: Callable[[str], ByteFile],
        format_: Format,
        page_records: int = MAX_PAGE_RECORDS,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._names = names
        self._open_file = open_file
        self._format = format_
        self._page_records = page_records
        self._on_close = on_close

    def pages(self, position: dict[str, object] | None, window: Window) -> Iterator[RawPage]:
        """Read what is new in each file; nothing is yielded if no file has changed.

        A file that cannot be read does not keep the others unread, unless the source allows no
        more requests; its error is on the last page.
        """
        if window.since is not None or window.until is not None:
            raise OptionRefused(
                "--since and --until cannot be used with a file: its records have no order."
                " Name the other sources with --source"
            )
        known = {} if window.full_refresh or position is None else _known_positions(position)
        return _with_last(self._pages_of_files(known, window.limit))

    def records_of(self, content: bytes, origin: str) -> Sequence[RawRecord]:
        """The records of a stored page, which begins with the header of its file."""
        layout = self._format.layout(content, origin, at_end=True)
        return [] if layout is None else layout.take_all(content[len(layout.preamble) :])

    def close(self) -> None:
        """Close the connections; files are closed when their pages have been read."""
        self._on_close()

    def _pages_of_files(
        self, known: dict[str, FilePosition], limit: int | None
    ) -> Iterator[RawPage]:
        names = self._names()
        # Files that are gone are forgotten.
        progress = _Progress({name: known[name] for name in names if name in known}, limit)
        errors: list[SourceError] = []
        for name in names:
            try:
                with closing(self._open_file(name)) as file:
                    offset = start_offset(known.get(name), file)
                    if offset is not None:
                        yield from self._pages_of_file(file, offset, progress)
            except StoppedReading:
                raise
            except SourceLimited as error:
                errors.append(error)
                break  # the next file would wait just as long, for the same answer
            except SourceError as error:
                errors.append(error)
            if progress.remaining == 0:
                break
        if errors:
            raise _joined(errors)

    def _pages_of_file(self, file: ByteFile, offset: int, progress: _Progress) -> Iterator[RawPage]:
        layout = self._layout_of(file)
        if layout is None:
            yield progress.page(file, b"", _Buffer(iter(())), _NOTHING)
            return
        offset = max(offset, len(layout.preamble))
        buffer = _Buffer(parts_of(file, offset), offset=offset)
        while True:
            taken = self._take(layout, buffer, progress, file.name)
            content = layout.preamble + buffer.data[: taken.used]
            file.check_unchanged()
            error = _error_after(buffer, taken, file.name)
            if error is not None and not taken.used:
                raise error
            done = buffer.at_end and taken.used == len(buffer.data)
            if done and error is None:
                error = buffer.error  # the records before it are complete
            columns = layout.columns
            yield progress.page(file, content, buffer, taken, done=done, columns=columns)
            buffer.drop(taken.used)
            if error is not None:
                raise error
            if done or progress.remaining == 0:
                return

    def _layout_of(self, file: ByteFile) -> Layout | None:
        """The layout, or None if the file is empty."""
        buffer = _Buffer(parts_of(file, 0))
        while True:
            buffer.fill()
            layout = self._format.layout(buffer.data, file.name, at_end=buffer.at_end)
            if layout is not None or buffer.at_end:
                break
            _check_length(buffer, file.name)
        if layout is None and buffer.error is not None:
            raise buffer.error
        return layout

    def _take(self, layout: Layout, buffer: _Buffer, progress: _Progress, name: str) -> Taken:
        """The records of the next page."""
        limit = self._page_records
        if progress.remaining is not None:
            limit = min(limit, progress.remaining)
        while len(buffer.data) < PART_BYTES and not buffer.at_end:
            buffer.fill()
        while True:
            taken = layout.take(buffer.data, limit, at_end=buffer.at_end and buffer.error is None)
            if taken.used == len(buffer.data) and not buffer.at_end:
                buffer.fill()  # is this the last page?
            if taken.used or buffer.at_end:
                return taken
            _check_length(buffer, name)
            buffer.fill()


_NOTHING = Taken([], 0, 0)


def _joined(errors: Sequence[SourceError]) -> SourceError:
    """One error for several files."""
    if len(errors) == 1:
        return errors[0]
    texts = [str(error) for error in errors[:MAX_ERRORS_SHOWN]]
    if hidden := len(errors) - len(texts):
        texts.append(f"and {hidden} more")
    is_refused = any(isinstance(error, SourceRefused) for error in errors)
    kind = SourceRefused if is_refused else SourceError
    return kind(f"{len(errors)} files cannot be read to their end: {'; '.join(texts)}")


def _check_length(buffer: _Buffer, name: str) -> None:
    if len(buffer.data) > MAX_RECORD_BYTES:
        raise SourceError(
            f"{name} has a record of more than {MAX_RECORD_BYTES // 1_000_000} MB at byte"
            f" {buffer.offset}: check that it is a file of this kind, and its quotes"
        )


def _error_after(buffer: _Buffer, taken: Taken, name: str) -> SourceError | None:
    """The error that ends the file after these records."""
    if taken.cut_off:
        return SourceError(
            f"{name} is cut off at byte {buffer.offset + taken.used}: {taken.cut_off}."
            " Write the file completely; what precedes counts"
        )
    # Records may be left that are complete.
    return None if taken.used else buffer.error


@dataclass(slots=True)
class _Progress:
    """What all files of a run have in common.

    Attributes:
        known: the positions of all files; changes with each page.
        remaining: how many records may still be read; None: all.
    """

    known: dict[str, FilePosition]
    remaining: int | None
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def page(
        self,
        file: ByteFile,
        content: bytes,
        buffer: _Buffer,
        taken: Taken,
        *,
        done: bool = True,
        columns: Sequence[str] = (),
    ) -> RawPage:
        """The next page, with the positions of all files after it."""
        if self.remaining is not None:
            self.remaining -= len(taken.records)
        end = buffer.offset + taken.used
        offset = buffer.offset + taken.kept
        self.known[file.name] = position_at(file, offset, done=done and buffer.error is None)
        return RawPage(
            number=next(self.numbers),
            content=content,
            origin=f"{file.name}:{buffer.offset}-{max(buffer.offset, end - 1)}",
            records=taken.records,
            position=_as_json(self.known),
            is_last=False,
            columns=columns,
        )


def _as_json(known: dict[str, FilePosition]) -> dict[str, object]:
    return {"files": {name: position.as_json() for name, position in known.items()}}


def _known_positions(position: dict[str, object]) -> dict[str, FilePosition]:
    files = position.get("files")
    if not isinstance(files, dict):
        return {}
    read = {name: FilePosition.from_json(value) for name, value in files.items()}
    return {name: value for name, value in read.items() if value is not None}


def _with_last(pages: Iterator[RawPage]) -> Iterator[RawPage]:
    """The same pages, with the last one marked, and with the error that follows it."""
    previous: RawPage | None = None
    try:
        for page in pages:
            if previous is not None:
                yield previous
            previous = page
    except StoppedReading:
        if previous is not None:
            yield previous
        return
    except SourceError as error:
        if previous is None:
            raise
        yield replace(previous, is_last=True, error=error)
        return
    if previous is not None:
        yield replace(previous, is_last=True)
