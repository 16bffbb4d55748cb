"""The settings of `cli.py serve`."""

from __future__ import annotations

import pytest

from integration.config.converting import ConfigurationError
from integration.config.service_settings import ServiceSettings, load_service_settings

TOKEN = "a-token-of-the-tests"


def refused(values: dict[str, str]) -> str:
    """The message for these variables."""
    with pytest.raises(ConfigurationError) as caught:
        load_service_settings(values)
    return str(caught.value)


def test_without_any_only_this_machine_is_served() -> None:
    """On port 8000, with names."""
    assert load_service_settings({}) == ServiceSettings(
        service_token=None, service_host="127.0.0.1", service_port=8000, service_masked=False
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "window.example.com"])
def test_another_host_needs_a_token(host: str) -> None:
    """The window shows personal data."""
    assert "SERVICE_TOKEN is not set" in refused({"SERVICE_HOST": host})
    settings = load_service_settings({"SERVICE_HOST": host, "SERVICE_TOKEN": TOKEN})
    assert settings.service_host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_this_machine_needs_none(host: str) -> None:
    """By any of its loopback names."""
    assert load_service_settings({"SERVICE_HOST": host}).service_host == host


def test_the_token_is_never_shown() -> None:
    """Neither in the repr nor when it is refused."""
    assert TOKEN not in repr(load_service_settings({"SERVICE_TOKEN": TOKEN}))
    assert "two words" not in refused({"SERVICE_TOKEN": "two words"})


@pytest.mark.parametrize(
    ("name", "value"), [("SERVICE_PORT", "65536"), ("SERVICE_PORT", "x"), ("SERVICE_MASKED", "2")]
)
def test_a_wrong_value_names_its_variable(name: str, value: str) -> None:
    """With what was expected."""
    assert refused({name: value}).startswith(f"{name} is '{value}'")
