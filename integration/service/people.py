"""One person as `/people/{email}` shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.core.clock import utc_now
from integration.service.masking import mask_email, mask_text, masked
from integration.service.person import facts_of
from integration.service.problems import Problem
from integration.service.run_documents import OUTCOMES
from integration.service.story import listing_of, story_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.service.parts import Parts
    from integration.service.story import PersonFacts, Section


def person_facts(parts: Parts, email: str) -> PersonFacts:
    """What is known of a person.

    Raises:
        Problem: 404, nothing is known; 503, because something cannot be read.
    """
    find = parts.ingest.find_source_records
    facts = facts_of(email, utc_now(), parts.pool.session(), find, parts.journal)
    if not facts.is_known:
        errors = [error for error in (facts.database_error, facts.journal_error) if error]
        if errors:
            raise Problem(503, "; ".join(errors))
        raise Problem(404, "Nothing is known of a person with this email address")
    return facts


def person_document(facts: PersonFacts, *, is_masked: bool) -> dict[str, object]:
    """The person, for programs; `story` is the same in words."""
    customer = facts.customer._asdict() if facts.customer else None
    views = (facts.last_view, facts.last_qualifying_view)
    last, qualifying = (view._asdict() if view else None for view in views)
    return {
        "email": mask_email(facts.email) if is_masked else facts.email,
        "sources": [record._asdict() for record in facts.records],
        "customer": masked(customer) if customer and is_masked else customer,
        "views": {"count": facts.views, "last": last, "last_qualifying": qualifying},
        "in_list": None if facts.database_error else listing_of(facts)._asdict(),
        "deliveries": [
            {
                "run": f"delivery-{one.run.number}",
                "started_at": one.run.started_at,
                "outcome": OUTCOMES[one.outcome],
                "at": one.at,
                "calls": None if is_masked else dict(one.results),
            }
            for one in facts.deliveries
        ],
        "story": [section._asdict() for section in story(facts, is_masked=is_masked)],
        "unavailable": [
            {"part": name, "detail": error}
            for name, error in (
                ("database", facts.database_error),
                ("journal", facts.journal_error),
            )
            if error
        ],
    }


def story(facts: PersonFacts, *, is_masked: bool) -> Sequence[Section]:
    """The story; masked, without what identifies the person."""
    sections = story_of(facts)
    if not is_masked:
        return sections
    personal = [facts.email]
    if facts.customer:
        personal += [
            text
            for text in (
                facts.customer.email,
                facts.customer.first_name,
                facts.customer.last_name,
                facts.customer.candidate,
            )
            if text
        ]
    return [
        section._replace(lines=[mask_text(line, personal) for line in section.lines])
        for section in sections
    ]
