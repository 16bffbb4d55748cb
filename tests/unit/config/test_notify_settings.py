"""The settings of notifications: what is accepted, and what of it is a secret."""

from __future__ import annotations

import pytest

from integration.config.converting import ConfigurationError
from integration.config.notify_settings import load_notify_settings
from integration.config.thresholds import Thresholds, thresholds
from integration.core.redaction import SecretMask

TELEGRAM = "tgram://123456789:abcdefg_hijklmnop/12315544/"
MAIL = "mailto://ops:pass,word@example.com?to=a@example.com,b@example.com"
SLACK = "slack://TokenA12345/TokenB12345/TokenC1234567890/#alerts"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("failed_percent>5", Thresholds(failed_percent=5)),
        (" Failed_percent > 0.5 % ", Thresholds(failed_percent=0.5)),
        ("empty_list", Thresholds(empty_list=True)),
        ("duration>1.5x,empty_list", Thresholds(empty_list=True, duration=1.5)),
        ("failed_percent>0, empty_list, duration>2x", Thresholds(0, empty_list=True, duration=2)),
    ],
)
def test_thresholds_are_read(text: str, expected: Thresholds) -> None:
    """Spaces and case do not matter."""
    assert thresholds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "failed", "failed_percent", "failed_percent>100", "failed_percent>-1"),
        *("failed_percent>5;empty_list", "duration>2", "duration>1x", "duration>x"),
        *("empty_list, empty_list", "failed_percent>5, failed_percent>6", "failed_percent>٥"),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    """The message names what is allowed."""
    with pytest.raises(ValueError):  # noqa: PT011  as of all conversions
        thresholds(text)
    if text:
        with pytest.raises(ConfigurationError, match=r"NOTIFY_WHEN is .*, expected thresholds"):
            load_notify_settings({"NOTIFY_WHEN": text})


def test_addresses_are_separated_by_spaces_or_commas() -> None:
    """A comma within an address is a part of it."""
    settings = load_notify_settings({"NOTIFY_URLS": f"{MAIL}, {SLACK}\n{TELEGRAM}"})
    assert settings.notify_urls == (MAIL, SLACK, TELEGRAM)


@pytest.mark.parametrize("value", ["ops@example.com", "json:/host", "mailto://a b"])
def test_what_is_no_address_is_refused_without_being_shown(value: str) -> None:
    """It may have a token."""
    with pytest.raises(ConfigurationError) as caught:
        load_notify_settings({"NOTIFY_URLS": value})
    assert value not in str(caught.value)


def test_tokens_are_secrets_and_hosts_are_not() -> None:
    """An email address of a log stays readable; the settings have no repr of an address."""
    check = "https://hc-ping.com/5f3c9e1a-0b7d-4c52-8e65-3d2b1a0f9c8e"
    settings = load_notify_settings(
        {"NOTIFY_URLS": f"{MAIL} {SLACK} {TELEGRAM}", "HEALTHCHECK_URL": check}
    )
    mask = SecretMask(settings.secrets())

    tokens = ["pass,word", "TokenC1234567890", "abcdefg_hijklmnop", check.rpartition("/")[2]]
    for secret in (*tokens, MAIL, SLACK, TELEGRAM, check):
        assert secret not in mask(f"to {secret}: failed")
        assert secret not in repr(settings)
    assert mask("ada@example.com at hc-ping.com") == "ada@example.com at hc-ping.com"
