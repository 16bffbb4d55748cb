"""Who may read: a token, or loopback only; which request ids are kept. Pure."""

from __future__ import annotations

import re
import secrets
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from integration.core.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

OPEN_PATH = "/live"
# Each in a header of its own: Chromium reads the first one of a header only.
CHALLENGES = ('Bearer realm="window"', 'Basic realm="window", charset="UTF-8"')
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d+)?")


@dataclass(frozen=True, slots=True)
class Access:
    """The rule for requests.

    Attributes:
        token: what a client has to present; None serves clients of this machine without one.
    """

    token: str | None = field(default=None, repr=False)

    def allows(self, path: str, authorization: str | None) -> bool:
        """Whether a request for a path may be answered."""
        if self.token is None or path == OPEN_PATH:
            return True
        given = presented_token(authorization)
        return given is not None and secrets.compare_digest(given, self.token.encode())

    def serves_host(self, host: str | None) -> bool:
        """Whether the name by which the client knows this machine is expected.

        Without a token it has to be a loopback name, so that no site can reach the service through
        a visitor's browser and a name of its own (DNS rebinding).
        """
        return self.token is not None or is_loopback(host_name(host or ""))


def presented_token(authorization: str | None) -> bytes | None:
    """The token of an `Authorization` header: Bearer, or the password of Basic."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1", "replace")
    if scheme.lower() != "basic":
        return None
    try:
        _, separator, password = b64decode(value.strip(), validate=True).partition(b":")
    except (Base64Error, ValueError):
        return None
    return password if separator else None


def host_name(host: str) -> str:
    """The name in a `Host` header, without port and brackets; empty if it is not one."""
    found = _HOST.fullmatch(host)
    return found[1].strip("[]").lower() if found else ""


def request_id(headers: Mapping[str, str]) -> str:
    """The client's id of the request if it is harmless in a log, otherwise a new one."""
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else secrets.token_hex(8)
