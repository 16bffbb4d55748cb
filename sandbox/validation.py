"""What a body must look like. Pure checks; a refusal is raised as `RefusedError`."""

from __future__ import annotations

import re
from typing import Any

from sandbox.answers import RefusedError, bad_json, bad_params

MAX_BODY_BYTES = 4_000_000
MAX_EMAIL_LENGTH = 255
MAX_EVENT_ID_BYTES = 512

# One @, no white space, a dotted domain, and no top-level domain that is reserved for tests.
_EMAIL = re.compile(r"[^\s@]+@(?:[^\s@.]+\.)+(?!(?:test|invalid)\Z)[^\s@.]+")
_EVENT_ID = re.compile(r"[A-Za-z0-9-]+")
_ITEM_FLAGS = ("mergeNestedObjects", "preferUserId", "createNewFields")


def is_valid_email(email: str) -> bool:
    """Return whether Iterable would accept a (lower case) address."""
    return len(email) <= MAX_EMAIL_LENGTH and _EMAIL.fullmatch(email) is not None


def is_valid_event_id(event_id: str) -> bool:
    """Return whether an event id consists of letters, digits and hyphens, at most 512."""
    return len(event_id) <= MAX_EVENT_ID_BYTES and _EVENT_ID.fullmatch(event_id) is not None


def object_body(body: object, path: str) -> dict[str, Any]:
    """Return the body when it is a JSON object."""
    if not isinstance(body, dict):
        raise RefusedError(bad_json(path, {"obj": "Object value expected"}))
    return body


def items_of(body: dict[str, Any], name: str, path: str) -> list[dict[str, Any]]:
    """Return the records of a bulk call."""
    items = body.get(name)
    if not isinstance(items, list):
        raise RefusedError(bad_json(path, {f"obj.{name}": "Array value expected"}))
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise RefusedError(bad_json(path, {f"obj.{name}[{index}]": "Object value expected"}))
    return items


def email_of(item: dict[str, Any], path: str, where: str) -> str:
    """Return a record's address in lower case, valid or not."""
    email = item.get("email")
    if isinstance(email, str):
        return email.lower()
    if email is None:
        raise RefusedError(bad_params("An email is required: the project is email-based"))
    raise RefusedError(bad_json(path, {f"{where}.email": "String value expected"}))


def data_fields_of(item: dict[str, Any], path: str, where: str) -> dict[str, Any]:
    """Return a record's `dataFields`, after checking its flags."""
    for flag in _ITEM_FLAGS:
        if flag in item and not isinstance(item[flag], bool):
            raise RefusedError(bad_json(path, {f"{where}.{flag}": "Boolean value expected"}))
    data = item.get("dataFields")
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise RefusedError(bad_json(path, {f"{where}.dataFields": "Object value expected"}))
    return data


def event_name_of(item: dict[str, Any], path: str, where: str) -> str:
    """Return an event's name."""
    name = item.get("eventName")
    if not isinstance(name, str):
        raise RefusedError(bad_json(path, {f"{where}.eventName": "String value expected"}))
    if not name:
        raise RefusedError(bad_params("eventName must not be empty"))
    return name


def event_id_of(item: dict[str, Any], path: str, where: str) -> str | None:
    """Return an event's id, or None when Iterable has to create one."""
    event_id = item.get("id")
    if event_id is None:
        return None
    if not isinstance(event_id, str):
        raise RefusedError(bad_json(path, {f"{where}.id": "String value expected"}))
    if not is_valid_event_id(event_id):
        raise RefusedError(bad_params("Event id may hold letters, digits and hyphens, at most 512"))
    return event_id


def created_at_of(item: dict[str, Any], path: str, where: str) -> int | None:
    """Return an event's time in unix seconds, or None when it has none."""
    created_at = item.get("createdAt")
    if created_at is None or type(created_at) is int:
        return created_at
    raise RefusedError(bad_json(path, {f"{where}.createdAt": "Integer value expected"}))
