"""Whatever changes upstream and whenever runs are killed, no record is missed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from integration.ingest.kinds.http import HttpReader
from integration.ingest.kinds.http_client import Answer
from integration.ingest.models import Window
from tests.support.readers import http_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.ingest.kinds.http_client import SourceClient

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
OVERLAP = 5
PAGE = 3
RECORDS = 8


class Change(NamedTuple):
    """A record that changes; its time is up to the overlap before the moment it can be seen."""

    number: int
    lag: int


class Attempt(NamedTuple):
    """A run: seconds before it, what changes before each of its pages, and when it is killed."""

    pause: int
    changes: list[list[Change]]
    pages: int


CHANGES = st.builds(Change, st.integers(0, RECORDS - 1), st.integers(0, OVERLAP))
RUNS = st.lists(
    st.builds(
        Attempt,
        st.integers(0, 2 * OVERLAP),
        st.lists(st.lists(CHANGES, max_size=3), max_size=5),
        st.integers(0, 6),
    ),
    max_size=6,
)
# The second run meets a change that it is too late for; the third one completes the first.
KILLED_TWICE = [
    Attempt(20, [[Change(number, 0) for number in range(1, 7)]], 1),
    Attempt(0, [[Change(0, OVERLAP)]], 1),
    Attempt(10, [[Change(7, 0)]], 6),
]
QUIET = Attempt(pause=1, changes=[], pages=100)


class Upstream:
    """A source whose pages follow the time and the number of its records, and what was read."""

    def __init__(self, style: str, *, is_sorted: bool) -> None:
        self.seconds = 0
        self.versions = dict.fromkeys(range(RECORDS), (0, 0))
        self.stored: dict[int, int] = {}
        self.position: dict[str, Any] | None = None
        source = http_source(
            "http://127.0.0.1",
            style,
            page_size={"parameter": "limit", "value": PAGE},
            cursor={
                "field": "updated_at",
                "parameter": "updated_since",
                "overlap_seconds": OVERLAP,
            },
            sorted=is_sorted,
        )
        client = SimpleNamespace(
            begin=lambda _: None,
            cancel=lambda: None,
            get=self._get,
            address=str,
            target_of=lambda location, _: location,
            contains_secret=lambda _: False,
        )
        self._reader = HttpReader(source, cast("SourceClient", client))

    @property
    def now(self) -> datetime:
        """The time on both sides."""
        return EPOCH + timedelta(seconds=self.seconds)

    def _get(self, target: str) -> Answer:
        parameters = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        floor = datetime.fromisoformat(parameters.get("updated_since", EPOCH.isoformat()))
        after = tuple(json.loads(parameters.get("cursor", "[-1000, 0]")))
        keys = sorted((time, number) for number, (time, _) in self.versions.items())
        keys = [
            (time, number)
            for time, number in keys
            if EPOCH + timedelta(seconds=time) >= floor and (time, number) > after
        ]
        items = [self._record(number) for _, number in keys[:PAGE]]
        token = json.dumps(keys[PAGE - 1]) if len(keys) > PAGE else None
        body: dict[str, object] = {"data": items, "paging": {"next": token}}
        return Answer(target, 200, {}, json.dumps(body).encode(), 0, 0.0)

    def _record(self, number: int) -> dict[str, object]:
        time, version = self.versions[number]
        moment = EPOCH + timedelta(seconds=time)
        return {"id": number, "version": version, "updated_at": moment.isoformat()}

    def change(self, changes: list[Change]) -> None:
        """Change records; each can be seen from now on, perhaps with an earlier time."""
        self.seconds += 1
        for number, lag in changes:
            self.versions[number] = self.seconds - lag, self.versions[number][1] + 1

    def run(self, attempt: Attempt) -> bool:
        """Read until the end, which it returns, or until it is killed after so many pages."""
        self.seconds += attempt.pause
        started_at = self.now
        pages = self._reader.pages(self.position, Window(started_at=started_at))
        changes: Iterator[list[Change]] = iter(attempt.changes)
        for _ in range(attempt.pages):
            self.change(next(changes, []))
            page = next(pages, None)
            assert page is not None
            self.position = json.loads(json.dumps(page.position))
            for record in page.records:
                assert isinstance(record, dict)
                self.stored[cast("int", record["id"])] = cast("int", record["version"])
            self._check_mark(started_at)
            if page.is_last:
                return True
        return False

    def _check_mark(self, started_at: datetime) -> None:
        mark = (self.position or {})["mark"]
        assert (
            mark is None or EPOCH + timedelta(microseconds=mark[1]) - EPOCH_OF_MARKS <= started_at
        )


EPOCH_OF_MARKS = EPOCH - datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("is_sorted", [False, True])
@given(runs=RUNS)
@example(runs=KILLED_TWICE)
def test_no_record_is_missed_and_the_mark_never_exceeds_the_start_of_the_run(
    runs: list[Attempt], is_sorted: bool
) -> None:
    """A change that becomes visible late is read by the next run, thanks to the overlap."""
    upstream = Upstream("cursor", is_sorted=is_sorted)
    for attempt in runs:
        upstream.run(attempt)
    # The first of these may complete a run that began before the last changes.
    assert upstream.run(QUIET)
    assert upstream.run(QUIET)
    assert upstream.stored == {
        number: version for number, (_, version) in upstream.versions.items()
    }
