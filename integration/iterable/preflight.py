"""Checks of the settings and environment for Iterable before a run does anything."""

from __future__ import annotations

from integration.config.converting import ConfigurationError
from integration.iterable.authentication import SecretError, check_secret
from integration.iterable.route import RouteError, route_to, tls_context


def check_route(base_url: str) -> None:
    """Check that the environment's proxy and CA bundle can be used.

    Raises:
        ConfigurationError: names the variable.
    """
    try:
        route = route_to(base_url)
        if route.ca_bundle is not None:
            tls_context(route)
    except RouteError as error:
        raise ConfigurationError(str(error)) from error


def check_jwt_secret(secret: str | None) -> None:
    """Check that tokens can be signed, if the run uses them.

    Raises:
        ConfigurationError: ITERABLE_JWT_SECRET cannot be used.
    """
    if secret is None:
        return
    try:
        check_secret(secret)
    except SecretError as error:
        raise ConfigurationError(f"ITERABLE_JWT_SECRET {error}") from error
