"""What a run's end means: exit code, counts and duration → conditions. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from integration.core.exit_codes import ExitCode
from integration.notify.decision import OK, PARTIAL, Condition

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.config.thresholds import Thresholds
    from integration.core.run_ends import Extent, SourceEnd
    from integration.core.verdict import Verdict

# Fewer runs say nothing about what is usual, and a few seconds more are nothing unusual.
MIN_RUNS = 3
MIN_SECONDS = 10.0
INTERRUPTED = frozenset({ExitCode.SIGINT, ExitCode.SIGTERM})


class DeliveryEnd(NamedTuple):
    """How `main.py` ended.

    Attributes:
        error: the line that it ended with, if a run was not possible.
        has_run: whether there was anything to do.
        users: of the run, if it is complete.
        undelivered: how many of them were not fully delivered.
        reads_list: whether the run has read the list of users.
        extent: None if the run is not comparable.
        verdict: how the deliveries are; None if the journal cannot tell.
    """

    exit_code: int
    error: str | None = None
    has_run: bool = True
    users: int | None = None
    undelivered: int = 0
    reads_list: bool = False
    extent: Extent | None = None
    verdict: Verdict | None = None


def delivery_conditions(end: DeliveryEnd, limits: Thresholds) -> list[Condition]:
    """How the delivery is; nothing if it was interrupted, or had nothing to do."""
    if end.exit_code in INTERRUPTED or not (end.has_run or end.exit_code):
        return []
    return [_delivery(end), *_delivery_thresholds(end, limits)]


def _delivery(end: DeliveryEnd) -> Condition:
    state, title = _state("The delivery", end.exit_code)
    if state == OK:
        return Condition("delivery", state, title)
    verdict = end.verdict
    if end.error:
        text, advice = end.error, "python main.py --status"
    elif verdict is not None and verdict.status != "healthy":
        text, advice = f"{verdict.status.capitalize()}: {verdict.sentence}", verdict.advice or ""
    else:
        text, advice = "", "python main.py --status"
    return Condition("delivery", state, title, text, advice)


def _delivery_thresholds(end: DeliveryEnd, limits: Thresholds) -> Iterator[Condition]:
    advice = "python main.py --status"
    if end.users is None:
        return
    if limits.failed_percent is not None and end.users:
        share = 100 * end.undelivered / end.users
        limit = f"{limits.failed_percent:g} %"
        title = f"More than {limit} of the users were not delivered"
        text = f"{end.undelivered:,} of {end.users:,} users ({share:.1f} %)."
        yield _threshold(
            ("delivery failed_percent", f"No more than {limit} of the users were not delivered"),
            Condition("", "raised", title, text, advice),
            is_raised=share > limits.failed_percent,
        )
    if limits.empty_list and end.reads_list:
        yield _threshold(
            ("delivery empty_list", "There are users to send again"),
            Condition(
                "",
                "raised",
                "There were no users to send",
                "Query 2 found none; check that customers and page views arrive.",
                "python cli.py stats",
            ),
            is_raised=end.users == 0,
        )
    yield from _duration("delivery", "The delivery", end.extent, limits.duration, advice)


def ingest_conditions(
    exit_code: int, error: str | None, sources: Sequence[SourceEnd], limits: Thresholds
) -> list[Condition]:
    """How the ingest and its sources are; nothing if it was interrupted.

    Args:
        exit_code: of all sources together.
        error: why none, or not all, could be read.
        sources: those that were read.
        limits: the thresholds.
    """
    if exit_code in INTERRUPTED:
        return []
    found = []
    if error:
        state, title = _state("The ingest", exit_code)
        found.append(Condition("ingest", state, title, error, "python cli.py stats"))
    else:
        found.append(Condition("ingest", OK, "The ingest works again"))
    for one in sources:
        found += [_source(one), *_source_thresholds(one, limits)]
    return found


def _source(end: SourceEnd) -> Condition:
    state, title = _state(f"The source {end.name}", end.exit_code)
    scope = f"source {end.name}"
    if state == OK:
        return Condition(scope, state, title)
    if state == PARTIAL:
        text = f"{end.rejected:,} of {end.records:,} records were rejected."
        return Condition(scope, state, title, text, f"python cli.py rejected --source {end.name}")
    return Condition(scope, state, title, end.error or "", f"python cli.py run --source {end.name}")


def _source_thresholds(end: SourceEnd, limits: Thresholds) -> Iterator[Condition]:
    scope, name = f"source {end.name}", f"The run of the source {end.name}"
    yield from _duration(scope, name, end.extent, limits.duration, "python cli.py stats")


def _state(name: str, exit_code: int) -> tuple[str, str]:
    if exit_code == ExitCode.OK:
        return OK, f"{name} works again"
    if exit_code == ExitCode.SOME_FAILED:
        return PARTIAL, f"{name} was partial (exit code 1)"
    return f"failed {exit_code:d}", f"{name} failed (exit code {exit_code:d})"


def _duration(
    scope: str, name: str, extent: Extent | None, limit: float | None, advice: str
) -> Iterator[Condition]:
    if limit is None or extent is None or len(extent.earlier) < MIN_RUNS:
        return
    usual = median(extent.earlier)
    yield _threshold(
        (f"{scope} duration", f"{name} took as long as usual again"),
        Condition(
            "",
            "raised",
            f"{name} took longer than usual",
            f"It took {extent.seconds:,.0f} s, more than {limit:g} times the median of the last"
            f" {len(extent.earlier)} runs, {usual:,.1f} s.",
            advice,
        ),
        is_raised=extent.seconds >= MIN_SECONDS and extent.seconds > limit * usual,
    )


def _threshold(scope_and_ok: tuple[str, str], raised: Condition, *, is_raised: bool) -> Condition:
    scope, well = scope_and_ok
    return raised._replace(scope=scope) if is_raised else Condition(scope, OK, well)
