"""Masks secrets in all text that leaves the process: logs, errors, recorded responses."""

from __future__ import annotations

import base64
import html
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MASK = "***"
# The `extra` of a log record with personal data, which goes to the file but not to the console.
FILE_ONLY = {"file_only": True}
# Shorter values occur in ordinary words, and are not secrets.
MIN_SECRET = 4
# A JSON Web Token: base64url of '{"', then two more parts. RFC 7519, section 3.
_JWT_START = "eyJ"
_JWT = rf"{_JWT_START}[\w-]{{8,}}\.[\w-]+\.[\w-]*"
# User and password in a URL, of a proxy for example. RFC 3986, section 3.2.1.
_USER_INFO_START = "://"
_USER_INFO = rf"(?<={_USER_INFO_START})[^/@\n]+(?=@)"


class SecretMask:
    """Replaces every known secret, and every JWT, in a text by `***`.

    Secrets are found literally and as escaped in JSON, URLs, HTML and Python.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in written_forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join([*map(re.escape, longest_first), _JWT, _USER_INFO]))
        # A text without any of these has no match. Searching for them is much faster.
        self._marks = (*longest_first, _JWT_START, _USER_INFO_START)

    def __call__(self, text: str) -> str:
        """`text` with secrets masked."""
        for mark in self._marks:
            if mark in text:
                return self._pattern.sub(MASK, text)
        return text

    def __repr__(self) -> str:
        return "SecretMask()"


def proxy_secrets(environment: Mapping[str, str]) -> set[str]:
    """The passwords of all proxies: alone, with their user, and as in a header."""
    found: set[str] = set()
    for user, password in _proxy_logins(environment):
        login = f"{user}:{password}"
        found |= {password, login, *_basic_credentials(login)}
    return found


def proxy_users(environment: Mapping[str, str]) -> set[str]:
    """The users of all proxies. They may be common words: mask them only in a proxy's messages."""
    return {user for user, _ in _proxy_logins(environment)}


def _proxy_logins(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """User and password of each proxy, as written and percent-decoded."""
    for name, value in environment.items():
        if not name.lower().endswith("_proxy"):
            continue
        login, at_sign, _ = value.split("://", 1)[-1].rpartition("@")
        if at_sign:
            user, _, password = login.partition(":")
            yield user, password
            yield unquote(user), unquote(password)


def _basic_credentials(login: str) -> set[str]:
    """What follows `Basic` in a header. RFC 7617, section 2, does not fix the character set."""
    encoded = [login.encode("utf-8", "surrogateescape")]
    with suppress(UnicodeEncodeError):
        encoded.append(login.encode("latin-1"))
    # Messages may omit the padding.
    padded = {base64.b64encode(form).decode() for form in encoded}
    return padded | {form.rstrip("=") for form in padded}


def written_forms(secret: str, min_length: int = MIN_SECRET) -> set[str]:
    """A value as it may stand in a text: literally, and as escaped in JSON, URLs, HTML, Python."""
    if len(secret) < min_length:
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
        # In a text with both kinds of quotes, repr escapes one kind.
        repr("'\"" + secret)[len("''\"\\") : -1],
    }
