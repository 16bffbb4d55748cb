"""JSON with exact numbers."""

from __future__ import annotations

import codecs
import json
from typing import NoReturn

import orjson

# orjson makes a float of an integer that needs more than 64 bits: a customer id would change.
# Looking for so many digits this way costs a tenth of a regular expression.
_LONG_NUMBER = b"0" * 20
_DIGITS_TO_ZERO = bytes(ord("0") if chr(byte) in "0123456789" else 0 for byte in range(256))


def loads(content: bytes) -> object:
    """Decode JSON, after a byte order mark if there is one; integers keep all their digits.

    Raises:
        ValueError: this is not JSON; the message does not contain the text.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        if _LONG_NUMBER not in content.translate(_DIGITS_TO_ZERO):
            return orjson.loads(content)
        decoded: object = json.loads(content, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at position {error.pos}") from None
    return decoded


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
