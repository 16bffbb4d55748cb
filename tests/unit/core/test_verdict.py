"""The verdict: one sentence and one thing to do for each situation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from integration.core.facts import DeliveryFacts, Facts, LastDelivery, Pending, SourceFacts
from integration.core.models import Counts
from integration.core.verdict import judge
from integration.delivery import stop_reasons

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
START = datetime(2026, 11, 21, 2, 6, 30, tzinfo=UTC)
THEN = "2026-11-21 02:06 UTC"
STALE = "stale: the last successful run ended at 2026-11-19 02:00 UTC, more than 24 hours ago"


def last(**values: object) -> LastDelivery:
    """The newest run."""
    run = LastDelivery(
        run_id="newest", started_at=START, status="completed", counts=Counts(successful=1999)
    )
    return replace(run, **values)  # type: ignore[arg-type]


def pending(users: int = 2, **values: object) -> Pending:
    """A run with pending users."""
    run = Pending(run_id="newest", started_at=START, status="completed", users=users)
    return replace(run, **values)  # type: ignore[arg-type]


def delivered(**values: object) -> DeliveryFacts:
    """A journal with one run."""
    return replace(DeliveryFacts(last=last()), **values)  # type: ignore[arg-type]


def source(name: str = "crm", **values: object) -> SourceFacts:
    """A source that was read."""
    read = SourceFacts(name=name, status="completed", has_succeeded=True)
    return replace(read, **values)  # type: ignore[arg-type]


def line(
    deliveries: DeliveryFacts | None = None, *sources: SourceFacts, error: str | None = None
) -> str:
    """What is shown."""
    facts = Facts(now=NOW, deliveries=deliveries, sources=sources, database_error=error)
    return judge(facts).line


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            DeliveryFacts(),
            (
                "Healthy: There has been no delivery yet."
                " Next: python main.py --dry-run, then python main.py"
            ),
        ),
        (
            delivered(),
            (
                "Healthy: All is well; no users of the last delivery are pending"
                f" (1,999 users, {THEN})."
            ),
        ),
        (
            delivered(last=last(counts=Counts())),
            f"Healthy: All is well; the last delivery had no users ({THEN}).",
        ),
        (
            delivered(
                is_running=True,
                last=last(status="running", counts=Counts(successful=608, not_attempted=1392)),
                unfinished=pending(1392),
            ),
            "Healthy: All is well; a delivery is in progress: 608 of 2,000 users so far.",
        ),
        (
            delivered(is_running=True, last=last(status="loading", counts=Counts())),
            "Healthy: All is well; a delivery is in progress, and is loading its users.",
        ),
        (
            delivered(undelivered=pending(2)),
            (
                f"Degraded: 2 users of the delivery of {THEN} were not delivered."
                " Next: python main.py --retry-failed"
            ),
        ),
        (
            delivered(undelivered=pending(1)),
            (
                f"Degraded: 1 user of the delivery of {THEN} was not delivered."
                " Next: python main.py --retry-failed"
            ),
        ),
        (
            delivered(unfinished=pending(1392, status="running")),
            (
                f"Unhealthy: The delivery of {THEN} was killed, with 1,392 users pending."
                " Next: python main.py --resume"
            ),
        ),
        (
            delivered(unfinished=pending(0, status="running")),
            (
                f"Degraded: The delivery of {THEN} was killed before it wrote its results file."
                " Next: python main.py --resume"
            ),
        ),
        (
            delivered(unfinished=pending(0, status="loading")),
            (
                f"Unhealthy: The delivery of {THEN} ended before it loaded its users, and sent"
                " nothing. Next: python main.py --resume"
            ),
        ),
        (
            delivered(unfinished=pending(5, status="interrupted"), undelivered=pending(5)),
            (
                f"Degraded: The delivery of {THEN} was interrupted, with 5 users pending."
                " Next: python main.py --resume"
            ),
        ),
        (
            delivered(
                unfinished=pending(
                    3, status="stopped", stop_reason=stop_reasons.key_refused(None).text
                )
            ),
            (
                f"Unhealthy: The delivery of {THEN} stopped, with 3 users pending: Iterable refused"
                " the API key. Next: check ITERABLE_API_KEY and ITERABLE_API_BASE_URL, then"
                " python main.py --resume"
            ),
        ),
        (
            delivered(
                unfinished=pending(3, status="stopped", stop_reason=stop_reasons.UNREACHABLE.text)
            ),
            (
                f"Unhealthy: The delivery of {THEN} stopped, with 3 users pending: Iterable is"
                " unreachable. Next: check the network, the proxy and ITERABLE_API_BASE_URL, then"
                " python main.py --resume"
            ),
        ),
        (
            delivered(unfinished=pending(3, status="stopped", stop_reason="No more")),
            (
                f"Unhealthy: The delivery of {THEN} stopped, with 3 users pending: No more."
                " Next: python main.py --resume"
            ),
        ),
        (
            delivered(elsewhere=pending(3, status="stopped")),
            (
                f"Degraded: The delivery of {THEN}, with 3 users pending, was for another"
                " ITERABLE_API_BASE_URL or ITERABLE_API_KEY. Next: restore these settings, then"
                " python main.py --resume; or start a new run with python main.py"
            ),
        ),
        (
            delivered(elsewhere=pending(0, status="loading")),
            (
                f"Degraded: The delivery of {THEN}, which did not load its users, was for another"
                " ITERABLE_API_BASE_URL or ITERABLE_API_KEY. Next: restore these settings, then"
                " python main.py --resume; or start a new run with python main.py"
            ),
        ),
        (
            delivered(unsendable=3),
            (
                "Degraded: 3 users cannot be sent as they are. Next: correct the rows in the"
                " database (see python main.py --status), then python main.py"
            ),
        ),
        (
            DeliveryFacts(error="The journal j.db is damaged (x): move it away and run again"),
            (
                "Unhealthy: The journal cannot be read."
                " Next: The journal j.db is damaged (x): move it away and run again"
            ),
        ),
    ],
)
def test_the_deliveries_are_judged(facts: DeliveryFacts, expected: str) -> None:
    """Each situation has its command."""
    assert line(facts) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (source(), "Healthy: All is well; the source crm is up to date."),
        (
            source(status="running", stale=STALE),
            "Healthy: All is well; the source crm is being read.",
        ),
        (
            source(status=None, has_succeeded=False),
            "Healthy: Nothing has run yet. Next: python cli.py run, then python main.py",
        ),
        (source(stale=STALE), f"Degraded: The source crm is {STALE}. Next: {{run}}"),
        (
            source(status="failed", refused=True, error="The source refused"),
            (
                "Unhealthy: The source crm refused the credentials."
                " Next: correct its credentials, then {run}"
            ),
        ),
        (
            source(status="failed", error="no answer"),
            "Degraded: The last run of the source crm failed: no answer. Next: {run}",
        ),
        (
            source(status="failed", error="no answer", stale=STALE),
            "Unhealthy: The last run of the source crm failed: no answer. Next: {run}",
        ),
        (
            source(status="failed", has_succeeded=False),
            "Unhealthy: The last run of the source crm failed. Next: {run}",
        ),
        (
            source(status="crashed"),
            "Degraded: The last run of the source crm was killed. Next: {run}",
        ),
        (
            source(open_rejections=1),
            (
                "Healthy: All is well; the source crm is up to date. 1 record of the source crm is"
                " rejected. See python cli.py rejected --source crm"
            ),
        ),
        (
            source(open_rejections=1200),
            (
                "Healthy: All is well; the source crm is up to date. 1,200 records of the source"
                " crm are rejected. See python cli.py rejected --source crm"
            ),
        ),
    ],
)
def test_a_source_is_judged(facts: SourceFacts, expected: str) -> None:
    """A failure is worse when there is no fresh data."""
    assert line(None, facts) == expected.format(run="python cli.py run --source crm")


def test_a_source_that_was_never_read_is_a_problem_beside_others() -> None:
    """It may have been forgotten."""
    never = source("web", status=None, has_succeeded=False)
    assert line(None, source(), never) == (
        "Degraded: The source web has never been read. Next: python cli.py run --source web"
    )
    assert line(delivered(), never).endswith("and no source has been read yet.")


def test_without_a_problem_all_parts_are_named() -> None:
    """Deliveries and sources."""
    assert line(delivered(), source(), source("web")) == (
        f"Healthy: All is well; no users of the last delivery are pending (1,999 users, {THEN})"
        " and all 2 sources are up to date."
    )
    assert line(DeliveryFacts(), source()) == (
        "Healthy: All is well; there has been no delivery yet and the source crm is up to date."
    )


def test_a_database_that_is_down_comes_first() -> None:
    """What is known without it is still judged."""
    advice = "Cannot connect to the database at db:3306: check that the server runs"
    facts = Facts(
        now=NOW,
        deliveries=delivered(unfinished=pending(2, status="running")),
        database_error=advice,
    )

    verdict = judge(facts)

    assert verdict.line == f"Unhealthy: The database cannot be used. Next: {advice}"
    assert len(verdict.problems) == 2


def test_what_does_not_work_comes_before_what_waits() -> None:
    """Equally urgent problems stay in the order of the facts."""
    facts = Facts(
        now=NOW,
        deliveries=delivered(undelivered=pending(2), unsendable=1),
        sources=[source(open_rejections=1), source("web", status="failed", has_succeeded=False)],
    )

    verdict = judge(facts)

    assert [one.status for one in verdict.problems] == [
        "unhealthy",
        "degraded",
        "degraded",
        "healthy",
    ]
    assert [one.sentence.split()[0] for one in verdict.problems] == ["The", "2", "1", "1"]
    assert verdict.status == "unhealthy"
    assert (verdict.sentence, verdict.advice) == (
        verdict.problems[0].sentence,
        verdict.problems[0].advice,
    )


@pytest.mark.parametrize(
    ("hours_since", "pauses", "overdue"),
    [
        (37, [24, 24, 24], True),
        (35, [24, 24, 24], False),
        (60, [24, 24, 24, 24, 72], False),  # no runs at weekends
        (400, [24, 24], False),  # too few to tell
        (37, [24, 24, 24, 24, 24, 24, 24, 240], True),  # an outage some time ago
        (1.4, [0.1, 0.1, 0.1], False),
        (2, [0.1, 0.1, 0.1], True),
    ],
)
def test_a_delivery_is_overdue_by_the_usual_pauses(
    hours_since: float, pauses: list[float], overdue: bool
) -> None:
    """The longest of the last seven, at least an hour."""
    starts = [NOW - timedelta(hours=hours_since)]
    for pause in pauses:
        starts.append(starts[-1] - timedelta(hours=pause))

    text = line(delivered(starts=starts))

    assert text.startswith("Degraded: A delivery is overdue: " if overdue else "Healthy: ")


def test_an_overdue_delivery_is_described() -> None:
    """With the time of the last one."""
    starts = [NOW - timedelta(hours=48 + 24 * number) for number in range(4)]
    assert line(delivered(starts=starts)) == (
        "Degraded: A delivery is overdue: the last one started at 2026-11-19 12:00 UTC, and before"
        " that one started at least every 24 hours."
        " Next: check cron, or whatever starts python main.py"
    )


@pytest.mark.parametrize(
    ("hours_since", "every", "overdue"), [(26, 25, True), (24, 25, False), (1000, 8784, False)]
)
def test_a_delivery_that_is_expected_more_often_is_overdue(
    hours_since: float, every: float, overdue: bool
) -> None:
    """The last pauses do not matter then."""
    starts = [NOW - timedelta(hours=hours_since + number) for number in range(9)]
    facts = Facts(now=NOW, deliveries=delivered(starts=starts), delivery_every_hours=every)

    text = judge(facts).line

    expected = "Degraded: A delivery is overdue: the last one started at 2026-11-20 10:00 UTC, and"
    if overdue:
        assert text == (
            f"{expected} one is expected every 25 hours."
            " Next: check cron, or whatever starts python main.py"
        )
    else:
        assert text.startswith("Healthy: ")


def test_a_delivery_that_never_came_is_noticed_if_one_is_expected() -> None:
    """A schedule that never worked."""
    facts = Facts(now=NOW, deliveries=DeliveryFacts(), delivery_every_hours=1)
    assert judge(facts).line == (
        "Degraded: There has been no delivery yet, and one is expected every 1 hour."
        " Next: check cron, or whatever starts python main.py"
    )


def test_an_overdue_delivery_that_runs_is_not_overdue() -> None:
    """It has started."""
    starts = [NOW - timedelta(hours=48 + 24 * number) for number in range(4)]
    assert line(delivered(starts=starts, is_running=True)).startswith("Healthy: ")
