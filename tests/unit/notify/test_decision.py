"""When something is told, and what."""

from __future__ import annotations

import pytest

from integration.config.thresholds import Thresholds
from integration.core.exit_codes import ExitCode
from integration.core.run_ends import Extent, SourceEnd
from integration.core.verdict import Verdict
from integration.notify.conditions import (
    DeliveryEnd,
    delivery_conditions,
    ingest_conditions,
)
from integration.notify.decision import OK, PARTIAL, Condition, decide

NONE = Thresholds()
ALL = Thresholds(failed_percent=5, empty_list=True, duration=2)
FAILED = Condition("delivery", "failed 69", "The delivery failed", "No database.", "check it")
WELL = Condition("delivery", OK, "The delivery works again")


def states(end: DeliveryEnd, limits: Thresholds = NONE) -> dict[str, str]:
    """The state of each scope."""
    return {one.scope: one.state for one in delivery_conditions(end, limits)}


class TestDecision:
    """Once for each change of state."""

    def test_what_is_well_from_the_beginning_is_not_told(self) -> None:
        """No news."""
        assert decide({}, [WELL], "shop") is None

    def test_a_failure_is_told_once(self) -> None:
        """The same one is known the next time; another one is news."""
        found = decide({}, [FAILED], "shop")

        assert found
        assert (found.title, found.kind) == ("shop: The delivery failed", "failure")
        assert found.body == "The delivery failed. No database.\nNext: check it"
        assert decide(found.states, [FAILED], "shop") is None
        assert decide(found.states, [FAILED._replace(state="failed 77")], "shop")

    def test_a_recovery_is_told_once(self) -> None:
        """It comes after a failure that was told."""
        found = decide({"delivery": "failed 69"}, [WELL], "shop")

        assert found
        assert (found.title, found.kind) == ("shop: The delivery works again", "success")
        assert decide({"delivery": "failed 69"} | found.states, [WELL], "shop") is None

    def test_several_changes_are_one_notification_with_the_worst_first(self) -> None:
        """What has not changed is left out; the same advice stands once."""
        partial = Condition("source a", PARTIAL, "a was partial", "", "look")
        failed = Condition("source b", "failed 69", "b failed", "", "look")

        found = decide({"delivery": "failed 1"}, [WELL, partial, failed], "shop")

        assert found
        assert found.title == "shop: b failed (and 2 more)"
        assert found.body.splitlines() == [
            "b failed.",
            "a was partial.",
            "Next: look",
            "The delivery works again.",
        ]
        assert set(found.states) == {"delivery", "source a", "source b"}


class TestDelivery:
    """Exit code, counts and duration → states."""

    @pytest.mark.parametrize(
        ("code", "state"),
        [(0, OK), (1, PARTIAL), (69, "failed 69"), (75, "failed 75"), (78, "failed 78")],
    )
    def test_the_exit_code_decides(self, code: int, state: str) -> None:
        """Each failure is a state of its own."""
        assert states(DeliveryEnd(code)) == {"delivery": state}

    def test_an_interruption_says_nothing(self) -> None:
        """Whoever sent the signal knows; and nothing to do is no success."""
        assert states(DeliveryEnd(ExitCode.SIGTERM, users=3), ALL) == {}
        assert states(DeliveryEnd(0, has_run=False)) == {}
        assert states(DeliveryEnd(78, has_run=False)) == {"delivery": "failed 78"}

    def test_the_text_is_the_verdict_and_its_advice(self) -> None:
        """Unless there was no run."""
        verdict = Verdict(
            "degraded", "3 users were not delivered.", "python main.py --retry-failed"
        )

        (partial,) = delivery_conditions(DeliveryEnd(1, verdict=verdict), NONE)
        (failed,) = delivery_conditions(DeliveryEnd(69, "No database", verdict=verdict), NONE)

        assert partial.text == "Degraded: 3 users were not delivered."
        assert partial.advice == "python main.py --retry-failed"
        assert (failed.text, failed.advice) == ("No database", "python main.py --status")

    @pytest.mark.parametrize(("undelivered", "state"), [(5, OK), (6, "raised")])
    def test_the_share_of_failed_users_is_told_above_the_limit(
        self, undelivered: int, state: str
    ) -> None:
        """Off until it is set."""
        end = DeliveryEnd(1, users=100, undelivered=undelivered)
        assert states(end, Thresholds(failed_percent=5))["delivery failed_percent"] == state
        assert states(end) == {"delivery": PARTIAL}

    def test_an_empty_list_is_told_if_it_was_read(self) -> None:
        """Not that of a retry."""
        limits = Thresholds(empty_list=True)
        assert states(DeliveryEnd(0, users=0, reads_list=True), limits) == {
            "delivery": OK,
            "delivery empty_list": "raised",
        }
        assert states(DeliveryEnd(0, users=0), limits) == {"delivery": OK}

    @pytest.mark.parametrize(
        ("seconds", "earlier", "expected"),
        [
            (100, [50, 50, 51], OK),
            (103, [50, 50, 60], "raised"),
            (9.9, [1, 1, 1], OK),  # a few seconds are nothing unusual
            (1000, [1, 1], None),  # nothing is usual yet
        ],
    )
    def test_a_long_run_is_told(
        self, seconds: float, earlier: list[float], expected: str | None
    ) -> None:
        """Compared with the median of the last runs."""
        end = DeliveryEnd(0, users=3, extent=Extent(seconds, earlier))
        assert states(end, Thresholds(duration=2)).get("delivery duration") == expected


class TestIngest:
    """A pass, and each of its sources."""

    def test_each_source_has_a_state_of_its_own(self) -> None:
        """As has the pass."""
        ends = [SourceEnd("crm", 1, None, 10, 2), SourceEnd("web", 69, "gone")]

        found = ingest_conditions(69, None, ends, NONE)

        assert {one.scope: one.state for one in found} == {
            "ingest": OK,
            "source crm": PARTIAL,
            "source web": "failed 69",
        }
        assert found[1].text == "2 of 10 records were rejected."

    def test_a_pass_that_fails_is_one_condition(self) -> None:
        """An interruption is none."""
        (one,) = ingest_conditions(69, "No database", [], NONE)
        assert (one.scope, one.state, one.text) == ("ingest", "failed 69", "No database")
        assert ingest_conditions(143, "interrupted", [], NONE) == []

    def test_a_source_that_takes_long_is_told(self) -> None:
        """As a delivery."""
        end = SourceEnd("crm", 0, extent=Extent(99, [10, 10, 10]))
        found = ingest_conditions(0, None, [end], Thresholds(duration=2))
        assert found[-1].scope == "source crm duration"
        assert found[-1].state == "raised"
