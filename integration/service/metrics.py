"""Prometheus text (https://prometheus.io/docs/instrumenting/exposition_formats/).

Everything but the durations of requests comes from the stored runs, so that it survives restarts.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from integration.service.run_documents import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from integration.core.ingest_facts import SourceOverview
    from integration.service.gate import Handled
    from integration.service.overview import Overview

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Sample(NamedTuple):
    """A value with its labels."""

    labels: Mapping[str, str]
    value: float


class Durations:
    """How long requests took, by path and status, since this process started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, str], list[int]] = {}
        self._sums: dict[tuple[str, str, str], float] = {}

    def observe(self, handled: Handled) -> None:
        """Count a request."""
        key = (handled.method, handled.route, str(handled.status))
        with self._lock:
            counts = self._counts.setdefault(key, [0] * (len(BUCKETS) + 1))
            counts[bisect_left(BUCKETS, handled.seconds)] += 1
            self._sums[key] = self._sums.get(key, 0.0) + handled.seconds

    def lines(self) -> Iterator[str]:
        """The histogram."""
        name = "http_request_duration_seconds"
        yield from _head(name, "histogram", "Durations of requests to this process.")
        with self._lock:
            counts, sums = {key: list(one) for key, one in self._counts.items()}, dict(self._sums)
        for key, numbers in sorted(counts.items()):
            labels = dict(zip(("method", "path", "status"), key, strict=True))
            bounds = [*map(str, BUCKETS), "+Inf"]
            for bound, number in zip(bounds, accumulate(numbers), strict=True):
                yield _line(f"{name}_bucket", {**labels, "le": bound}, number)
            yield _line(f"{name}_sum", labels, sums[key])
            yield _line(f"{name}_count", labels, sum(numbers))


def metrics_text(overview: Overview, durations: Durations) -> str:
    """All metrics."""
    lines = [*_state(overview), *_etl(overview), *_delivery(overview), *durations.lines()]
    return "\n".join([*lines, ""])


def _state(overview: Overview) -> Iterator[str]:
    states = {"healthy": 0, "degraded": 1, "unhealthy": 2}
    up = {"database": overview.database_error, "journal": overview.journal_error}
    yield from _metric(
        "integration_up",
        "gauge",
        "1 if this part can be read.",
        [Sample({"part": part}, 0 if error else 1) for part, error in up.items()],
    )
    yield from _metric(
        "integration_health",
        "gauge",
        "0 healthy, 1 degraded, 2 unhealthy.",
        [Sample({}, states[overview.verdict.status])],
    )


def _etl(overview: Overview) -> Iterator[str]:
    if not overview.database_error:
        yield from _source_counts(overview.sources)
        yield from _source_times(overview.sources)


def _source_counts(sources: Sequence[SourceOverview]) -> Iterator[str]:
    yield from _metric(
        "etl_records_total",
        "counter",
        "Records that runs have read, by what was done with them.",
        [
            Sample({"source": one.name, "outcome": outcome}, getattr(one, outcome))
            for one in sources
            for outcome in ("inserted", "updated", "unchanged", "rejected")
        ],
    )
    yield from _metric(
        "etl_runs_total",
        "counter",
        "Runs of sources by status.",
        [
            Sample({"source": one.name, "status": status}, number)
            for one in sources
            for status, number in one.runs_by_status
        ],
    )
    yield from _metric(
        "etl_rejected_open",
        "gauge",
        "Records that are still rejected.",
        [Sample({"source": one.name}, one.facts.open_rejections) for one in sources],
    )


def _source_times(sources: Sequence[SourceOverview]) -> Iterator[str]:
    successes = [(one.name, one.last_success) for one in sources if one.last_success]
    yield from _metric(
        "etl_last_success_timestamp_seconds",
        "gauge",
        "When the last successful run ended.",
        [
            Sample({"source": name}, run.finished_at.timestamp())
            for name, run in successes
            if run.finished_at
        ],
    )
    yield from _metric(
        "etl_last_duration_seconds",
        "gauge",
        "How long the last successful run took.",
        [Sample({"source": name}, run.seconds) for name, run in successes],
    )
    yield from _metric(
        "etl_checkpoint_lag_seconds",
        "gauge",
        "Time since the start of the last successful run: what changed after it is missing.",
        [
            Sample({"source": one.name}, one.lag_seconds)
            for one in sources
            if one.lag_seconds is not None
        ],
    )


def _delivery(overview: Overview) -> Iterator[str]:
    totals = overview.totals
    if totals is None:
        return
    counts = [(shown, getattr(totals.counts, name)) for name, shown in OUTCOMES.items()]
    yield from _metric(
        "delivery_users_total",
        "counter",
        "Users of the journal's runs by outcome.",
        [Sample({"outcome": outcome}, number) for outcome, number in counts],
    )
    yield from _metric(
        "delivery_runs_total",
        "counter",
        "The journal's runs by status.",
        [Sample({"status": status}, number) for status, number in totals.by_status.items()],
    )
    yield from _metric(
        "delivery_retries_total", "counter", "Retried calls.", [Sample({}, totals.retries)]
    )
    yield from _metric(
        "delivery_pending_users",
        "gauge",
        "Users that a resumed or retried run would send.",
        [Sample({}, overview.pending_users)],
    )
    completed = [one for one in overview.deliveries if one.status == "completed"][:1]
    yield from _metric(
        "delivery_last_success_timestamp_seconds",
        "gauge",
        "When the last completed run ended.",
        [Sample({}, one.finished_at.timestamp()) for one in completed if one.finished_at],
    )
    yield from _metric(
        "delivery_last_duration_seconds",
        "gauge",
        "How long the last completed run took.",
        [Sample({}, one.seconds) for one in completed],
    )


def _metric(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield from _head(name, kind, text)
    for labels, value in samples:
        yield _line(name, labels, value)


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{shown}}} {value}" if shown else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
