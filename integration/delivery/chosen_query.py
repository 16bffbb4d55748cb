"""The query of a run, and its rows on their way into the journal and the CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from integration.core.files import display_path
from integration.database.query_file import Query, load_own_query, load_query
from integration.database.row_check import page_view_rows
from integration.delivery.new_users import mapped_users, new_users

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from integration.config.values import QueryFile
    from integration.core.mapping import Mapping
    from integration.core.models import NewUser
    from integration.delivery.reports import CsvExport

QUERY_FILE = Path(__file__).resolve().parents[2] / "phase2_queries.sql"
QUERY_NUMBER = 2


class RowSource(Protocol):
    """A database that is connected while its context is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

    def stream_rows(
        self, query: Query, limit: int | None = None
    ) -> tuple[tuple[str, ...], Iterator[Sequence[tuple[Any, ...]]]]:
        """The names of a query's columns, and its rows in batches."""
        ...


class ChosenQuery(NamedTuple):
    """A query, and what is said about it.

    Attributes:
        title: its name.
        found: the line about its users, with a place for their number.
        none_found: the line if there are none.
    """

    query: Query
    title: str
    found: str
    none_found: str


def chosen_query(chosen: QueryFile | None) -> ChosenQuery:
    """The query of a file, or without one Query 2.

    Raises:
        QueryFailed: the file or the statement does not exist or is ambiguous.
    """
    if chosen is None or (chosen.number is None and _is_ours(chosen.path)):
        return ChosenQuery(
            Query(load_query(QUERY_FILE, QUERY_NUMBER)),
            "Phase 2 Query 2",
            "Found %d pro user(s) with recent engagement",
            "No pro users with recent pricing/settings page views found",
        )
    query = load_own_query(chosen.path, chosen.number)
    if _is_ours(chosen.path):
        query = query._replace(dialect="mysql")
    number = "" if chosen.number is None else f"#{chosen.number}"
    title = f"{display_path(chosen.path)}{number}"
    return ChosenQuery(query, title, "Found %d user(s)", "The query returned no users")


def _is_ours(path: Path) -> bool:
    return path.resolve() == QUERY_FILE


def exported_users(
    mapping: Mapping, batches: Iterable[Sequence[tuple[Any, ...]]], csv: CsvExport
) -> Iterator[NewUser]:
    """The users of these rows, which are written to the CSV.

    Raises:
        QueryFailed, MappingError: a column has a type that cannot be sent.
        RecordError: a row cannot be written as JSON.
    """
    if mapping.is_documented:
        for batch in batches:
            rows = page_view_rows(batch)
            users = new_users(rows)
            csv.write(rows)
            yield from users
        return
    from integration.database.cells import cells_of  # noqa: PLC0415  not for Query 2

    first = 1
    for batch in batches:
        cells = cells_of(mapping, batch)
        users = mapped_users(mapping, cells, first)
        csv.write(cells.rows)
        yield from users
        first += len(batch)
