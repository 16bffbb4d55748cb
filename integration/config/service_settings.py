"""The settings of `cli.py serve`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from integration.config.converting import ConfigurationError, accepts, converted
from integration.config.values import checked_api_key, true_or_false, whole_number
from integration.core.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Field names are the variables in lower case; the token has no repr."""

    service_token: str | None = field(
        default=None,
        repr=False,
        metadata=accepts(checked_api_key, "a token: printable ASCII, no spaces"),
    )
    service_host: str = field(
        default="127.0.0.1", metadata=accepts(str, "an address of this machine")
    )
    service_port: int = field(
        default=8000, metadata=accepts(whole_number(0, 65535), "a whole number from 0 to 65535")
    )
    service_masked: bool = field(default=False, metadata=accepts(true_or_false, "true or false"))


SERVICE_FIELDS = {setting.name.upper(): setting for setting in fields(ServiceSettings)}
SERVICE_VARIABLES = tuple(SERVICE_FIELDS)
SERVICE_SECRET_VARIABLES = frozenset({"SERVICE_TOKEN"})


def load_service_settings(values: Mapping[str, str]) -> ServiceSettings:
    """Check and convert the variables.

    Raises:
        ConfigurationError: some do not parse, or personal data would be open to other machines.
    """
    settings = ServiceSettings(**converted(values, SERVICE_FIELDS, SERVICE_SECRET_VARIABLES))
    if settings.service_token is None and not is_loopback(settings.service_host):
        raise ConfigurationError(
            f"SERVICE_TOKEN is not set, and the window shows personal data: set it to serve on"
            f" {settings.service_host}, or serve on 127.0.0.1"
        )
    return settings
