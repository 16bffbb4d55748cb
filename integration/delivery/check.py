"""`--check`: where each column of the query goes; whether Iterable's key and fields fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from integration.core.exit_codes import ExitCode
from integration.core.mapping import RECENT_VIEW, Mapping
from integration.core.models import ENDPOINTS
from integration.core.redaction import MASK
from integration.database.cells import cells_of
from integration.database.row_check import name_of_type
from integration.delivery.chosen_query import RowSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from integration.core.mapping import Path, Target
    from integration.core.models import CallResult
    from integration.database.query_file import Query

# Columns whose values say nothing about a person.
_IMPERSONAL = frozenset(
    {"plan_type", "page", "device", "browser", "event_time", "event_name", "send_profile"}
)
MAX_SAMPLE = 40
_ROLES = {
    "id": "the user's identity",
    "event_id": "the event's identity",
    "event_name": "the event's name",
    "send_profile": "0: only the event is sent",
    "event_time": "createdAt of the event",
}


class Answer(NamedTuple):
    """What is said about the key and the project's fields, and the exit code."""

    lines: list[str]
    exit_code: ExitCode


class ExplainingSource(RowSource, Protocol):
    """A database that also tells how it would run a query."""

    def explain(self, query: Query) -> list[str]:
        """A line for each step."""
        ...


def check_query(query: Query, database: ExplainingSource) -> tuple[Mapping, list[str]]:
    """The mapping of a query, and what `--check` shows of the query; reads one row.

    Raises:
        DatabaseError: the database is unavailable, or the query cannot be run.
        MappingError: the query's columns cannot be sent.
    """
    with database:
        plan = database.explain(query)
        columns, batches = database.stream_rows(query, 1)
        mapping = Mapping.of(columns)
        first = next(batches, None)
    row = first[0] if first else None
    cells = cells_of(mapping, [row]).rows[0] if row else None
    return mapping, [*mapping_lines(mapping, row, cells), "", "Plan:", *(f"  {p}" for p in plan)]


def mapping_lines(
    mapping: Mapping, values: Sequence[object] | None, cells: Sequence[object] | None
) -> list[str]:
    """The mapping as a table: column, type, where it goes, a masked sample.

    Args:
        mapping: of the query's columns.
        values: the first row as the database returned it, or None.
        cells: the first row as it is sent, or None.
    """
    rows = [("column", "type", "goes to", "sample")]
    for place, target in enumerate(mapping.targets):
        kind = name_of_type(values[place]) if values else "?"
        sample = masked_sample(target, cells[place]) if cells else "no row"
        rows.append((target.column, kind, goes_to(target, mapping), sample))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*map(str.ljust, row, widths), row[3]]).rstrip() for row in rows]
    return [*lines, "", _summary(mapping)]


def _summary(mapping: Mapping) -> str:
    calls = " and ".join(ENDPOINTS[call] for call in mapping.calls)
    known = "id" if mapping.place("id") is not None else "email"
    extra = "; recent_page_view is true" if RECENT_VIEW in profile_paths(mapping) else ""
    return f"Each row: {calls}; users are known by {known}{extra}"


def goes_to(target: Target, mapping: Mapping) -> str:
    """Where a column is sent."""
    places = []
    if target.role == "email":
        places.append("email of every call")
    elif target.role in _ROLES:
        places.append(_ROLES[target.role])
    if target.profile:
        places.append(f"users/update {'.'.join(target.profile)}")
    if target.event and mapping.sends_events:
        places.append(f"events/track {'.'.join(target.event)}")
    return ", ".join(places)


def masked_sample(target: Target, cell: object) -> str:
    """A value as it is sent, without what identifies a person."""
    if cell is None:
        return "null"
    if target.column in _IMPERSONAL or (target.role == "field" and _is_number(cell)):
        return str(cell).lower() if isinstance(cell, bool) else str(cell)[:MAX_SAMPLE]
    if isinstance(cell, dict):
        return f"object with {', '.join(map(str, cell))}"[:MAX_SAMPLE]
    if isinstance(cell, list):
        return f"array of {len(cell)}"
    name, at, host = str(cell).partition("@")
    if target.role == "email" and at:
        return f"{name[:1]}{MASK}@{MASK}.{host.rpartition('.')[2]}"
    return f"{str(cell)[:1]}{MASK}" if isinstance(cell, str) else MASK


def _is_number(cell: object) -> bool:
    return not isinstance(cell, str | dict | list)


def profile_paths(mapping: Mapping) -> list[Path]:
    """The fields of the profile that the query sets."""
    paths = [target.profile for target in mapping.targets if target.profile]
    return [*paths, RECENT_VIEW] if "page" in mapping.columns else paths


def key_answer(mapping: Mapping, result: CallResult, *, uses_jwt: bool) -> Answer:
    """What reading the project's fields says about the key, and about fields it does not have."""
    if result.success:
        lines = ["Iterable accepted the key: a server-side key"]
        return Answer([*lines, *_unknown_fields(mapping, result.response)], ExitCode.OK)
    if result.status_code in {401, 403} and result.code == "Forbidden":
        kind = "a JWT-enabled key" if uses_jwt else "a client-side key, or one with few rights"
        text = (
            f"Iterable knows the key, but it may not read fields: {kind}; fields were not checked"
        )
        return Answer([text], ExitCode.OK)
    if result.key_refused:
        text = f"Iterable refused the key ({result.code}): check ITERABLE_API_KEY"
        return Answer([f"{text} and ITERABLE_API_BASE_URL"], ExitCode.KEY_REFUSED)
    reason = result.code or result.error
    text = f"Iterable could not be asked ({reason}): check the network, the proxy and"
    return Answer([f"{text} ITERABLE_API_BASE_URL"], ExitCode.UNAVAILABLE)


def _unknown_fields(mapping: Mapping, response: object) -> Iterable[str]:
    fields = response.get("fields") if isinstance(response, dict) else None
    if not isinstance(fields, dict):
        return ["Iterable's answer has no list of fields"]
    unknown = [
        ".".join(path)
        for path in profile_paths(mapping)
        if ".".join(path) not in fields and path[0] not in fields
    ]
    if not unknown:
        return ["The project knows all profile fields of the query"]
    names = ", ".join(unknown)
    return [f"Profile fields that the project does not have, and the first user creates: {names}"]
