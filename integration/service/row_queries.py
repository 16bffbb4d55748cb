"""The SQL of `/data`: rows of one table in the order of their ids, filtered. Pure.

Keyset pagination: a page begins after the last id of the one before, so its cost does not depend on
its place (https://use-the-index-luke.com/no-offset).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from integration.database.writing import to_text

if TYPE_CHECKING:
    from integration.service.parameters import DataFilter

COUNT_LIMIT = 10_001
CUSTOMERS = ("id", "email", "first_name", "last_name", "plan_type", "candidate", "sources")
PAGE_VIEWS = (
    "id",
    "user_id",
    "email",
    "first_name",
    "last_name",
    "plan_type",
    "page",
    "device",
    "browser",
    "location",
    "event_time",
    "sources",
)


class RowQuery(NamedTuple):
    """A filtered table.

    Attributes:
        columns: the names of the columns of a row.
        select: the statement up to its conditions, without an order.
        source: what it reads from, for counting.
        conditions: joined by AND; each has its parameters.
        parameters: of the conditions.
        key: the column of the order.
    """

    columns: tuple[str, ...]
    select: str
    source: str
    conditions: tuple[str, ...]
    parameters: tuple[object, ...]
    key: str

    def rows_after(self, after: int, limit: int, skip: int = 0) -> tuple[str, tuple[object, ...]]:
        """The next rows after an id."""
        where = " AND ".join((*self.conditions, f"{self.key} > %s"))
        offset = " OFFSET %s" if skip else ""
        sql = f"{self.select} WHERE {where} ORDER BY {self.key} LIMIT %s{offset}"
        return sql, (*self.parameters, after, limit, *((skip,) if skip else ()))

    def count_rows(self) -> tuple[str, tuple[object, ...]]:
        """How many rows there are, up to COUNT_LIMIT."""
        where = f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""
        inner = f"SELECT 1 FROM {self.source}{where} LIMIT {COUNT_LIMIT}"
        return f"SELECT COUNT(*) FROM ({inner}) counted", self.parameters


def row_query(chosen: DataFilter, *, has_records: bool) -> RowQuery:
    """The query of a filter.

    Args:
        chosen: the filter.
        has_records: whether the tables of the ingest are there; without them no row has a source.
    """
    is_views = chosen.entity == "page_views"
    key = "v.id" if is_views else "c.id"
    columns = PAGE_VIEWS if is_views else CUSTOMERS
    views = "page_views v JOIN customers c ON c.id = v.user_id"
    source = views if is_views else "customers c"
    conditions, parameters = _conditions(chosen, key, has_records=has_records)
    own = {"user_id", "page", "device", "browser", "location", "event_time"}
    names = [key]
    names += [f"{'v' if name in own else 'c'}.{name}" for name in columns[1:-1]]
    names.append(_sources(chosen, key) if has_records else "NULL")
    select = f"SELECT {', '.join(names)} FROM {source}"
    return RowQuery(columns, select, source, tuple(conditions), tuple(parameters), key)


def _sources(chosen: DataFilter, key: str) -> str:
    return (
        "(SELECT GROUP_CONCAT(DISTINCT r.source) FROM etl_records r"
        f" WHERE r.entity = '{chosen.entity}' AND r.target_id = {key})"
    )


def _conditions(
    chosen: DataFilter, key: str, *, has_records: bool
) -> tuple[list[str], list[object]]:
    conditions: list[str] = []
    parameters: list[object] = []
    if chosen.search is not None:
        names = ("c.email", "c.first_name", "c.last_name")
        conditions.append(f"({' OR '.join(f'{name} LIKE %s ESCAPE %s' for name in names)})")
        parameters += [_prefix(chosen.search), "!"] * len(names)
    if chosen.plan_type is not None:
        conditions.append("c.plan_type = %s")
        parameters.append(chosen.plan_type)
    if chosen.source is not None or (chosen.updated_since and chosen.entity == "customers"):
        more, values = _of_records(chosen, key) if has_records else ("1 = 0", [])
        conditions.append(more)
        parameters += values
    if chosen.updated_since and chosen.entity == "page_views":
        conditions.append("v.event_time >= %s")
        # As SQLite has the column: whole seconds, as text.
        parameters.append(to_text(chosen.updated_since).removesuffix(".000000"))
    return conditions, parameters


def _of_records(chosen: DataFilter, key: str) -> tuple[str, list[object]]:
    """Rows with a record of the source, or one that a run has written since then."""
    inner = ["r.entity = %s", f"r.target_id = {key}"]
    values: list[object] = [chosen.entity]
    if chosen.source is not None:
        inner.append("r.source = %s")
        values.append(chosen.source)
    if chosen.updated_since and chosen.entity == "customers":
        inner.append("r.run_id IN (SELECT run_id FROM etl_runs WHERE started_at >= %s)")
        values.append(to_text(chosen.updated_since))
    return f"EXISTS (SELECT 1 FROM etl_records r WHERE {' AND '.join(inner)})", values


def _prefix(text: str) -> str:
    """A pattern of LIKE for texts that begin so."""
    for special in ("!", "%", "_"):
        text = text.replace(special, f"!{special}")
    return f"{text}%"
