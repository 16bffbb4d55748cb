"""The proxy and the CA bundle that the environment sets for requests to Iterable.

RouteError    the variable that the message names cannot be used
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3.util import parse_url

from integration.core.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class RouteError(ValueError):
    """A variable for proxy or CA that cannot be used; the message contains no credentials."""


@dataclass(frozen=True, slots=True)
class Route:
    """How requests reach Iterable.

    Attributes:
        proxies: as requests' adapter takes them.
        proxy_variable: the variable to name in messages about the proxy.
        verify: as requests' adapter takes it.
        ca_variable: the variable to name in messages about certificates.
    """

    proxies: Mapping[str, str] = field(repr=False)
    proxy_variable: str
    verify: str | bool
    ca_variable: str


def route_to(base_url: str) -> Route:
    """Read the environment as requests does: HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, ….

    Raises:
        RouteError: a variable that applies to this address cannot be used.
    """
    parts = urlsplit(base_url)
    # A proxy cannot reach this machine's loopback address, where the mock server is.
    loopback = is_loopback(parts.hostname or "")
    proxy = None if loopback else select_proxy(base_url, get_environ_proxies(base_url))
    proxy_variable = _proxy_variable(parts.scheme, proxy)
    ca_variable = next((name for name in _CA_VARIABLES if os.environ.get(name)), "")
    if ca_variable and parts.scheme == "https":
        _check_ca(ca_variable, os.environ[ca_variable])
    return Route(
        proxies={parts.scheme: _proxy_url(proxy_variable, proxy)} if proxy else {},
        proxy_variable=proxy_variable,
        verify=os.environ[ca_variable] if ca_variable else True,
        ca_variable=ca_variable or _CA_VARIABLES[0],
    )


def _proxy_variable(scheme: str, proxy: str | None) -> str:
    """The variable that sets this proxy, for the scheme or for all, in upper or lower case."""
    names = (f"{scheme}_proxy", "all_proxy")
    names_set = (name for name in os.environ if name.lower() in names and os.environ[name] == proxy)
    return next(names_set, f"{scheme}_proxy".upper())


def _proxy_url(variable: str, proxy: str) -> str:
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = parse_url(url)
        HTTPAdapter().proxy_headers(url)  # raises if a header cannot carry the login
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.host:
        raise RouteError(
            f"{variable} is a value that is not shown,"
            " expected an HTTP proxy such as http://proxy.example.com:3128"
        )
    return url


def _check_ca(variable: str, path: str) -> None:
    expected = "expected the path of a CA bundle in PEM form"
    if Path(path).is_dir():
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise RouteError(
            f"{variable} is {path!r}, which holds no certificate, {expected}"
        ) from error
    except OSError as error:
        raise RouteError(f"{variable} is {path!r} ({error.strerror}), {expected}") from error
