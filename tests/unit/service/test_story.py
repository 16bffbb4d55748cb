"""A person's story: each situation, as text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from integration.core.models import CALLS, NOT_ATTEMPTED, CallResult, Run
from integration.core.people import Customer, SourceRecord, View
from integration.journal.people import Delivery
from integration.journal.schema import SECOND_ROW, UserOutcome
from integration.service.story import PersonFacts, listing_of, story_lines, story_of
from tests.support.journals import FAILED, OK

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 14, tzinfo=UTC)
ADA = Customer(7, "ada@example.com", "Ada", "Lovelace", "pro", "yes")
VIEW = View("pricing", "tablet", datetime(2026, 11, 19, 8, 11, 30, tzinfo=UTC))
RECORD = SourceRecord(
    "crm", "c-7", 3, "csv", datetime(2026, 11, 20, 2, tzinfo=UTC), "customers.csv, line 12"
)
RUN = Run(
    run_id="run-1",
    started_at="2026-11-20T03:00:05.000000+00:00",
    authentication="API Key",
    csv_file="a.csv",
    results_file="a.json",
    dry_run=False,
    number=1,
    status="completed",
)
REFUSED = CallResult(
    success=False,
    response={"code": "InvalidEmailAddressError", "msg": "Invalid email"},
    status_code=400,
    attempts=1,
    error="client_error",
)


def delivery(
    outcome: UserOutcome, profile: CallResult = OK, event: CallResult | None = None
) -> Delivery:
    """What run-1 has of Ada."""
    results = dict(zip(CALLS, (profile, event or profile), strict=True))
    return Delivery(RUN, 1, outcome, None, results)


def facts(**values: Any) -> PersonFacts:
    """Ada, who is in the list."""
    ada = PersonFacts(
        email="ada@example.com",
        now=NOW,
        customer=ADA,
        records=[RECORD],
        views=12,
        last_view=VIEW,
        last_qualifying_view=VIEW,
    )
    return replace(ada, **values)


def section(facts: PersonFacts, title: str) -> list[str]:
    """The lines of a section."""
    (lines,) = [one.lines for one in story_of(facts) if one.title == title]
    return list(lines)


def test_the_whole_story_of_a_delivered_person() -> None:
    """In the order in which it happened."""
    assert story_lines(facts(deliveries=[delivery("successful")])) == [
        "ada@example.com",
        "",
        "Source",
        "  crm (csv) record c-7: run 3 of 2026-11-20 02:00:00 UTC, customers.csv, line 12",
        "",
        "Customer",
        "  7: Ada Lovelace, ada@example.com, plan pro, candidate yes",
        "",
        "Views",
        "  12, the last of pricing on tablet at 2026-11-19 08:11:30 UTC",
        "",
        "In the list",
        "  yes: plan pro, and viewed pricing at 2026-11-19 08:11:30 UTC, within the last 7 days",
        "",
        "Deliveries",
        "  2026-11-20 03:00:05 UTC, run run-1: delivered",
        "    users/update: 200 Success",
        "    events/track: 200 Success",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"customer": None, "last_view": None}, "no: no customer has this email"),
        ({"customer": ADA._replace(plan_type="free")}, "no: the plan is free, and not pro"),
        ({"customer": ADA._replace(plan_type=None)}, "no: the plan is not set, and not pro"),
        ({"last_qualifying_view": None}, "no: no view of pricing or settings"),
        (
            {"last_qualifying_view": VIEW._replace(time=MIDNIGHT - timedelta(seconds=1))},
            (
                "no: the last view of pricing or settings, at 2026-11-13 23:59:59 UTC, is not"
                " within the last 7 days"
            ),
        ),
        (
            {"customer": ADA._replace(email="no-at-sign")},
            "no: the query returns them, but they are not sent: the email has no @",
        ),
    ],
)
def test_why_a_person_is_not_in_the_list(changes: dict[str, Any], expected: str) -> None:
    """One reason, the first that the query meets."""
    assert section(facts(**changes), "In the list") == [expected]


def test_views_count_from_midnight() -> None:
    """As in Query 2."""
    assert listing_of(facts(last_qualifying_view=VIEW._replace(time=MIDNIGHT))).is_listed


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            delivery("partial_failures", OK, REFUSED),
            [
                "one of two calls failed",
                "  users/update: 200 Success",
                "  events/track: 400 InvalidEmailAddressError: Invalid email",
            ],
        ),
        (
            delivery("total_failures", FAILED),
            [
                "not delivered",
                "  users/update: timeout (3 attempts)",
                "  events/track: timeout (3 attempts)",
            ],
        ),
        (
            delivery(
                "total_failures",
                replace(FAILED, response=SECOND_ROW, attempts=0, error="invalid_record"),
            ),
            ["not delivered", f"  {SECOND_ROW}"],
        ),
        (delivery("not_attempted", NOT_ATTEMPTED), ["not attempted"]),
        (
            delivery(
                "unchanged",
                replace(OK, response="unchanged: delivered by an earlier run", attempts=0),
            ),
            ["unchanged, so nothing was sent", "  unchanged: delivered by an earlier run"],
        ),
        (
            delivery("total_failures", replace(FAILED, response="<html>\n Bad " + "x" * 900)),
            [
                "not delivered",
                *(
                    f"  {call}: timeout: {('<html> Bad ' + 'x' * 900)[:200]} (3 attempts)"
                    for call in ("users/update", "events/track")
                ),
            ],
        ),
    ],
)
def test_each_run_has_iterables_answer(found: Delivery, expected: list[str]) -> None:
    """Or the reason why nothing was sent."""
    first, *others = section(facts(deliveries=[found]), "Deliveries")
    assert [first.removeprefix("2026-11-20 03:00:05 UTC, run run-1: "), *others] == expected


def test_a_record_that_the_source_rejected() -> None:
    """There is no customer, but the place and the reason are known."""
    rejected = RECORD._replace(code="not_allowed", field="plan_type", source_key=None)
    known = facts(customer=None, records=[rejected], last_view=None, last_qualifying_view=None)

    assert known.is_known
    assert section(known, "Source") == [
        (
            "crm (csv): run 3 of 2026-11-20 02:00:00 UTC, customers.csv, line 12"
            " - rejected: not_allowed plan_type"
        )
    ]
    assert section(known, "Customer") == ["none with this email"]
    assert section(known, "Views") == ["none"]


def test_a_record_whose_raw_page_is_gone() -> None:
    """After RAW_RETENTION_DAYS; its run may be gone as well."""
    gone = RECORD._replace(place=None, kind=None, started_at=None)
    assert section(facts(records=[gone]), "Source") == [
        "crm record c-7: run 3, raw page no longer stored"
    ]
    assert section(facts(records=[]), "Source") == ["no record of a source"]


def test_an_unknown_person() -> None:
    """Nothing is known anywhere."""
    unknown = PersonFacts(email="x@example.com", now=NOW)
    assert not unknown.is_known
    assert section(unknown, "Deliveries") == ["in no run"]


def test_without_a_database_the_journal_still_tells() -> None:
    """What is not known is not claimed."""
    down = PersonFacts(
        email="ada@example.com",
        now=NOW,
        database_error="Cannot connect to the database",
        deliveries=[delivery("successful")],
    )
    assert [one.title for one in story_of(down)] == ["Database", "Deliveries"]
    assert story_lines(down)[2:4] == ["Database", "  Cannot connect to the database"]


def test_a_journal_that_cannot_be_read_is_named() -> None:
    """Its message takes the place of the runs."""
    assert section(facts(journal_error="The journal is damaged"), "Deliveries") == [
        "The journal is damaged"
    ]
