"""Raw pages and files, decoded and judged without the product's code."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sandbox.source.records import DEVICES, PAGES, PLANS

if TYPE_CHECKING:
    from sandbox.source.records import Entity

Shape = Literal["json", "csv", "jsonl"]
Row = tuple[object, ...]

MAX_ID = 2**31 - 1


class Stored(NamedTuple):
    """What a good record must be in the database: its key, and the row without the view's id."""

    key: str
    row: Row


def decoded(shape: Shape, content: bytes) -> list[Any]:
    """The records of a page or file in their order; None for one that cannot be decoded."""
    if shape == "json":
        answer = json.loads(content)
        return list(answer["data"] if isinstance(answer, dict) else answer)
    lines = [line for line in content.split(b"\n") if line.strip()]
    if shape == "jsonl":
        return [_json_object(line) for line in lines]
    header = next(csv.reader([lines[0].decode()])) if lines else []
    return [_csv_record(line, header) for line in lines[1:]]


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _csv_record(line: bytes, header: list[str]) -> dict[str, Any] | None:
    try:
        (cells,) = csv.reader([line.decode().rstrip("\r")], strict=True)
    except (ValueError, csv.Error):
        return None
    return dict(zip(header, cells, strict=True)) if len(cells) == len(header) else None


def stored_as(entity: Entity, record: object, customers: int) -> Stored | None:
    """What a record must become, or None if it must be rejected; emails may still collide.

    Args:
        entity: what it is.
        record: as `decoded` returns it.
        customers: how many customers there are for page views, numbered from 1.
    """
    if not isinstance(record, dict):
        return None
    return _customer(record) if entity == "customers" else _view(record, customers)


def _customer(record: dict[str, Any]) -> Stored | None:
    number = _number(record.get("id"))
    email = record.get("email", record.get("contact", {}).get("email"))
    name = record.get("name", record)
    first, last = (name.get(part, name.get(f"{part}_name")) for part in ("first", "last"))
    texts = (email, first, last, record.get("candidate"))
    is_good = (
        number is not None
        and all(isinstance(text, str) for text in texts)
        and isinstance(email, str)
        and email.count("@") == 1
        and " " not in email
        and len(email) <= 255
        and all(len(str(text)) <= 100 for text in texts[1:])
        and record.get("plan_type") in PLANS
    )
    row = (number, email, first, last, record.get("plan_type"), record.get("candidate"))
    return Stored(str(number), row) if is_good else None


def _view(record: dict[str, Any], customers: int) -> Stored | None:
    customer = _customer_of(record)
    details = [record.get(name) for name in ("device", "browser", "location")]
    moment = _moment(record.get("event_time"))
    is_good = (
        customer is not None
        and customer <= customers
        and record.get("page") in PAGES
        and details[0] in DEVICES
        and all(isinstance(text, str) and len(text) <= 100 for text in details)
        and moment is not None
    )
    return (
        Stored(str(record["id"]), (customer, record["page"], moment, *details)) if is_good else None
    )


def _customer_of(record: dict[str, Any]) -> int | None:
    if "customer" in record:
        return _number(record["customer"].get("id"))
    name, _, domain = str(record.get("email", "")).partition("@")
    return _number(name.removeprefix("user")) if domain == "example.com" else None


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return value if type(value) is int and 1 <= value <= MAX_ID else None


def _moment(value: object) -> str | None:
    """The time as the column has it, if it can."""
    try:
        moment = datetime.fromisoformat(str(value)).astimezone(UTC)
    except ValueError:
        return None
    is_in_range = datetime(1971, 1, 1, tzinfo=UTC) < moment < datetime(2038, 1, 1, tzinfo=UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}" if is_in_range else None
