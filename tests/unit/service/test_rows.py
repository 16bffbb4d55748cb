"""What `/data` says of a search that takes too long."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from integration.database.dialects import SQLiteDialect
from integration.database.errors import QueryTooSlow
from integration.service.parameters import DataFilter
from integration.service.rows import INDEX_HINT, row_page


class SlowSession:
    """A session whose statements take too long."""

    dialect = SQLiteDialect()

    def query(self, *_: object) -> None:
        """Give up."""
        raise QueryTooSlow("The database did not answer within 0.5 s: try again later")


def page_of(**chosen: Any) -> None:
    """Ask for a page."""
    parts: Any = SimpleNamespace(
        pool=SimpleNamespace(session=lambda: nullcontext(SlowSession())),
        ingest=SimpleNamespace(has_tables=lambda _: True),
    )
    row_page(parts, DataFilter(**chosen), after=0, skip=0, limit=10, total=None)


def test_a_slow_search_names_the_indexes_that_it_needs() -> None:
    """The indexes are of no use to other filters."""
    with pytest.raises(QueryTooSlow) as searched:
        page_of(search="zo")
    assert str(searched.value).endswith(f"try again later; {INDEX_HINT}")
    with pytest.raises(QueryTooSlow) as listed:
        page_of(plan_type="pro")
    assert INDEX_HINT not in str(listed.value)
