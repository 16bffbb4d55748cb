"""On which line of a TOML text a key is; tomllib does not say. Pure."""

from __future__ import annotations

import re

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_KEY = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADING = re.compile(rf"[ \t]*\[\[?[ \t]*({_KEY})[ \t]*\]")
_ASSIGNMENT = re.compile(rf"[ \t]*({_KEY})[ \t]*=")

Key = tuple[str, ...]


def key_lines(text: str) -> dict[Key, int]:
    """The line, from 1, of each table and key; of a key in an inline table, that of the table.

    Lines inside a multi-line string are taken for keys, if they look like it.
    """
    found: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if heading := _HEADING.match(line):
            table = key = _parts(heading[1])
        elif assignment := _ASSIGNMENT.match(line):
            key = (*table, *_parts(assignment[1]))
        else:
            continue
        for length in range(1, len(key) + 1):
            found.setdefault(key[:length], number)
    return found


def line_of(key: Key, lines: dict[Key, int]) -> int | None:
    """The line of a key, else of the innermost table around it, or None."""
    around = (key[:length] for length in range(len(key), 0, -1))
    return next((lines[part] for part in around if part in lines), None)


def _parts(key: str) -> Key:
    return tuple(part.strip("\"'") for part in re.findall(_PART, key))
