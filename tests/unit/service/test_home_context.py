"""What the overview shows of a source."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from integration.core.facts import SourceFacts
from integration.core.ingest_facts import IngestRun, SourceOverview
from integration.service.home_context import _source

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def run(number: int, status: str, records: int) -> IngestRun:
    """A run of a source."""
    return IngestRun(
        run_id=number,
        source="crm",
        kind="csv",
        status=status,
        started_at=NOW,
        finished_at=NOW,
        seconds=1.0,
        rejected=0,
        retries=0,
        pages=1,
        records=records,
        inserted=records,
        updated=0,
        unchanged=0,
    )


def test_a_failed_run_that_read_nothing_is_seen_in_the_chart() -> None:
    """Its bar is no sliver beside those of large runs; its title has the number."""
    runs = [run(2, "failed", 0), run(1, "completed", 9000)]
    source = SourceOverview(
        name="crm", kind="csv", entity="customers", facts=SourceFacts(name="crm"), runs=runs
    )

    chart = str(_source(source, NOW)["chart"])

    found = re.search(r'<title>([^<]*)</title><rect class="failed"[^>]* height="([\d.]+)"', chart)
    assert found is not None
    assert "failed" in found[1]
    assert float(found[2]) == 16
