"""Where our fields are in a source's records, and what is new or gone there. Pure.

A path such as "contact.email" means the key "contact.email" if the record has it (a column of a
CSV file may have a dot in its name), else the key "email" in the object "contact".
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from integration.ingest.errors import SchemaError
from integration.ingest.sources import REFERENCE_FIELDS, CsvSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from integration.ingest.models import RawRecord
    from integration.ingest.sources import BaseSource

# A field that is gone from a smaller page may be empty in its few records.
MIN_RECORDS_TO_MISS = 20
# Between the cells of CSV files.
_DELIMITERS = ";\t|,"
KEY_FIELD = "key"
ABSENT = object()


class FieldChanges(NamedTuple):
    """How the fields of a page differ from those that are known.

    Attributes:
        new: paths that no earlier record had.
        warnings: a line for each optional field that seems to have been renamed or dropped, or that
            page does not have where the source says that it is.
    """

    new: tuple[str, ...]
    warnings: tuple[str, ...]


def lookup(record: object, path: str) -> object:
    """What a record has at a path, or `ABSENT`."""
    if not isinstance(record, dict):
        return ABSENT
    if path in record:
        return record[path]
    value: object = record
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value


def alias_of(path: str) -> list[list[str | int]]:
    """The same as `lookup`, as a validation alias of pydantic."""
    parts: list[str | int] = [*path.split(".")]
    return [[path], parts] if len(parts) > 1 else [parts]


def required_paths(source: BaseSource) -> dict[str, str]:
    """The paths of the fields without which a record cannot be stored."""
    names: tuple[str, ...] = ("email", "plan_type")
    if source.entity == "page_views":
        names = (REFERENCE_FIELDS[source.customer], "page", "event_time")
    key = {KEY_FIELD: source.key} if source.key else {}
    return key | {name: source.paths[name] for name in names}


def field_paths(records: Sequence[RawRecord]) -> frozenset[str]:
    """All paths of the records of a page, of objects as well as of what is in them."""
    objects = [record for record in records if type(record) is dict]
    return frozenset(_paths(objects))


def _paths(objects: Sequence[dict[str, object]]) -> set[str]:
    paths: set[str] = set().union(*objects)
    if dict not in set(map(type, chain.from_iterable(map(dict.values, objects)))):
        return paths
    for name in list(paths):
        inner = [value for value in (item.get(name) for item in objects) if type(value) is dict]
        paths.update(f"{name}.{path}" for path in _paths(inner))
    return paths


def compare_fields(
    source: BaseSource,
    records: Sequence[RawRecord],
    known: AbstractSet[str],
    *,
    found: frozenset[str] | None = None,
) -> FieldChanges:
    """Compare the fields of a page with those of all earlier pages.

    Args:
        source: with its paths, and its policy for new fields.
        records: those of the page; without a decoded one there are no changes.
        known: the paths of earlier pages; empty for a first page, where nothing counts as new.
        found: the paths of the fields of these records, if the caller has them already, also of a
            header without records.

    Raises:
        SchemaError: no record has a required field (in a small page of JSON: a field that is new
            to the source or seems to be renamed), or one has a new field and the source's schema
            is "freeze".
    """
    found = field_paths(records) if found is None else found
    if not found:
        return FieldChanges((), ())
    new = found - known if known else frozenset()
    mapped = {*source.paths.values(), source.key}
    candidates = (new or found) - mapped
    missing = _absent_from(required_paths(source), found)
    if missing and not _may_be_by_chance(source, records, missing.values(), known, candidates):
        raise SchemaError(f"{source.name}: {_missing_text(source, missing, candidates)}")
    outermost = tuple(sorted(path for path in new if path.rpartition(".")[0] not in new))
    if outermost and source.drift == "freeze":
        raise SchemaError(
            f"{source.name}: new fields {', '.join(outermost)}: correct the source, or set"
            ' schema = "evolve" to ignore new fields'
        )
    unused = (new if known else found) - mapped
    warnings = [
        f"{source.name}: {_missing_text(source, {name: path}, unused)}"
        for name, path in _gone(source, records, known, found, unused).items()
    ]
    return FieldChanges(outermost, tuple(warnings))


def _gone(
    source: BaseSource,
    records: Sequence[RawRecord],
    known: AbstractSet[str],
    found: AbstractSet[str],
    unused: Iterable[str],
) -> dict[str, str]:
    """Optional fields that a page should have: known ones, and those that the source names.

    A first page should also have what its fields are called but for capitals. A few records say
    little, except those of a first page and of a file with a header.
    """
    absent = _absent_from(source.paths, found)
    capitals = {path.casefold() for path in unused} if not known else set()
    gone = {
        name: path
        for name, path in absent.items()
        if path in known or name in source.fields or path.casefold() in capitals
    }
    if not known or len(records) >= MIN_RECORDS_TO_MISS:
        return gone
    named = {*source.fields} if isinstance(source, CsvSource) else set()
    return {
        name: path
        for name, path in gone.items()
        if _likely_rename(path, unused) or (name in named and path not in known)
    }


def _may_be_by_chance(
    source: BaseSource,
    records: Sequence[RawRecord],
    missing: Iterable[str],
    known: AbstractSet[str],
    candidates: Iterable[str],
) -> bool:
    """Whether the few records of a page may lack fields that the source still has.

    A CSV file has a header, which says what it has.
    """
    return (
        not isinstance(source, CsvSource)
        and len(records) < MIN_RECORDS_TO_MISS
        and all(path in known and not _likely_rename(path, candidates) for path in missing)
    )


def _absent_from(paths: dict[str, str], found: AbstractSet[str]) -> dict[str, str]:
    return {name: path for name, path in paths.items() if path not in found}


def _missing_text(source: BaseSource, missing: dict[str, str], candidates: Iterable[str]) -> str:
    """Which fields are gone, what they may be called now, and what to set then."""
    candidates = frozenset(candidates)
    if delimiter := _likely_delimiter(source, candidates):
        absent = "; ".join(f"{path} is missing" for path in missing.values())
        setting = f"delimiter = {json.dumps(delimiter)} in [sources.{source.name}]"
        return f"{absent}; the file has one column: set {setting}"
    renamed = {name: _likely_rename(path, candidates) for name, path in missing.items()}
    gone = [
        f"{path} is missing" + (f", {renamed[name]} is new" if renamed[name] else "")
        for name, path in missing.items()
    ]
    settings = [_setting(source, name, path) for name, path in renamed.items() if path]
    fallback = f"correct the source or [sources.{source.name}.fields]"
    advice = f"set {' and '.join(settings)}" if settings else fallback
    return f"{'; '.join(gone)}: {advice}"


def _likely_delimiter(source: BaseSource, candidates: AbstractSet[str]) -> str | None:
    """What separates the names in the header of a CSV file that seems to have one column."""
    if not isinstance(source, CsvSource) or len(candidates) != 1:
        return None
    (header,) = candidates
    likely = max(_DELIMITERS, key=header.count)
    return likely if header.count(likely) > 1 else None


def _setting(source: BaseSource, name: str, path: str) -> str:
    table = f"sources.{source.name}" if name == KEY_FIELD else f"sources.{source.name}.fields"
    return f'{name} = "{path}" in [{table}]'


def _likely_rename(path: str, candidates: Iterable[str]) -> str | None:
    """The candidate that is spelt most like the path, as a whole or in its last part."""
    paths = sorted(candidates)
    if whole := get_close_matches(path, paths, 1):
        return whole[0]
    by_last_part = {candidate.rpartition(".")[2]: candidate for candidate in paths}
    last_part = path.rpartition(".")[2]
    close = get_close_matches(last_part, by_last_part, 1) or [
        name for name in by_last_part if _words(last_part) < _words(name)
    ]
    return by_last_part[close[0]] if close else None


def _words(name: str) -> set[str]:
    """`id` is a word of `customer_id` and of `customerId`."""
    return {word.lower() for word in re.findall(r"[A-Z]?[^\W_A-Z]+|[A-Z]+", name)}
