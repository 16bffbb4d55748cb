"""What the templates of the overview and of the list of runs show. Pure."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from integration.service.charts import Bar, Part, bar_chart
from integration.service.deliveries import DeliveryRun
from integration.service.run_documents import OUTCOMES, ingest_rate
from integration.service.texts import (
    age_text,
    duration_text,
    minute_text,
    number_text,
    pieces_of,
    plural,
)

if TYPE_CHECKING:
    from datetime import datetime

    from integration.core.ingest_facts import IngestRun, SourceOverview
    from integration.core.verdict import Verdict
    from integration.service.overview import Overview
    from integration.service.run_lists import AnyRun

RUNS_SHOWN = 15
# The style and the text of each outcome, from the bottom of a bar up.
OUTCOME_TEXTS = {
    "successful": ("ok", "delivered"),
    "unchanged": ("idle", "unchanged"),
    "partial": ("partial", "partial"),
    "failed": ("failed", "failed"),
    "not_attempted": ("waiting", "not attempted"),
}
_FIELDS = {shown: name for name, shown in OUTCOMES.items()}


def home_context(overview: Overview, suffix: str) -> dict[str, Any]:
    """The overview.

    Args:
        overview: what is known.
        suffix: of links: empty, or `?masked=1`.
    """
    now = overview.now
    return {
        "verdict": verdict_context(overview.verdict),
        "unavailable": overview.unavailable,
        "running": _running(overview),
        "sources": [_source(one, now) for one in overview.sources],
        "sources_empty": "" if overview.database_error else "No sources are configured.",
        "sources_error": overview.database_error,
        "sources_command": "cp sources.example.toml sources.toml",
        "deliveries": _deliveries(overview, suffix),
        "rejected": _rejected(overview, suffix),
        "rejected_error": overview.database_error,
        "runs": [run_row(run, suffix) for run in _recent(overview)[:RUNS_SHOWN]],
        "runs_command": "python cli.py run" if overview.sources else "python main.py",
    }


def verdict_context(verdict: Verdict) -> dict[str, Any]:
    """The verdict: its first problem with advice, then the others with theirs."""
    return {
        "status": verdict.status,
        "sentence": verdict.sentence,
        "advice": pieces_of(verdict.advice),
        "others": [(problem.sentence, pieces_of(problem.advice)) for problem in verdict.others],
    }


def run_row(run: AnyRun, suffix: str) -> dict[str, Any]:
    """A line of the table of runs."""
    if isinstance(run, DeliveryRun):
        return {
            "href": f"/page/runs/delivery-{run.run.number}{suffix}",
            "title": f"Delivery {run.run.number}{f': {run.run.sync}' if run.run.sync else ''}",
            "started": minute_text(run.started_at),
            "status": run.status,
            "duration": duration_text(run.seconds),
            "counts": delivery_counts(run),
        }
    return {
        "href": f"/page/runs/ingest-{run.run_id}{suffix}",
        "title": f"Ingest {run.run_id}: {run.source}",
        "started": minute_text(run.started_at),
        "status": run.status,
        "duration": duration_text(run.seconds),
        "counts": ingest_counts_text(run),
    }


def delivery_counts(run: DeliveryRun) -> str:
    """Users by outcome; outcomes without users are left out."""
    counts = [
        f"{number:,} {text}"
        for name, (_, text) in OUTCOME_TEXTS.items()
        if (number := getattr(run.counts, _FIELDS[name]))
    ]
    return (
        f"{plural(run.counts.total_users, 'user')}: {', '.join(counts)}" if counts else "no users"
    )


def ingest_counts_text(run: IngestRun) -> str:
    """Records by what was done with them."""
    names = ("inserted", "updated", "unchanged", "rejected")
    counts = [f"{getattr(run, name):,} {name}" for name in names if getattr(run, name)]
    text = plural(run.records, "record")
    return f"{text}: {', '.join(counts)}" if counts else text


def _recent(overview: Overview) -> list[AnyRun]:
    runs: list[AnyRun] = [*chain.from_iterable(one.runs for one in overview.sources)]
    runs += overview.deliveries
    return sorted(runs, key=lambda run: run.started_at or overview.now, reverse=True)


def _running(overview: Overview) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for run in _recent(overview):
        if run.status != "running":
            continue
        if isinstance(run, DeliveryRun):
            found.append(_running_delivery(run, overview.now))
        else:
            found.append(
                {
                    "title": f"The source {run.source} is being read",
                    "total": None,
                    "done": run.records,
                    "unit": "records",
                    "rate": number_text(round(ingest_rate(run) or 0)),
                    "since": minute_text(run.started_at),
                }
            )
    return found


def _running_delivery(run: DeliveryRun, now: datetime) -> dict[str, Any]:
    return {
        "title": "A delivery is in progress",
        "total": run.counts.total_users or None,
        "done": run.done,
        "unit": "users",
        "rate": number_text(round(run.rate or 0)),
        "since": f"{minute_text(run.started_at)} UTC, {age_text(run.started_at, now)}",
    }


def _source(one: SourceOverview, now: datetime) -> dict[str, Any]:
    success = one.last_success.finished_at if one.last_success else None
    # A failed run that read little must not be overlooked.
    visible = max((run.records for run in one.runs), default=0) // 3
    chart = bar_chart(
        [_source_bar(run, visible) for run in reversed(one.runs)],
        f"Records of the last {plural(len(one.runs), 'run')} of {one.name}",
    )
    return {
        "name": one.name,
        "kind": one.kind,
        "entity": one.entity.replace("_", " "),
        "age": age_text(success, now),
        "freshness": _freshness(one),
        "records": one.records,
        "chart": chart if one.runs else None,
    }


def _freshness(one: SourceOverview) -> str:
    status = one.facts.status
    if status in {"running", "failed", "crashed"}:
        return status
    if status is None:
        return "never read"
    return "stale" if one.facts.stale else "fresh"


def _source_bar(run: IngestRun, visible: int) -> Bar:
    title = f"{minute_text(run.started_at)}: {run.status}, {ingest_counts_text(run)}"
    if run.status in {"failed", "crashed"}:
        return Bar(title, [Part("failed", max(run.records, visible, 1))])
    return Bar(title, [Part("ok", run.records - run.rejected), Part("partial", run.rejected)])


def _deliveries(overview: Overview, suffix: str) -> dict[str, Any]:
    runs = overview.deliveries
    if not runs:
        return {
            "last": None,
            "error": overview.journal_error,
            "empty": "" if overview.journal_error else "There has been no delivery yet.",
            "command": "python main.py --dry-run",
        }
    last = runs[0]
    present = {name for run in runs for name in OUTCOME_TEXTS if getattr(run.counts, _FIELDS[name])}
    return {
        "chart": bar_chart(
            [_delivery_bar(run) for run in reversed(runs)],
            f"Users of the last {plural(len(runs), 'delivery', 'deliveries')} by outcome",
        ),
        "legend": [pair for name, pair in OUTCOME_TEXTS.items() if name in present],
        "last": {
            "href": f"/page/runs/delivery-{last.run.number}{suffix}",
            "when": age_text(last.started_at, overview.now),
            "status": last.status,
            "counts": delivery_counts(last),
        },
    }


def _delivery_bar(run: DeliveryRun) -> Bar:
    parts = [
        Part(style, getattr(run.counts, _FIELDS[name]))
        for name, (style, _) in OUTCOME_TEXTS.items()
    ]
    return Bar(f"{minute_text(run.started_at)}: {run.status}, {delivery_counts(run)}", parts)


def _rejected(overview: Overview, suffix: str) -> list[dict[str, Any]]:
    latest = {
        source.name: run.run_id
        for source in overview.sources
        for run in reversed(source.runs)
        if run.rejected
    }
    return [
        {
            "source": group.source,
            "reason": group.code.replace("_", " "),
            "field": group.field,
            "records": group.records,
            "href": f"/page/runs/ingest-{latest[group.source]}{suffix}"
            if group.source in latest
            else None,
        }
        for group in overview.rejected
    ]
