"""The SQL of `/data`: rows of one table in the order of their ids, filtered. Pure.

Keyset pagination: a page begins after the last id of the one before, so its cost does not depend on
its place (https://use-the-index-luke.com/no-offset). The rows of a source are read in the order of
`etl_records`, whose index has them by target. The sources of the rows of a page are a statement of
their own: as a subquery, they cost twice as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from integration.database.writing import to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.database.dialects import Dialect
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
# Of a customer's ids that lie between those of a page, so many times as are wanted are read along.
MAX_IDS_READ = 4
# The records of a source; of several with the same row, the first.
_WALK = (
    "r.entity = %s AND r.source = %s AND r.source_key = (SELECT MIN(d.source_key)"
    " FROM etl_records d WHERE d.entity = r.entity AND d.target_id = r.target_id"
    " AND d.source = r.source)"
)


class RowQuery(NamedTuple):
    """A filtered table.

    Attributes:
        entity: the table's name.
        columns: the names of the columns of a row; the last, `sources`, is not selected.
        select: the statement up to its conditions, without an order.
        source: what it reads from, for counting.
        conditions: joined by AND; each has its parameters.
        parameters: of the conditions.
        key: the column of the order.
        has_records: whether there are tables of the ingest.
        is_walked: whether the records of a source lead to the rows.
    """

    entity: str
    columns: tuple[str, ...]
    select: str
    source: str
    conditions: tuple[str, ...]
    parameters: tuple[object, ...]
    key: str
    has_records: bool
    is_walked: bool

    def rows_after(self, after: int, limit: int, skip: int = 0) -> tuple[str, tuple[object, ...]]:
        """The next rows after an id."""
        where = " AND ".join((*self.conditions, f"{self.key} > %s"))
        offset = " OFFSET %s" if skip else ""
        sql = f"{self.select} WHERE {where} ORDER BY {self.key} LIMIT %s{offset}"
        return sql, (*self.parameters, after, limit, *((skip,) if skip else ()))

    def count_rows(self) -> tuple[str, tuple[object, ...]]:
        """How many rows there are, up to COUNT_LIMIT."""
        where = f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""
        # Else MariaDB reads the records of a source by their keys, and not in the index.
        order = f" ORDER BY {self.key}" if self.is_walked else ""
        inner = f"SELECT 1 FROM {self.source}{where}{order} LIMIT {COUNT_LIMIT}"
        return f"SELECT COUNT(*) FROM ({inner}) counted", self.parameters

    def sources_of(self, ids: Sequence[int]) -> tuple[str, tuple[object, ...]]:
        """The sources of rows, as id and source in this order; ids ascend, and there is one."""
        values = tuple(ids)
        within = f"IN ({', '.join(['%s'] * len(ids))})"
        if ids[-1] - ids[0] < MAX_IDS_READ * len(ids):
            within, values = "BETWEEN %s AND %s", (ids[0], ids[-1])
        sql = (
            "SELECT target_id, source FROM etl_records"
            f" WHERE entity = %s AND target_id {within} ORDER BY target_id, source"
        )
        return sql, (self.entity, *values)


def row_query(chosen: DataFilter, dialect: Dialect, *, has_records: bool) -> RowQuery:
    """The query of a filter.

    Args:
        chosen: the filter.
        dialect: the engine's.
        has_records: whether the tables of the ingest are there; without them no row has a source.
    """
    is_views = chosen.entity == "page_views"
    alias, columns = ("v", PAGE_VIEWS) if is_views else ("c", CUSTOMERS)
    own = {"user_id", "page", "device", "browser", "location", "event_time"}
    names = [f"{alias}.id"]
    names += [f"{'v' if name in own else 'c'}.{name}" for name in columns[1:-1]]
    source, key = f"{chosen.entity} {alias}", f"{alias}.id"
    is_walked = has_records and _is_walked(chosen)
    if is_walked:
        source = f"etl_records r {dialect.join} {source} ON {key} = r.target_id"
        key = "r.target_id"
    if is_views:
        source += " JOIN customers c ON c.id = v.user_id"
    conditions, parameters = _conditions(chosen, f"{alias}.id", has_records=has_records)
    return RowQuery(
        entity=chosen.entity,
        columns=columns,
        select=f"SELECT {', '.join(names)} FROM {source}",
        source=source,
        conditions=tuple(conditions),
        parameters=tuple(parameters),
        key=key,
        has_records=has_records,
        is_walked=is_walked,
    )


def _is_walked(chosen: DataFilter) -> bool:
    """Whether the records of a source lead to the rows."""
    return chosen.source is not None and not _needs_run(chosen)


def _needs_run(chosen: DataFilter) -> bool:
    return chosen.updated_since is not None and chosen.entity == "customers"


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
    if chosen.source is not None or _needs_run(chosen):
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
    if _is_walked(chosen):
        return _WALK, [chosen.entity, chosen.source]
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
