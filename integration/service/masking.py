"""Hiding names and emails, for a screen that others can see. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# What identifies a person in the answers.
PERSONAL = frozenset({"email", "first_name", "last_name"})
_HIDDEN = "…"


def mask_email(email: str) -> str:
    """The first character and the domain: `a…@example.com`."""
    name, at, domain = email.rpartition("@")
    return f"{name[:1]}{_HIDDEN}@{domain}" if at else mask_name(email)


def mask_name(name: str) -> str:
    """The first character."""
    return f"{name[:1]}{_HIDDEN}" if name else name


def masked(item: Mapping[str, object]) -> dict[str, object]:
    """A row with its personal values hidden."""
    return {name: _mask(name, value) for name, value in item.items()}


def _mask(name: str, value: object) -> object:
    if name not in PERSONAL or not isinstance(value, str):
        return value
    return mask_email(value) if name == "email" else mask_name(value)
