"""Origins and targets of URLs. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, so that equal origins are equal texts.

    Raises:
        ValueError: the URL has no host, or a port that is none.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    scheme = parts.scheme.lower()
    if not host or scheme not in _DEFAULT_PORTS:
        raise ValueError("the URL has no http origin")
    host = f"[{host}]" if ":" in host else host
    port = parts.port or _DEFAULT_PORTS[scheme]
    return f"{scheme}://{host}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")


def path_and_query(url: str) -> str:
    """What a request for a URL asks its origin for."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
