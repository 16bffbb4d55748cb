"""Runs of sources and deliveries in one shape, and the ids by which they are found. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from integration.service.problems import Problem

if TYPE_CHECKING:
    from integration.core.ingest_facts import IngestRun
    from integration.core.models import Counts
    from integration.service.deliveries import DeliveryRun

RunType = Literal["ingest", "delivery"]
_ID = re.compile(r"(ingest|delivery)-([1-9][0-9]{0,17})")
# The names of the outcomes in the journal and in the answers.
OUTCOMES = {
    "successful": "successful",
    "partial_failures": "partial",
    "total_failures": "failed",
    "not_attempted": "not_attempted",
    "unchanged": "unchanged",
}


class RunId(NamedTuple):
    """The id of a run: `ingest-12`, `delivery-7`."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.number}"


def parse_run_id(text: str) -> RunId:
    """An id.

    Raises:
        Problem: 404; it is none.
    """
    found = _ID.fullmatch(text)
    if found is None:
        raise no_such_run("That")
    return RunId(found[1], int(found[2]))


def no_such_run(name: str) -> Problem:
    """A 404."""
    return Problem(404, f"{name} is no run: /runs lists them, as ingest-12 or delivery-7")


def counts_document(counts: Counts) -> dict[str, int]:
    """Users by outcome."""
    users = {shown: getattr(counts, name) for name, shown in OUTCOMES.items()}
    return {"users": counts.total_users, **users}


def ingest_document(run: IngestRun) -> dict[str, object]:
    """A run of a source."""
    return {
        "id": f"ingest-{run.run_id}",
        "type": "ingest",
        "name": run.source,
        "kind": run.kind,
        "status": run.status,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "seconds": round(run.seconds, 3),
        "rate": _rounded(ingest_rate(run)),
        "counts": ingest_counts(run),
        "retries": run.retries,
        "error": run.error,
    }


def ingest_counts(run: IngestRun) -> dict[str, int]:
    """Records by what was done with them."""
    return {
        "records": run.records,
        "inserted": run.inserted,
        "updated": run.updated,
        "unchanged": run.unchanged,
        "rejected": run.rejected,
    }


def ingest_rate(run: IngestRun) -> float | None:
    """Records per second."""
    return run.records / run.seconds if run.seconds > 0 else None


def delivery_document(one: DeliveryRun) -> dict[str, object]:
    """A delivery run."""
    run = one.run
    return {
        "id": f"delivery-{run.number}",
        "type": "delivery",
        "name": run.run_id,
        "kind": run.kind,
        "sync": run.sync or None,
        "status": one.status,
        "started_at": one.started_at,
        "finished_at": one.finished_at,
        "seconds": round(one.seconds, 3),
        "rate": _rounded(one.rate),
        "counts": counts_document(one.counts),
        "retries": run.retries.total,
        "error": run.stop_reason,
    }


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)
