"""Query 2 with twenty columns more: ten fields of the profile, ten of the event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.database.query_file import load_query
from integration.delivery.chosen_query import QUERY_FILE, QUERY_NUMBER

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = 10
# Text, integers, decimals, dates and NULLs, made of the columns that there are.
_VALUES = (
    "id",
    "id * 1.25",
    "plan_type",
    "event_time",
    "CONCAT(first_name, ' ', last_name)",
    "location",
    "NULL",
    "id % 2",
    "device",
    "browser",
)


def write_wide_query(folder: Path) -> str:
    """Write the query into a folder; the value of QUERY_FILE."""
    narrow = load_query(QUERY_FILE, QUERY_NUMBER)
    columns = [
        f"{value} AS `{prefix}.extra_{number}`"
        for prefix in ("profile", "event")
        for number, value in enumerate(_VALUES[:COLUMNS])
    ]
    last = "    event_time\nFROM ranked_views"
    assert narrow.count(last) == 1
    wide = narrow.replace(last, f"    event_time,\n    {', '.join(columns)}\nFROM ranked_views")
    file = folder / "wide.sql"
    file.write_text(f"-- dialect: mysql\n{wide};\n", encoding="utf-8")
    return str(file)
