"""The settings of notifications and pings, for `main.py` and `cli.py run`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from integration.config.converting import accepts, converted
from integration.config.thresholds import ALLOWED, Thresholds, thresholds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# A comma or a space may stand in an address; one before another address separates two.
_BETWEEN_URLS = re.compile(r"[\s,]+(?=[a-z][a-z0-9+]*://)", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+]*://\S+", re.IGNORECASE)
_WEB_URL = re.compile(r"https?://[^\s/?#]+[^\s#]*", re.IGNORECASE)
# Parts of an address that may be a token; shorter ones are common words.
_MIN_TOKEN = 8


def notify_urls(text: str) -> tuple[str, ...]:
    """The addresses of Apprise, separated by spaces or commas."""
    found = tuple(_BETWEEN_URLS.split(text.strip()))
    if not all(_URL.fullmatch(url) for url in found):
        raise ValueError("not an address")
    return found


def web_address(text: str) -> str:
    """An http or https address, with a path or without."""
    if not _WEB_URL.fullmatch(text):
        raise ValueError("not an address")
    _ = urlsplit(text).port  # raises a ValueError if it is invalid
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """Field names are the variables in lower case; addresses have no repr, they contain tokens."""

    notify_urls: tuple[str, ...] = field(
        default=(),
        repr=False,
        metadata=accepts(
            notify_urls, "addresses of Apprise separated by spaces, such as mailto://…"
        ),
    )
    notify_when: Thresholds = field(default=Thresholds(), metadata=accepts(thresholds, ALLOWED))
    notify_name: str | None = field(default=None, metadata=accepts(str, "a name"))
    healthcheck_url: str | None = field(
        default=None,
        repr=False,
        metadata=accepts(web_address, "an http or https address"),
    )

    @property
    def is_set(self) -> bool:
        """Whether a run has to tell of itself."""
        return bool(self.notify_urls or self.healthcheck_url)

    def secrets(self) -> set[str]:
        """The values that must never appear in a log, an error or a file."""
        urls = [*self.notify_urls, *filter(None, [self.healthcheck_url])]
        return {secret for url in urls for secret in _secrets_of(url)}


NOTIFY_FIELDS = {setting.name.upper(): setting for setting in fields(NotifySettings)}
NOTIFY_VARIABLES = tuple(NOTIFY_FIELDS)
NOTIFY_SECRET_VARIABLES = frozenset({"NOTIFY_URLS", "HEALTHCHECK_URL"})


def load_notify_settings(values: Mapping[str, str]) -> NotifySettings:
    """Check and convert the variables.

    Raises:
        ConfigurationError: some do not parse.
    """
    return NotifySettings(**converted(values, NOTIFY_FIELDS, NOTIFY_SECRET_VARIABLES))


def _secrets_of(url: str) -> Iterator[str]:
    """The address, and its parts that may be tokens: a part with a dot is the name of a host."""
    rest = url.partition("://")[2]
    yield url
    yield rest
    login, at_sign, _ = re.split(r"[/?#]", rest)[0].rpartition("@")
    if at_sign:
        _, _, password = login.partition(":")
        yield from (login, password, unquote(password))
    for part in re.split(r"[/?&=@:#,]", rest):
        if len(part) >= _MIN_TOKEN and "." not in part and part != "localhost":
            yield from (part, unquote(part))
