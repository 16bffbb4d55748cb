"""Replaces secrets in any text that leaves the process: logs, errors, recorded answers."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "***"
# Shorter values stand in too many innocent words to be masked, and are no secrets.
SHORTEST_SECRET = 4
# A JSON Web Token: base64url of '{"', then two more parts. RFC 7519, section 3.
_JSON_WEB = r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"


# What stands before the host of a URL: a proxy's password, say. RFC 3986, section 3.2.1.
_USER_INFO = r"(?<=://)[^/@\n]+(?=@)"


class SecretMask:
    """A function of text that puts `***` in the place of every known secret and every JWT.

    A secret is found as it is and as JSON, a URL, HTML and Python write it.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _written_forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile(
            "|".join([*map(re.escape, longest_first), _JSON_WEB, _USER_INFO])
        )

    def __call__(self, text: str) -> str:
        """`text` without secrets."""
        return self._pattern.sub(MASK, text)

    def __repr__(self) -> str:
        return "SecretMask()"


def _written_forms(secret: str) -> set[str]:
    if len(secret) < SHORTEST_SECRET:
        return set()
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        quote(secret, safe="", errors="surrogateescape"),
        quote(secret, errors="surrogateescape"),
        quote_plus(secret, errors="surrogateescape"),
        repr(secret)[1:-1],
        # Beside both kinds of quotes, repr escapes its own kind.
        repr("'\"" + secret)[len("''\"\\") : -1],
    }
