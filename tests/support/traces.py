"""Searching everything that a program has left, also in what is compressed."""

from __future__ import annotations

import gzip
import sqlite3
import zlib
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from integration.database.writing import open_writer
from integration.journal.schema import SQLITE_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from db_connection import DatabaseSettings

_TABLES = (
    "SELECT table_name FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
)


def traces_in(folder: Path, words: Sequence[str]) -> list[str]:
    """The files of a folder, and the tables of SQLite files, that contain one of these words."""
    # Opening a database changes the files beside it.
    contents = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    found = [path.name for path, content in contents.items() if has_word(content, words)]
    for path, content in contents.items():
        if content.startswith(SQLITE_HEADER):
            found += [f"{path.name}: {place}" for place in _in_database(path, words)]
    return found


def traces_in_server(settings: DatabaseSettings, words: Sequence[str]) -> list[str]:
    """The tables of a server's database that contain one of these words."""
    with closing(open_writer(settings)) as session:
        tables = [str(name) for (name,) in session.query(_TABLES)]
        return [
            name for name in tables if _has_any(session.query(f"SELECT * FROM `{name}`"), words)
        ]


def has_word(content: bytes, words: Sequence[str]) -> bool:
    """Whether bytes contain a word in any case, as they are or decompressed."""
    return any(word.encode() in piece.lower() for piece in _readings(content) for word in words)


def _readings(content: bytes) -> Iterator[bytes]:
    yield content
    with suppress(zlib.error):
        yield zlib.decompress(content)
    with suppress(OSError, EOFError, zlib.error):
        yield gzip.decompress(content)


def _in_database(path: Path, words: Sequence[str]) -> Iterator[str]:
    with closing(sqlite3.connect(path)) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            if _has_any(database.execute(f"SELECT * FROM {name}"), words):
                yield name


def _has_any(rows: Iterable[Sequence[Any]], words: Sequence[str]) -> bool:
    return any(
        has_word(value if isinstance(value, bytes) else str(value).encode(), words)
        for row in rows
        for value in row
    )
