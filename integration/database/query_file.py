"""Find one statement in a file of queries, each below a `-- Query N: …` heading.

The file is read as MySQL reads it (https://dev.mysql.com/doc/refman/9.7/en/comments.html and
…/string-literals.html, with the server's default `sql_mode`): a statement ends at the first `;`
outside of literals and comments. Comments inside a statement stay in it, since some of them are
hints for the server.

    SqlFileError    no or more than one statement; `load_query` adds the file's name
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from integration.database.errors import QueryFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Unclosed comments and literals extend to the end of the text.
_TOKEN = re.compile(
    r"""
    (?P<space> \s+ )
  | (?P<comment>
        --(?=[\x00-\x20\x7f]|\Z)[^\n]*       # MySQL wants whitespace: 5--3 is arithmetic
      | \#[^\n]*
      | /\*(?!M?!|\+)(?s:.*?)(?:\*/|\Z)
    )
  | (?P<end> ; )
  | (?P<code>
        /\*(?s:.*?)(?:\*/|\Z)                # /*! … */, /*M! … */ and /*+ … */ are executed
      | '(?:[^'\\]|\\(?s:.)|'')*+(?:'|\\?\Z)
      | "(?:[^"\\]|\\(?s:.)|"")*+(?:"|\\?\Z)
      | `(?:[^`]|``)*+(?:`|\Z)
      | .
    )
    """,
    re.VERBOSE,
)
_HEADING = re.compile(r"-- Query (\d+):")
_MYSQL = re.compile(r"--\s*dialect:\s*mysql\s*", re.IGNORECASE)

# MySQL's, which every engine translates, or that of the engine which runs it.
Dialect = Literal["mysql", "native"]


class Query(NamedTuple):
    """A statement, and the dialect of SQL that it is written in."""

    text: str
    dialect: Dialect = "mysql"


class SqlFileError(ValueError):
    """There is not exactly one statement of that number."""


def load_query(path: Path, number: int) -> str:
    """Read one query from a file in which each has a `-- Query N: …` heading.

    Returns:
        The statement, without the comments above it and the closing semicolon.

    Raises:
        QueryFailed: the file, the heading or the statement does not exist or is ambiguous.
    """
    text = _read(path)
    try:
        return find_query(text, number)
    except SqlFileError as error:
        raise QueryFailed(f"{path} {error}") from error


def load_own_query(path: Path, number: int | None) -> Query:
    """The query of a file that the user wrote: its only statement, or the one of that number.

    It is in the engine's dialect, unless the first line is `-- dialect: mysql`.

    Raises:
        QueryFailed: the file or the statement does not exist or is ambiguous.
    """
    text = _read(path)
    first_line = text.lstrip().partition("\n")[0].strip()
    dialect: Dialect = "mysql" if _MYSQL.fullmatch(first_line) else "native"
    try:
        statement = only_statement(text) if number is None else find_query(text, number)
    except SqlFileError as error:
        raise QueryFailed(f"{path} {error}") from error
    return Query(statement, dialect)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise QueryFailed(f"Cannot read the queries in {path}: {error}") from error


def only_statement(text: str) -> str:
    """The statement of a text that has no other; its `;` may be missing.

    Raises:
        SqlFileError: there is none, or more than one.
    """
    statement, rest = split_statement(f"{text}\n;")
    if not statement:
        raise SqlFileError("has no statement")
    if any(token.lastgroup == "code" for token in _TOKEN.finditer(rest)):
        raise SqlFileError(
            "has more than one statement: keep one, or name one of several below headings"
            " '-- Query N: ...' with FILE#N"
        )
    return statement


def find_query(text: str, number: int) -> str:
    """The statement below the heading `-- Query N:`, without the comments above it and the `;`.

    Raises:
        SqlFileError: there is no such heading or complete statement, or more than one.
    """
    heading = f"'-- Query {number}: ...'"
    sections = [section for found, section in _sections(text) if found == number]
    if not sections:
        raise SqlFileError(f"has no line {heading} above Query {number}")
    if len(sections) > 1:
        raise SqlFileError(f"has two lines {heading}: keep one of them")
    statement, rest = split_statement(sections[0])
    if not statement:
        raise SqlFileError(f"has no complete statement below {heading}")
    if any(token.lastgroup == "code" for token in _TOKEN.finditer(rest)):
        raise SqlFileError(f"has more than one statement below {heading}: keep one of them")
    return statement


def split_statement(sql: str) -> tuple[str, str]:
    """Split after the first `;` outside of literals and comments.

    Returns:
        The statement, without the comments above it and the `;`, and what follows. The
        statement is empty if it has no end or consists of comments.
    """
    start: int | None = None
    for token in _TOKEN.finditer(sql):
        if token.lastgroup == "code" and start is None:
            start = token.start()
        elif token.lastgroup == "end":
            statement = "" if start is None else sql[start : token.start()].rstrip()
            return statement, sql[token.end() :]
    return "", ""


def _sections(text: str) -> Iterator[tuple[int, str]]:
    """Each heading's number and the text from there to the next heading."""
    headings = [
        (int(match[1]), token)
        for token in _TOKEN.finditer(text)
        if token.lastgroup == "comment"
        and (match := _HEADING.match(token.group()))
        and (token.start() == 0 or text[token.start() - 1] == "\n")
    ]
    ends = [*(token.start() for _, token in headings), len(text)][1:]
    for (number, token), end in zip(headings, ends, strict=False):
        yield number, text[token.end() : end]
