"""A person's story: source record → row → views → in the list or not, and why → each run. Pure.

The page, `/people/{email}` and `main.py --explain` show the same sections.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from integration.core.models import ENDPOINTS
from integration.iterable.payloads import undeliverable_reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.core.models import Call, CallResult
    from integration.core.people import Customer, SourceRecord, View
    from integration.journal.people import Delivery

# The conditions of Query 2 in phase2_queries.sql; a test compares the two.
PLAN = "pro"
PAGES = ("pricing", "settings")
DAYS = 7
MAX_MESSAGE = 200
_OUTCOMES = {
    "successful": "delivered",
    "partial_failures": "one of two calls failed",
    "total_failures": "not delivered",
    "not_attempted": "not attempted",
    "unchanged": "unchanged, so nothing was sent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonFacts:
    """What is known of a person.

    Attributes:
        email: as it was asked for.
        now: the current time, in UTC.
        database_error: why the database could not be read, or None.
        journal_error: why the journal could not be read, or None.
        customer: the row with this email.
        records: the records of the sources.
        views: the number of page views.
        last_view: the latest of them.
        last_qualifying_view: the latest of those pages that count.
        deliveries: what the runs have, newest first.
        query_file: the file with the query that chooses the users; None for Query 2.
    """

    email: str
    now: datetime
    database_error: str | None = None
    journal_error: str | None = None
    customer: Customer | None = None
    records: Sequence[SourceRecord] = ()
    views: int = 0
    last_view: View | None = None
    last_qualifying_view: View | None = None
    deliveries: Sequence[Delivery] = ()
    query_file: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything is known of the person."""
        return bool(self.customer or self.records or self.deliveries)


class Section(NamedTuple):
    """A part of the story."""

    title: str
    lines: Sequence[str]


class Listing(NamedTuple):
    """Whether the next run would send the person, and why."""

    is_listed: bool
    reason: str


def story_of(facts: PersonFacts) -> list[Section]:
    """The sections, in the order in which things happened."""
    deliveries = list(_delivery_lines(facts))
    if facts.database_error:
        return [Section("Database", [facts.database_error]), Section("Deliveries", deliveries)]
    return [
        Section("Source", list(_source_lines(facts))),
        Section("Customer", [_customer_line(facts.customer)]),
        Section("Views", [_views_line(facts)]),
        Section("In the list", [_listing_line(facts)]),
        Section("Deliveries", deliveries),
    ]


def sentence_of(facts: PersonFacts) -> str:
    """Whether the next run would send the person, and the last outcome."""
    parts = []
    if not facts.database_error:
        is_listed = listing_of(facts).is_listed
        parts.append(f"{'In' if is_listed else 'Not in'} the list of the next delivery.")
    if facts.deliveries:
        last = facts.deliveries[0]
        when = _second(datetime.fromisoformat(last.run.started_at))
        parts.append(f"Last delivery, {when}: {_OUTCOMES[last.outcome]}.")
    elif not facts.journal_error:
        parts.append("In no delivery so far.")
    return " ".join(parts)


def _listing_line(facts: PersonFacts) -> str:
    if facts.query_file:
        return f"the query of {facts.query_file} decides: python main.py --dry-run shows its users"
    listing = listing_of(facts)
    return f"{'yes' if listing.is_listed else 'no'}: {listing.reason}"


def story_lines(facts: PersonFacts) -> list[str]:
    """The story for a terminal."""
    lines = [facts.email]
    for section in story_of(facts):
        lines += ["", section.title, *(f"  {line}" for line in section.lines)]
    return lines


def listing_of(facts: PersonFacts) -> Listing:
    """Whether Query 2 returns the person, whether they can be sent, and why."""
    customer, view = facts.customer, facts.last_qualifying_view
    if customer is None:
        return Listing(is_listed=False, reason="no customer has this email")
    if customer.plan_type != PLAN:
        return Listing(
            is_listed=False, reason=f"the plan is {customer.plan_type or 'not set'}, and not {PLAN}"
        )
    if view is None:
        return Listing(is_listed=False, reason=f"no view of {' or '.join(PAGES)}")
    days = f"within the last {DAYS} days"
    if view.time < first_day(facts.now):
        text = f"the last view of {' or '.join(PAGES)}, at {_second(view.time)}, is not {days}"
        return Listing(is_listed=False, reason=text)
    if reason := undeliverable_reason(customer.email):
        return Listing(is_listed=False, reason=f"the query returns them, but they are {reason}")
    return Listing(
        is_listed=True,
        reason=f"plan {PLAN}, and viewed {view.page} at {_second(view.time)}, {days}",
    )


def first_day(now: datetime) -> datetime:
    """From when on views count: midnight in UTC, so many days ago."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)


def _source_lines(facts: PersonFacts) -> Iterator[str]:
    for record in facts.records:
        key = f" record {record.source_key}" if record.source_key else ""
        kind = f" ({record.kind})" if record.kind else ""
        when = f" of {_second(record.started_at)}" if record.started_at else ""
        place = record.place or "raw page no longer stored"
        line = f"{record.source}{kind}{key}: run {record.run_id}{when}, {place}"
        if record.code:
            line += f" - rejected: {record.code}{f' {record.field}' if record.field else ''}"
        yield line
    if not facts.records:
        yield "no record of a source"


def _customer_line(customer: Customer | None) -> str:
    if customer is None:
        return "none with this email"
    name = " ".join(filter(None, (customer.first_name, customer.last_name))) or "no name"
    plan, candidate = customer.plan_type or "not set", customer.candidate or "not set"
    return f"{customer.id}: {name}, {customer.email}, plan {plan}, candidate {candidate}"


def _views_line(facts: PersonFacts) -> str:
    if facts.last_view is None:
        return "none"
    view = facts.last_view
    on = f" on {view.device}" if view.device else ""
    return f"{facts.views:,}, the last of {view.page}{on} at {_second(view.time)}"


def _delivery_lines(facts: PersonFacts) -> Iterator[str]:
    if facts.journal_error:
        yield facts.journal_error
    elif not facts.deliveries:
        yield "in no run"
    for delivery in facts.deliveries:
        run = delivery.run
        when = _second(datetime.fromisoformat(run.started_at))
        sync = f" of {run.sync}" if run.sync else ""
        yield f"{when}, run {run.run_id}{sync}: {_OUTCOMES[delivery.outcome]}"
        if reason := _common_reason(delivery):
            yield f"  {reason}"
        elif delivery.outcome != "not_attempted":
            yield from (f"  {_call_line(call, one)}" for call, one in delivery.results.items())


def _common_reason(delivery: Delivery) -> str | None:
    """Why nothing was sent, if nothing was."""
    if any(one.attempts for one in delivery.results.values()):
        return None
    reasons = {one.response for one in delivery.results.values() if isinstance(one.response, str)}
    return reasons.pop() if len(reasons) == 1 else None


def _call_line(call: Call, result: CallResult) -> str:
    """A call with Iterable's answer."""
    status = f" {result.status_code}" if result.status_code else ""
    answer = f"{ENDPOINTS[call]}:{status} {_answer(result)}"
    return answer if result.attempts < 2 else f"{answer} ({result.attempts} attempts)"


def _answer(result: CallResult) -> str:
    response = result.response
    if result.success:
        return result.code or "Success"
    if isinstance(response, dict):
        message = str(response.get("msg") or "")
        code = str(response.get("code") or result.error)
        return f"{code}: {message}"[:MAX_MESSAGE] if message else code
    reason = " ".join(str(response or "").split())[:MAX_MESSAGE]
    return f"{result.error}: {reason}" if reason else str(result.error)


def _second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
