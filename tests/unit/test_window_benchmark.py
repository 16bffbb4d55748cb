"""The benchmark of the window: percentiles, ratios, targets, the table, its sizes."""

from __future__ import annotations

import pytest

from benchmarks import window
from benchmarks.window_delivery import lines_of_delivery
from benchmarks.window_figures import Line, Sample, all_right, as_json, percentile, table
from benchmarks.window_rows import PLACE_PAGES, lines_of_data, paths_of


def sample(rate: float, p99_ms: float = 10.0, **values: object) -> Sample:
    """Ten seconds of requests with this latency."""
    latencies = (p99_ms / 1000,) * 3
    return Sample(int(rate * 10), 10.0, latencies, **values)  # type: ignore[arg-type]


def data(*, judged: bool = True, **samples: Sample) -> dict[str, Line]:
    """The lines of `/data`; the ruler makes 1,000 pages a second, each place 900."""
    found = {
        "ruler": [sample(1_000)],
        **{place: [samples.get(place, sample(900))] for place in ("begin", "middle", "end")},
    }
    return {line.name: line for line in lines_of_data(found, judged=judged)}


@pytest.mark.parametrize(
    ("percent", "value"), [(50, 50), (99, 99), (99.5, 100), (100, 100), (0, 1)]
)
def test_a_percentile_is_one_of_the_values(percent: float, value: int) -> None:
    """The smallest that so many percent do not exceed."""
    assert percentile(range(100, 0, -1), percent) == value
    assert percentile([7.0], percent) == 7.0


@pytest.mark.parametrize(
    ("rate", "p99_ms", "met"), [(800, 40, True), (799, 40, False), (800, 41, False)]
)
def test_pages_need_the_rate_and_the_latency(rate: float, p99_ms: float, met: bool) -> None:
    """800 requests/s and 40 ms; each of the two can be missed."""
    line = data(middle=sample(rate, p99_ms))["data-middle"]
    assert line.met is met
    assert line.ratio == pytest.approx(rate / 1_000)


@pytest.mark.parametrize(("slowest", "met"), [(700, True), (692, False)])
def test_depth_is_the_fastest_place_to_the_slowest(slowest: float, met: bool) -> None:
    """Wherever they are."""
    line = data(middle=sample(slowest))["data-depth"]
    assert line.ratio == pytest.approx(900 / slowest)
    assert line.met is met


def test_a_delivery_is_judged_by_the_median_of_its_pairs() -> None:
    """Pair by pair, since the machine may be slower in one of them."""
    alone = [sample(1_000), sample(500), sample(1_000)]
    beside = [sample(970), sample(490), sample(100)]
    line = lines_of_delivery(alone, beside, judged=True)[1]
    assert line.ratios == pytest.approx([0.97, 0.98, 0.1])
    assert line.met is True


def test_pages_are_asked_for_at_three_places() -> None:
    """Cursors of the beginning, the middle and the end."""
    cursors = [str(number) for number in range(1_000)]
    paths = paths_of(cursors, cursors, 500_000)
    assert [(paths[place][0], paths[place][-1]) for place in ("begin", "middle", "end")] == [
        ("0", str(PLACE_PAGES - 1)),
        (str(500 - PLACE_PAGES // 2), str(499 + PLACE_PAGES // 2)),
        (str(1_000 - PLACE_PAGES), "999"),
    ]
    assert paths_of([], [], 10)["end"] == ["/data?page_size=100"]


def test_wrong_answers_are_errors_and_missed_targets_are_shown() -> None:
    """Seconds depend on the machine: only a wrong answer makes the command fail."""
    slow = list(data(begin=sample(10)).values())
    wrong = list(data(begin=sample(900, problems=("row 7 twice",))).values())
    assert [line.met for line in slow if line.name == "data-begin"] == [False]
    assert all_right(slow)
    assert not all_right(wrong)
    assert "WRONG: data-begin: row 7 twice" in table(wrong)
    assert "NOT MET" in table(wrong)[2]


def test_another_size_is_not_judged_and_has_its_target_beside_it() -> None:
    """The targets are for 1,000,000 customers."""
    line = data(judged=False)["data-begin"]
    assert line.met is None
    assert line.cells()[-2:] == (">= 800 requests/s, p99 <= 40 ms", "-")


def test_costs_and_load_are_shown() -> None:
    """CPU time of a request, refused queries, and other programs on the machine."""
    measured = sample(100, 5, service_cpu_seconds=2.0, server_cpu_seconds=0.5, too_slow=3)
    noisy = sample(100, load_average=2.5, busy_elsewhere=0.25)
    line = Line("pages-health", "the verdict", [measured])
    assert line.cells()[1:10] == (
        *("1,000", "100", "5.0", "5.0", "3", "-", "-"),
        *("2.000", "0.500"),
    )
    shown = table([line, Line("pages-home", "the page", [noisy])])
    assert shown[2].split()[-3:] == ["2.5", "-", "-"]
    assert shown[-1].endswith("in a run: pages-home 25%")


def test_the_json_has_percentiles_and_not_each_latency() -> None:
    """Ten thousand latencies of each run are of no use to a reader."""
    (found,) = as_json([Line("pages-health", "the verdict", [sample(100, 5)])])
    assert found["runs"][0]["latency_ms"] == {"p50": 5.0, "p90": 5.0, "p99": 5.0, "p100": 5.0}
    assert "latencies" not in found["runs"][0]


def test_sizes_can_be_smaller() -> None:
    """`--customers`, `--views` and `--users`; a small run asks for a moment only."""
    assert window.sizes_for(None, None, None) == window.FULL
    small = window.sizes_for(300, 400, 50)
    assert (small.customers, small.views, small.delivered) == (300, 400, 50)
    assert (small.person_users, small.users_of_run) == (300, 300)
    assert small.seconds < 1 < small.fresh_requests
