"""JSON with exact numbers."""

from __future__ import annotations

import json
import re
from typing import NoReturn

import orjson

# orjson makes a float of an integer that needs more than 64 bits: a customer id would change.
_LONG_NUMBER = re.compile(rb"[0-9]{20}")


def loads(content: bytes) -> object:
    """Decode JSON; integers keep all their digits.

    Raises:
        ValueError: this is not JSON; the message does not contain the text.
    """
    try:
        if _LONG_NUMBER.search(content) is None:
            return orjson.loads(content)
        decoded: object = json.loads(content, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at position {error.pos}") from None
    return decoded


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
