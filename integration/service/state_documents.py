"""The overview as `/health` and `/stats` answer it. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from integration.service.run_documents import (
    counts_document,
    delivery_document,
    ingest_document,
)

if TYPE_CHECKING:
    from integration.service.overview import Overview


def health_document(overview: Overview) -> dict[str, object]:
    """What `/health` answers."""
    successes = [one.last_success.finished_at for one in overview.sources if one.last_success]
    runs = [run for source in overview.sources for run in source.runs[:1]]
    newest = max(runs, key=lambda run: run.run_id, default=None)
    last = next(iter(overview.deliveries), None)
    verdict = overview.verdict
    return {
        "status": verdict.status,
        "sentence": verdict.sentence,
        "db_connected": overview.database_error is None,
        "etl": {
            "last_run": ingest_document(newest) if newest else None,
            "last_success": max(filter(None, successes), default=None),
            "stale_sources": [one.name for one in overview.sources if one.facts.stale],
        },
        "delivery": {
            "last_run": delivery_document(last) if last else None,
            "pending_users": overview.pending_users,
        },
        "advice": verdict.advice,
        "problems": [asdict(problem) for problem in verdict.problems],
        "unavailable": overview.unavailable,
    }


def stats_document(overview: Overview) -> dict[str, object]:
    """What `/stats` answers."""
    is_known = overview.database_error is None
    sources = overview.sources
    totals = overview.totals
    return {
        "total_records_processed": sum(one.records for one in sources) if is_known else None,
        "run_count": sum(number for one in sources for _, number in one.runs_by_status)
        if is_known
        else None,
        "sources": [
            {
                "source": one.name,
                "kind": one.kind,
                "entity": one.entity,
                "records": one.records,
                "runs": dict(one.runs_by_status),
                "rejected_open": one.facts.open_rejections,
                "stale": one.facts.stale,
                "lag_seconds": one.lag_seconds,
                "checkpoint": one.checkpoint,
                "last_success": ingest_document(one.last_success) if one.last_success else None,
                "last_failure": ingest_document(one.last_failure) if one.last_failure else None,
                "durations": [round(run.seconds, 3) for run in one.runs],
            }
            for one in sources
        ],
        "deliveries": {
            "runs": totals.runs if totals else 0,
            "users": totals.counts.total_users if totals else 0,
            "outcomes": counts_document(totals.counts) if totals else {},
            "retries": totals.retries if totals else 0,
        },
        "unavailable": overview.unavailable,
    }
