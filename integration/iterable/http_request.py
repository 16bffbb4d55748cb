"""Writing HTTP/1.1 requests to one address."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTENT_TYPE = "Content-Type: application/json"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class RequestWriter:
    """Writes requests to `base_url`, an origin.

    Args:
        headers: those of every request.
        through_proxy: whether the requests are given to a proxy, without a tunnel through it.
    """

    def __init__(
        self, base_url: str, headers: Mapping[str, str], *, through_proxy: bool = False
    ) -> None:
        self._origin = base_url if through_proxy else ""
        # Nothing that would have to be decompressed.
        standard = {"Host": _host(base_url), "Accept-Encoding": "identity"}
        self._headers = _lines(standard | dict(headers))

    def write(self, path: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        """A POST with a JSON body, or a GET without one.

        Raises:
            ValueError: a header contains a line break or a character outside of Latin-1.
        """
        method = "GET" if body is None else "POST"
        lines = [f"{method} {self._origin}{path} HTTP/1.1", *self._headers, *_lines(headers)]
        if body is not None:
            lines += [_CONTENT_TYPE, f"Content-Length: {len(body)}"]
        head = "\r\n".join(lines)
        if not head.count("\r") == head.count("\n") == len(lines) - 1:
            raise ValueError("a header contains a line break")
        return b"%b\r\n\r\n%b" % (head.encode("latin-1"), body or b"")


def _lines(headers: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


def _host(base_url: str) -> str:
    """The `Host` header: without the scheme's port."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if not host.isascii():
        host = host.encode("idna").decode()
    if ":" in host:
        host = f"[{host.partition('%')[0]}]"
    is_default = parts.port in (None, _DEFAULT_PORTS.get(parts.scheme.lower()))
    return host if is_default else f"{host}:{parts.port}"
