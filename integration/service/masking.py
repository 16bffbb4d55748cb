"""Hiding names and emails, for a screen that others can see. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What identifies a person in the answers.
PERSONAL = frozenset({"email", "first_name", "last_name", "candidate"})
_HIDDEN = "…"


def mask_email(email: str) -> str:
    """The first character and the domain: `a…@example.com`."""
    name, at, domain = email.rpartition("@")
    return f"{name[:1]}{_HIDDEN}@{domain}" if at else mask_name(email)


def mask_name(name: str) -> str:
    """The first character."""
    return f"{name[:1]}{_HIDDEN}" if name else name


def mask_key(key: object) -> object:
    """A source's key; hidden if it is an email."""
    return mask_email(key) if isinstance(key, str) and "@" in key else key


def mask_text(text: str, personal: Sequence[str]) -> str:
    """A text in which these values are hidden, in any case."""
    longest_first = sorted(filter(None, personal), key=len, reverse=True)
    if not longest_first:
        return text
    pattern = "|".join(map(re.escape, longest_first))
    return re.sub(pattern, lambda found: mask_email(found[0]), text, flags=re.IGNORECASE)


def masked(item: Mapping[str, object]) -> dict[str, object]:
    """A row with its personal values hidden."""
    return {name: _mask(name, value) for name, value in item.items()}


def _mask(name: str, value: object) -> object:
    if name not in PERSONAL or not isinstance(value, str):
        return value
    return mask_email(value) if name == "email" else mask_name(value)
