"""Sources of the ingest, as tests need them."""

from __future__ import annotations

from integration.ingest.sources import KINDS, BaseSource, CsvSource, HttpSource, JsonlSource

_NEEDED: dict[str, dict[str, object]] = {
    "http": {"url": "http://127.0.0.1/"},
    "csv": {"path": "file.csv"},
    "jsonl": {"path": "file.jsonl"},
}


def source_of(kind: str, entity: str, **keys: object) -> HttpSource | CsvSource | JsonlSource:
    """A checked source called "crm" with these keys and what its kind needs."""
    table = {"name": "crm", "kind": kind, "entity": entity, **_NEEDED[kind], **keys}
    return KINDS[kind].model_validate(table)


def customers(**keys: object) -> BaseSource:
    """A source of customers."""
    return source_of("csv", "customers", **keys)


def page_views(**keys: object) -> BaseSource:
    """A source of page views."""
    return source_of("csv", "page_views", **keys)
