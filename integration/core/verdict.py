"""Is all well, and what is to be done? One answer for the page, `/health` and the terminal. Pure.

unhealthy    something does not work until it is repaired
degraded     it works, but something waits to be done
healthy      nothing has to be done, though something may be worth a look
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from integration.core.facts import DeliveryFacts, Facts, LastDelivery, Pending, SourceFacts

Health = Literal["healthy", "degraded", "unhealthy"]

# A delivery is overdue after so many times the longest of the last pauses between two starts.
OVERDUE_PAUSES = 1.5
PAUSES_COMPARED = 7
MIN_PAUSES = 3
MIN_PAUSE = timedelta(hours=1)
_RANKS: dict[Health, int] = {"unhealthy": 0, "degraded": 1, "healthy": 2}
RESUME = "--resume"
RETRY = "--retry-failed"


def delivery_command(option: str, sync: str) -> str:
    """What starts a delivery with this option, of a sync or of none."""
    return f"python main.py --sync {sync} {option}" if sync else f"python main.py {option}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not well: one sentence, and the one thing to do."""

    status: Health
    sentence: str
    advice: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the product is.

    Attributes:
        sentence: the first problem, or what is well.
        advice: the one thing to do, with its command; None if nothing has to be done.
        problems: all of them, most urgent first; those of a healthy product are worth a look.
    """

    status: Health
    sentence: str
    advice: str | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def others(self) -> tuple[Problem, ...]:
        """The problems that the sentence does not name."""
        return self.problems if self.status == "healthy" else self.problems[1:]

    @property
    def line(self) -> str:
        """Status, sentence and advice; what is worth a look, if there is nothing else."""
        parts = [f"{self.status.capitalize()}: {self.sentence}"]
        if self.advice:
            parts.append(f"Next: {self.advice}")
        if self.status == "healthy":
            parts += [f"{one.sentence} See {one.advice}" for one in self.problems]
        return " ".join(parts)


def judge(facts: Facts) -> Verdict:
    """The verdict; equally urgent problems stay in the order database, deliveries, sources."""
    found = sorted(_problems(facts), key=lambda problem: _RANKS[problem.status])
    first = found[0] if found else None
    if first and first.status != "healthy":
        return Verdict(first.status, first.sentence, first.advice, tuple(found))
    if not _has_run(facts):
        return _nothing_yet(facts)
    return Verdict("healthy", f"All is well; {_what_is_well(facts)}.", None, tuple(found))


def _problems(facts: Facts) -> Iterator[Problem]:
    if facts.database_error:
        yield Problem("unhealthy", "The database cannot be used.", facts.database_error)
    if facts.deliveries:
        yield from _delivery_problems(facts.deliveries, facts.now, facts.delivery_every_hours)
    sources = facts.sources or ()
    begun = any(source.status for source in sources)
    for source in sources:
        yield from _source_problems(source, others_have_run=begun)


def _delivery_problems(
    facts: DeliveryFacts, now: datetime, expected_hours: float | None
) -> Iterator[Problem]:
    if facts.error:
        yield Problem("unhealthy", "The journal cannot be read.", facts.error)
    if facts.is_running:  # what is pending now may be delivered soon
        return
    if facts.unfinished:
        yield _unfinished(facts.unfinished)
    failed = facts.undelivered
    if failed and not (facts.unfinished and facts.unfinished.run_id == failed.run_id):
        text = f"{_users(failed.users)} of the delivery of {_minute(failed.started_at)} "
        yield Problem(
            "degraded",
            f"{text}{_were(failed.users)} not delivered.",
            delivery_command(RETRY, failed.sync),
        )
    if facts.elsewhere:
        yield _elsewhere(facts.elsewhere)
    if expected_hours is not None and not facts.error:
        yield from _not_as_expected(facts.starts, now, expected_hours)
    elif pause := _overdue_pause(facts.starts, now):
        yield _overdue(facts.starts[0], pause)
    if facts.unsendable:
        yield Problem(
            "degraded",
            f"{_users(facts.unsendable)} cannot be sent as they are.",
            "correct the rows in the database (see python main.py --status), then python main.py",
        )


def _unfinished(run: Pending) -> Problem:
    name, pending = f"The delivery of {_minute(run.started_at)}", f"{_users(run.users)} pending"
    resume = delivery_command(RESUME, run.sync)
    if run.status == "loading":
        sentence = f"{name} ended before it loaded its users, and sent nothing."
        return Problem("unhealthy", sentence, resume)
    if run.status == "running" and not run.users:
        return Problem("degraded", f"{name} was killed before it wrote its results file.", resume)
    if run.status == "running":
        return Problem("unhealthy", f"{name} was killed, with {pending}.", resume)
    if run.status == "interrupted":
        return Problem("degraded", f"{name} was interrupted, with {pending}.", resume)
    reason, cure = _reason_and_cure(run.stop_reason)
    advice = f"{cure}, then {resume}" if cure else resume
    return Problem("unhealthy", f"{name} stopped, with {pending}{reason}.", advice)


def _reason_and_cure(stop_reason: str | None) -> tuple[str, str | None]:
    """Why a run stopped, as the end of a sentence, and what to check, if the text says so."""
    what, *others = re.split(r"[:;] ", stop_reason or "")
    return f": {what}" if what else "", others[-1] if others else None


def _elsewhere(run: Pending) -> Problem:
    left = f"with {_users(run.users)} pending" if run.users else "which did not load its users"
    return Problem(
        "degraded",
        f"The delivery of {_minute(run.started_at)}, {left}, was for another"
        " ITERABLE_API_BASE_URL or ITERABLE_API_KEY.",
        f"restore these settings, then {delivery_command(RESUME, run.sync)};"
        " or start a new run with python main.py",
    )


def _not_as_expected(
    starts: Sequence[datetime], now: datetime, expected_hours: float
) -> Iterator[Problem]:
    expected = f"one is expected every {expected_hours:g} {_hours(expected_hours)}"
    advice = "check cron, or whatever starts python main.py"
    if not starts:
        yield Problem("degraded", f"There has been no delivery yet, and {expected}.", advice)
    elif now - starts[0] > timedelta(hours=expected_hours):
        started = f"the last one started at {_minute(starts[0])}"
        yield Problem("degraded", f"A delivery is overdue: {started}, and {expected}.", advice)


def _overdue_pause(starts: Sequence[datetime], now: datetime) -> timedelta | None:
    """The usual pause between two starts, if it has been over for long."""
    recent = starts[: PAUSES_COMPARED + 1]
    pauses = [later - earlier for later, earlier in pairwise(recent)]
    if len(pauses) < MIN_PAUSES:
        return None
    usual = max(MIN_PAUSE, *pauses)
    return usual if now - starts[0] > OVERDUE_PAUSES * usual else None


def _overdue(last_start: datetime, pause: timedelta) -> Problem:
    hours = pause / timedelta(hours=1)
    return Problem(
        "degraded",
        f"A delivery is overdue: the last one started at {_minute(last_start)}, and before that one"
        f" started at least every {hours:.0f} {_hours(round(hours))}.",
        "check cron, or whatever starts python main.py",
    )


def _source_problems(source: SourceFacts, *, others_have_run: bool) -> Iterator[Problem]:
    name, run = f"The source {source.name}", f"python cli.py run --source {source.name}"
    has_fresh_data = source.has_succeeded and not source.stale
    failed: Health = "degraded" if has_fresh_data else "unhealthy"
    if source.status is None and others_have_run:
        yield Problem("degraded", f"{name} has never been read.", run)
    elif source.refused:
        advice = f"correct its credentials, then {run}"
        yield Problem("unhealthy", f"{name} refused the credentials.", advice)
    elif source.status == "failed":
        reason = f": {source.error}" if source.error else ""
        yield Problem(failed, f"The last run of the source {source.name} failed{reason}.", run)
    elif source.status == "crashed":
        yield Problem(failed, f"The last run of the source {source.name} was killed.", run)
    elif source.stale and source.status not in {None, "running"}:
        yield Problem("degraded", f"{name} is {source.stale}.", run)
    if number := source.open_rejections:
        records = f"{number:,} {'record' if number == 1 else 'records'}"
        yield Problem(
            "healthy",
            f"{records} of the source {source.name} {'is' if number == 1 else 'are'} rejected.",
            f"python cli.py rejected --source {source.name}",
        )


def _has_run(facts: Facts) -> bool:
    delivered = facts.deliveries is not None and facts.deliveries.last is not None
    return delivered or any(source.status for source in facts.sources or ())


def _nothing_yet(facts: Facts) -> Verdict:
    if facts.sources:
        return Verdict("healthy", "Nothing has run yet.", "python cli.py run, then python main.py")
    sentence = "There has been no delivery yet."
    return Verdict("healthy", sentence, "python main.py --dry-run, then python main.py")


def _what_is_well(facts: Facts) -> str:
    parts = []
    if facts.deliveries:
        parts.append(_delivery_text(facts.deliveries))
    if facts.sources:
        parts.append(_sources_text(facts.sources))
    return " and ".join(parts)


def _delivery_text(facts: DeliveryFacts) -> str:
    if facts.last is None:
        return "there has been no delivery yet"
    if facts.is_running:
        return _progress(facts.last)
    when, counts = _minute(facts.last.started_at), facts.last.counts
    if not counts.total_users:
        return f"the last delivery had no users ({when})"
    return f"no users of the last delivery are pending ({_users(counts.total_users)}, {when})"


def _progress(run: LastDelivery) -> str:
    if run.status not in {"loading", "running"} or not run.counts.total_users:
        return "a delivery is in progress, and is loading its users"
    done = run.counts.total_users - run.counts.not_attempted
    return f"a delivery is in progress: {done:,} of {_users(run.counts.total_users)} so far"


def _sources_text(sources: Sequence[SourceFacts]) -> str:
    running = [source.name for source in sources if source.status == "running"]
    if running:
        return f"the source {running[0]} is being read"
    if not any(source.status for source in sources):
        return "no source has been read yet"
    if len(sources) == 1:
        return f"the source {sources[0].name} is up to date"
    return f"all {len(sources)} sources are up to date"


def _hours(number: float) -> str:
    return "hour" if number == 1 else "hours"


def _users(number: int) -> str:
    return f"{number:,} {'user' if number == 1 else 'users'}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
