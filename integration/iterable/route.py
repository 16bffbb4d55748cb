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
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from urllib3.util import parse_url
from urllib3.util.ssl_ import ALPN_PROTOCOLS, create_urllib3_context

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
        ca_bundle: the CA bundle that the environment names; without one, requests' own is used.
        ca_variable: the variable to name in messages about certificates.
    """

    proxies: Mapping[str, str] = field(repr=False)
    proxy_variable: str
    ca_bundle: str | None
    ca_variable: str


def route_to(base_url: str) -> Route:
    """Read the environment as requests does: HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, ….

    The CA bundle is not read yet: see `tls_context`.

    Raises:
        RouteError: the proxy for this address cannot be used.
    """
    parts = urlsplit(base_url)
    # A proxy cannot reach this machine's loopback address, where the mock server is.
    loopback = is_loopback(parts.hostname or "")
    proxy = None if loopback else select_proxy(base_url, get_environ_proxies(base_url))
    proxy_variable = _proxy_variable(parts.scheme, proxy)
    ca_variable = next((name for name in _CA_VARIABLES if os.environ.get(name)), "")
    return Route(
        proxies={parts.scheme: _proxy_url(proxy_variable, proxy)} if proxy else {},
        proxy_variable=proxy_variable,
        ca_bundle=os.environ[ca_variable] if ca_variable and parts.scheme == "https" else None,
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


def tls_context(route: Route) -> ssl.SSLContext:
    """What all connections of a route need for TLS, with the CA certificates loaded.

    Loading them takes tens of milliseconds and a megabyte, which urllib3 spends on each connection
    if it is not given a context.

    Raises:
        RouteError: the CA bundle cannot be used.
    """
    context = create_urllib3_context()
    _load_certificates(context, route.ca_variable, route.ca_bundle or DEFAULT_CA_BUNDLE_PATH)
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    # urllib3 does so for each connection, while other threads may be connecting.
    context.set_alpn_protocols = _do_nothing  # type: ignore[assignment,method-assign]
    return context


def _do_nothing(_: object) -> None:
    pass


def _load_certificates(context: ssl.SSLContext, variable: str, path: str) -> None:
    expected = "expected the path of a CA bundle in PEM form"
    is_folder = Path(path).is_dir()
    try:
        context.load_verify_locations(*((None, path) if is_folder else (path,)))
    except ssl.SSLError as error:
        raise RouteError(
            f"{variable} is {path!r}, which holds no certificate, {expected}"
        ) from error
    except OSError as error:
        raise RouteError(f"{variable} is {path!r} ({error.strerror}), {expected}") from error
