"""`sources.toml`, or the variables that stand for it → checked sources and their secrets."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from integration.config.converting import ConfigurationError
from integration.config.loading import with_secrets
from integration.config.values import checked_api_key
from integration.core.files import FileError, is_there
from integration.ingest.source_rules import (
    Mistake,
    keyed_customer_sources,
    rule_mistakes,
    unknown_key,
)
from integration.ingest.sources import KINDS, BaseSource, HttpSource, Source, is_url
from integration.ingest.toml_lines import key_lines, line_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from integration.ingest.source_rules import Table
    from integration.ingest.toml_lines import Key

SOURCES_FILE = "sources.toml"
# The sources of the short form, which a source of page views finds in the tables of both.
API_SOURCE, CSV_SOURCE = "api", "csv"
_SHORT_FORM_KEYS: dict[tuple[str, ...], str] = {
    (API_SOURCE, "url"): "API_HOST",
    (CSV_SOURCE, "path"): "CSV_URL",
}


@dataclass(frozen=True, slots=True)
class Sources:
    """All sources, customers before page views.

    Attributes:
        secrets: the values that the sources' `auth` names, by variable; those that are set.
    """

    sources: tuple[Source, ...]
    secrets: Mapping[str, str] = field(repr=False)

    def named(self, names: Iterable[str]) -> tuple[Source, ...]:
        """The sources with these names, or all if there are none.

        Raises:
            ConfigurationError: a name does not exist.
        """
        wanted = set(names)
        known = [source.name for source in self.sources]
        if unknown := sorted(wanted.difference(known)):
            raise ConfigurationError(
                f"No such source: {', '.join(unknown)}; there is {', '.join(known)}"
            )
        return tuple(source for source in self.sources if not wanted or source.name in wanted)


def find_sources_file(named: Path | None, working_dir: Path, program_dir: Path) -> Path | None:
    """The file to read: the named one, else the working directory's, else the program's.

    Raises:
        ConfigurationError: the named file does not exist, or a folder cannot be searched.
    """
    candidates = [named] if named else [working_dir / SOURCES_FILE, program_dir / SOURCES_FILE]
    try:
        found = next((path for path in candidates if is_there(path)), None)
    except FileError as error:
        raise ConfigurationError(f"{error}; name the file with --sources") from error
    if named is not None and found is None:
        raise ConfigurationError(f"No such file: {named} (named by --sources)")
    return found


def load_sources(
    file: Path | None,
    variables: Mapping[str, str],
    working_dir: Path,
    *,
    needs_secrets: bool = True,
) -> Sources:
    """The sources of a file or, without one, of API_HOST and CSV_URL.

    Args:
        file: what `find_sources_file` found.
        variables: all variables that are set, as `loading.read_all_variables` found them.
        working_dir: what relative paths of files are relative to.
        needs_secrets: whether the sources are to be read; else secrets may be missing.

    Raises:
        ConfigurationError: mistakes, all in one line, or missing variables.
    """
    sources = _short_form_sources(variables) if file is None else _sources_of_file(file)
    ordered = sorted(sources, key=lambda source: source.entity != "customers")
    names = _secret_names(sources)
    if needs_secrets:
        variables = with_secrets(variables, names)
        _check_secrets(names, variables)
    secrets = {name: variables[name] for name in names if variables.get(name)}
    return Sources(tuple(_with_absolute_paths(source, working_dir) for source in ordered), secrets)


def describe_sources(
    file: Path | None, variables: Mapping[str, str], working_dir: Path
) -> tuple[Source, ...]:
    """The sources, without the secrets that reading them would need; there may be none.

    Raises:
        ConfigurationError: mistakes, all in one line.
    """
    if file is None and not _short_form_tables(variables):
        return ()
    sources = _short_form_sources(variables) if file is None else _sources_of_file(file)
    ordered = sorted(sources, key=lambda source: source.entity != "customers")
    return tuple(_with_absolute_paths(source, working_dir) for source in ordered)


def parse_sources(tables: Mapping[str, Table]) -> tuple[list[Source], list[Mistake]]:
    """The sources of checked tables, and all mistakes; sources are of use if there are none."""
    mistakes = list(rule_mistakes(tables))
    sources: list[Source] = []
    for name, table in tables.items():
        model = KINDS.get(str(table.get("kind")))
        values = {**table, "name": name, **_implied(table, tables)}
        try:
            if model is None:  # a mistake already; the keys of all kinds can be checked
                BaseSource.model_validate(values)
            else:
                sources.append(model.model_validate(values))
        except ValidationError as error:
            mistakes += [
                _mistake(name, table, details)
                for details in error.errors()
                if model is not None or details["type"] != "extra_forbidden"
            ]
    return sources, mistakes


def _implied(table: Table, tables: Mapping[str, Table]) -> Table:
    """The only source whose key `customer = "key"` can mean."""
    if table.get("customer") != "key" or "customer_source" in table:
        return {}
    return {"customer_source": next(iter(keyed_customer_sources(tables)), None)}


def _mistake(name: str, table: Table, details: ErrorDetails) -> Mistake:
    path = tuple(part for part in details["loc"] if isinstance(part, str))
    if path[0] == "pagination" and len(path) > 1:
        path = ("pagination", *path[2:])  # without the kind that the union was told by
    return Mistake((name, *path), _text(table, path, details))


def _text(table: Table, path: tuple[str, ...], details: ErrorDetails) -> str:
    kind, message = details["type"], details["msg"]
    context = details.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return unknown_key(table, path)
    if kind.startswith("union_tag"):
        return f"needs a kind: {context.get('expected_tags', 'none, page, offset, cursor, link')}"
    if kind == "string_pattern_mismatch":
        return _PATTERN_TEXTS.get(path[-1], "has a character that is not allowed")
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return "must be a table"
    return re.sub(r"^\w+ should ", "must ", message).removeprefix("Value error, ")


_PATTERN_TEXTS = {
    "name": "must be a name of lower-case letters, digits, _ and -",
    "variable": "must be the name of an environment variable in capitals; never the secret itself",
    "header": "must be the name of a header",
    "prefix": 'must be a word such as "Bearer "; never the secret itself',
    "parameter": "must be the name of a query parameter",
}


def _sources_of_file(file: Path) -> list[Source]:
    text = _read(file)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not valid TOML: {error}") from error
    tables, mistakes = _tables(document)
    if not tables and not mistakes:
        raise ConfigurationError(f"{file} has no source: add a table such as [sources.crm]")
    sources, found = parse_sources(tables)
    mistakes += [Mistake(("sources", *mistake.path), mistake.text) for mistake in found]
    if mistakes:
        raise ConfigurationError(_message(file, mistakes, key_lines(text)))
    return sources


def _message(file: Path, mistakes: list[Mistake], lines: dict[Key, int]) -> str:
    """All mistakes in one line, in the order of the file."""
    placed = sorted((line_of(mistake.path, lines) or 0, mistake) for mistake in mistakes)
    texts = [f"line {line}: {'.'.join(path[1:] or path)} {text}" for line, (path, text) in placed]
    return f"{file}: {'; '.join(texts)}"


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Cannot read {file}: {error}") from error


def _tables(document: dict[str, object]) -> tuple[dict[str, Table], list[Mistake]]:
    """The tables of the sources by name, and what is not in one."""
    text = "is not known here; a source is a table such as [sources.crm]"
    misplaced = [Mistake((key,), text) for key in document if key != "sources"]
    sources = document.get("sources", {})
    if not isinstance(sources, dict):
        return {}, [*misplaced, Mistake(("sources",), text)]
    tables = {name: table for name, table in sources.items() if isinstance(table, dict)}
    return tables, [
        *misplaced,
        *(Mistake(("sources", name), text) for name in sources if name not in tables),
    ]


def _short_form_sources(variables: Mapping[str, str]) -> list[Source]:
    tables = _short_form_tables(variables)
    if not tables:
        raise ConfigurationError(
            f"No sources: create {SOURCES_FILE} (see sources.example.toml),"
            " or set API_HOST or CSV_URL"
        )
    sources, mistakes = parse_sources(tables)
    if mistakes:
        texts = [f"{_SHORT_FORM_KEYS[mistake.path[:2]]} {mistake.text}" for mistake in mistakes]
        raise ConfigurationError("; ".join(texts))
    return sources


def _short_form_tables(variables: Mapping[str, str]) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    if url := variables.get("API_HOST"):
        auth = {"prefix": "Bearer ", "variable": "API_KEY"}
        tables[API_SOURCE] = {
            "entity": "customers",
            "kind": "http",
            "url": url,
            "key": "id",
            "owns_ids": True,
            **({"auth": auth} if variables.get("API_KEY") else {}),
        }
    if location := variables.get("CSV_URL"):
        tables[CSV_SOURCE] = {"entity": "page_views", "kind": "csv", "path": location}
    return tables


def _secret_names(sources: Iterable[Source]) -> list[str]:
    """The variables that the sources name."""
    auths = [source.auth for source in sources if isinstance(source, HttpSource) and source.auth]
    return list(dict.fromkeys(auth.variable for auth in auths))


def _check_secrets(names: Iterable[str], variables: Mapping[str, str]) -> None:
    missing = [name for name in names if not variables.get(name)]
    if missing:
        raise ConfigurationError(f"Missing required environment variables: {', '.join(missing)}")
    for name in names:
        try:
            checked_api_key(variables[name])
        except ValueError as error:
            raise ConfigurationError(
                f"{name} is a value that is not shown, expected printable ASCII, no spaces"
            ) from error


def _with_absolute_paths(source: Source, folder: Path) -> Source:
    if isinstance(source, HttpSource):
        return source
    locations = (
        location if is_url(location) else str(folder / location) for location in source.path
    )
    return source.model_copy(update={"path": tuple(locations)})
