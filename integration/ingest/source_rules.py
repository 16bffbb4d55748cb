"""What one key of `sources.toml` means for another. Pure; works on tables as they were written."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple, get_args

from integration.ingest.sources import (
    COLUMNS,
    KINDS,
    REFERENCE_FIELDS,
    Auth,
    Cursor,
    PageSize,
    Pagination,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import BaseModel

Table = dict[str, object]
# A longer list of possible keys is not shown.
MAX_NAMED = 8
_NESTED: dict[str, type[BaseModel]] = {"auth": Auth, "cursor": Cursor, "page_size": PageSize}


class Mistake(NamedTuple):
    """Something to correct.

    Attributes:
        path: of the key, from the name of the source on.
        text: what follows the key in a message.
    """

    path: tuple[str, ...]
    text: str


def rule_mistakes(tables: Mapping[str, Table]) -> Iterator[Mistake]:
    """The keys that do not go together, in each source and between sources."""
    for name, table in tables.items():
        rules = (_entity_rules, _key_rules, _kind_rules, _parameter_rules, _field_rules)
        for rule in rules:
            for key, text in rule(table):
                yield Mistake((name, *key), text)
    yield from _owner_rules(tables)
    yield from _reference_rules(tables)


def unknown_key(table: Table, path: tuple[str, ...]) -> str:
    """What to say about a key that does not exist."""
    key = path[-1]
    kinds = [f'"{kind}"' for kind, model in KINDS.items() if key in keys_of(model)]
    if len(path) == 1 and kinds:
        return f"is for kind = {' or '.join(kinds)} only"
    return _not_known(key, _known_keys(table, path), "key")


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys of a table, without the name, which stands in its heading."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    return [name for name in names if name != "name"]


def _known_keys(table: Table, path: tuple[str, ...]) -> list[str]:
    if len(path) == 1:
        return keys_of(KINDS[str(table["kind"])])
    if path[0] in _NESTED:
        return keys_of(_NESTED[path[0]])
    pagination = table.get("pagination")
    kind = pagination.get("kind") if isinstance(pagination, dict) else None
    models = get_args(get_args(Pagination)[0])
    return [key for model in models if kind in _kinds_of(model) for key in keys_of(model)]


def _kinds_of(model: type[BaseModel]) -> tuple[object, ...]:
    return get_args(model.model_fields["kind"].annotation)


def _not_known(name: str, known: Iterable[str], what: str) -> str:
    known = list(known)
    close = get_close_matches(name, known, 1)
    expected = ", ".join(known) if len(known) <= MAX_NAMED else "one of sources.example.toml"
    hint = f"did you mean {close[0]}?" if close else f"expected {expected}"
    return f"is not a {what}; {hint}"


_Found = tuple[tuple[str, ...], str]


def _entity_rules(table: Table) -> Iterator[_Found]:
    others = {"customers": ("customer", "customer_source"), "page_views": ("owns_ids",)}
    entity = table.get("entity")
    if isinstance(entity, str):
        other = "page_views" if entity == "customers" else "customers"
        for key in others.get(entity, ()):
            if key in table:
                yield (key,), f'is for entity = "{other}" only'


def _kind_rules(table: Table) -> Iterator[_Found]:
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        kinds = " or ".join(f'"{name}"' for name in KINDS)
        yield ("kind",), f"must be {kinds}"
    elif "name" in table:
        yield ("name",), unknown_key(table, ("name",))


def _key_rules(table: Table) -> Iterator[_Found]:
    for key in ("owns_ids", "delete_missing"):
        if table.get(key) is True and "key" not in table:
            yield (key,), "needs key, the path of the source's own key"
    if table.get("sorted") is True and "cursor" not in table:
        yield ("sorted",), "needs cursor, by which the records are sorted"
    if "customer_source" in table and table.get("customer") != "key":
        yield ("customer_source",), 'needs customer = "key"'


def _parameter_rules(table: Table) -> Iterator[_Found]:
    """Each query parameter has one meaning."""
    seen: dict[str, str] = {}
    for key in ("pagination", "page_size", "cursor"):
        value = table.get(key)
        parameter = value.get("parameter") if isinstance(value, dict) else None
        if isinstance(parameter, str):
            if parameter in seen:
                yield (key, "parameter"), f"is the same as {seen[parameter]}.parameter"
            seen.setdefault(parameter, key)


def _field_rules(table: Table) -> Iterator[_Found]:
    fields, entity = table.get("fields"), table.get("entity")
    if not isinstance(fields, dict) or not isinstance(entity, str):
        return
    known = _our_fields(table, entity)
    for name in fields if known else ():
        if name == "id":
            yield ("fields", name), "is not a field; set key to the path of the source's own key"
        elif name not in known:
            yield (
                ("fields", name),
                _reference_text(name, entity) or _not_known(name, known, "field"),
            )


def _reference_text(name: str, entity: str) -> str | None:
    """What to say about a field that needs another value of the key `customer`."""
    for customer, field in REFERENCE_FIELDS.items():
        if name == field and entity == "page_views":
            return f'needs customer = "{customer}"'
    return None


def _our_fields(table: Table, entity: str) -> list[str]:
    columns = dict(COLUMNS.items()).get(entity, ())  # type: ignore[call-overload]  # any text
    if entity != "page_views":
        return list(columns)
    reference = dict(REFERENCE_FIELDS.items()).get(table.get("customer", "id"))  # type: ignore[call-overload]  # any value
    return [reference, *columns] if reference else []


def _owner_rules(tables: Mapping[str, Table]) -> Iterator[Mistake]:
    owners = [name for name, table in tables.items() if table.get("owns_ids") is True]
    for name in owners[1:]:
        yield Mistake((name, "owns_ids"), f"is set for {owners[0]} already; one source owns ids")


def _reference_rules(tables: Mapping[str, Table]) -> Iterator[Mistake]:
    """A view that names its customer by key needs to know whose key it is."""
    choices = keyed_customer_sources(tables)
    for name, table in tables.items():
        if table.get("customer") != "key":
            continue
        if "customer_source" not in table and len(choices) != 1:
            yield Mistake((name, "customer"), "needs customer_source, a customers source with key")
        elif table.get("customer_source", choices[0] if choices else None) not in choices:
            expected = ", ".join(choices) or "one; there is none"
            text = f"must be a customers source with key: {expected}"
            yield Mistake((name, "customer_source"), text)


def keyed_customer_sources(tables: Mapping[str, Table]) -> list[str]:
    """The sources of customers that have keys of their own."""
    return [
        name
        for name, table in tables.items()
        if table.get("entity") == "customers" and "key" in table
    ]
