"""The values of settings: text that was set → typed value.

Each conversion raises ValueError for text that it cannot use.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urlsplit

from integration.core.hosts import is_loopback, parse_hosts

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

TRUE_WORDS = frozenset({"true", "1", "yes", "on", "t", "y"})
FALSE_WORDS = frozenset({"false", "0", "no", "off", "f", "n"})
_ORIGIN = re.compile(r"https?://[^\s/?#@]+/?", re.IGNORECASE)


def one_of(*words: str) -> Callable[[str], str]:
    """One of these words, in upper or lower case."""
    by_lower_case = {word.lower(): word for word in words}

    def convert(text: str) -> str:
        if text.lower() not in by_lower_case:
            raise ValueError(text)
        return by_lower_case[text.lower()]

    return convert


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """A whole number within these bounds."""

    def convert(text: str) -> int:
        # int() takes the digits of all scripts.
        number = int(text.encode("ascii"))
        if not lowest <= number <= highest:
            raise ValueError(text)
        return number

    return convert


def number_above(bound: float, highest: float = math.inf) -> Callable[[str], float]:
    """A finite number above a bound, up to the highest one."""

    def convert(text: str) -> float:
        number = float(text.encode("ascii"))
        if not (bound < number <= highest and math.isfinite(number)):
            raise ValueError(text)
        return number

    return convert


def auto_or(convert_number: Callable[[str], T]) -> Callable[[str], T | str]:
    """The word auto, or what the other conversion takes."""

    def convert(text: str) -> T | str:
        return "auto" if text.lower() == "auto" else convert_number(text)

    return convert


def true_or_false(text: str) -> bool:
    """True, false, or one of the usual words for them."""
    word = text.lower()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise ValueError(text)
    return word in TRUE_WORDS


def hosts(text: str) -> tuple[str, ...]:
    """At least one host."""
    found = parse_hosts(text)
    if not found:
        raise ValueError(text)
    return found


def readable_file(text: str) -> Path:
    """The path of a file that can be opened."""
    path = Path(text)
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(error) from error
    return path


class QueryFile(NamedTuple):
    """A file of SQL, and the number of the query in it; None if it has only one."""

    path: Path
    number: int | None = None


def query_file(text: str) -> QueryFile:
    """The path of a file that can be opened, or FILE#N."""
    name, mark, number = text.rpartition("#")
    if mark and number.isascii() and number.isdecimal() and name:
        return QueryFile(readable_file(name), int(number))
    return QueryFile(readable_file(text))


def journal_path(text: str) -> Path:
    """The path of a file that outlives the process."""
    path = Path(text)
    # SQLite's name for a database in memory.
    if str(path) == ":memory:":
        raise ValueError(text)
    return path


def checked_api_key(key: str) -> str:
    """The key, if it is valid in an HTTP header.

    Raises:
        ValueError: it is empty or not printable ASCII without spaces (RFC 9110, section 5.5).
    """
    if not key or not all("!" <= character <= "~" for character in key):
        raise ValueError("the API key is a value that is not shown, expected printable ASCII")
    return key


def checked_base_url(url: str) -> str:
    """The address without a trailing slash.

    Raises:
        ValueError: it is not an origin, or the key would be sent unencrypted.
    """
    if not _ORIGIN.fullmatch(url):
        raise ValueError("the base URL must consist of scheme, host and port")
    parts = urlsplit(url)
    # Reading the port raises a ValueError if it is invalid.
    host, _port = parts.hostname, parts.port
    if not host or not (parts.scheme == "https" or is_loopback(host)):
        raise ValueError("the base URL must be https, except for a loopback address")
    return url.rstrip("/")
