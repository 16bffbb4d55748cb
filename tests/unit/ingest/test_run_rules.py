"""Decisions of a run: its status, its window, its place in the source, its texts."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from integration.ingest.counts import Counts
from integration.ingest.errors import SourceUnavailable
from integration.ingest.run_rules import (
    RunRequest,
    counts_text,
    cursor_text,
    final_status,
    known_fields,
    reads_over_network,
    reasons_text,
    with_fields,
)
from integration.ingest.source_file import parse_sources

NOW = datetime(2026, 11, 21, tzinfo=UTC)
TEN = Counts(10, 10)


@pytest.mark.parametrize(
    ("error", "limit", "stopping", "status"),
    [
        (None, None, False, "completed"),
        (None, 11, False, "completed"),
        (None, 10, False, "stopped"),
        (None, None, True, "stopped"),
        (SourceUnavailable("no answer"), 10, True, "failed"),
    ],
)
def test_the_status_says_how_a_run_ended(
    error: Exception | None, limit: int | None, status: str, *, stopping: bool
) -> None:
    """A run that reached its limit was not complete."""
    assert final_status(error, TEN, limit, stopping=stopping) == status


@pytest.mark.parametrize(
    "options",
    [{"full_refresh": True}, {"since": NOW}, {"until": NOW}, {"limit": 1}, {"dry_run": True}],
)
def test_a_run_with_options_is_not_compared_with_others(options: dict[str, Any]) -> None:
    """Only one that reads what runs usually read."""
    assert RunRequest().is_regular
    assert not RunRequest(**options).is_regular


def test_the_reader_gets_the_options_and_the_start() -> None:
    """All that concern it."""
    window = RunRequest(since=NOW, until=NOW, limit=3, full_refresh=True).window(NOW)
    assert (window.since, window.until, window.limit) == (NOW, NOW, 3)
    assert (window.full_refresh, window.started_at) == (True, NOW)


def test_the_fields_that_were_seen_are_part_of_the_position() -> None:
    """In the order of the alphabet, so that equal positions have equal text."""
    position = with_fields({"mark": None}, {"b", "a"})
    assert position == {"mark": None, "fields": ["a", "b"]}
    assert known_fields(position) == {"a", "b"}
    assert known_fields(None) == known_fields({"fields": "damaged"}) == frozenset()


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (None, None),
        ({"mark": None, "run": None}, None),
        ({"files": {}}, None),
        ({"files": {"a.csv": {"offset": 7}}}, "a.csv:7"),
        ({"files": {"a.csv": {"offset": 7}, "b.csv": {"offset": 9}}}, "b.csv:9 and 1 more"),
        ({"files": {"a.csv": "damaged"}}, "a.csv:0"),
    ],
)
def test_the_cursor_is_shown_to_people(position: dict[str, Any] | None, text: str | None) -> None:
    """For files, the last one and the offset in it."""
    assert cursor_text(position) == text


@pytest.mark.parametrize(
    ("table", "network"),
    [
        ({"kind": "csv", "path": "a.csv"}, False),
        ({"kind": "jsonl", "path": ["a.jsonl", "https://example.com/b.jsonl"]}, True),
        ({"kind": "http", "url": "https://example.com/views"}, True),
    ],
)
def test_pages_are_fetched_while_others_are_validated_over_the_network_only(
    table: dict[str, Any], network: bool
) -> None:
    """A local file is no slower than the validation."""
    (source,), mistakes = parse_sources({"web": {"entity": "page_views", **table}})
    assert not mistakes
    assert reads_over_network(source) is network


def test_texts_have_all_numbers() -> None:
    """With the most frequent reason first."""
    assert counts_text(Counts(1, 1)) == ("1 record: 1 inserted, 0 updated, 0 unchanged, 0 rejected")
    assert counts_text(Counts(2000, 0, 0, 1000, 1000)).startswith("2,000 records: 0 inserted")
    reasons = Counter({("malformed", None): 1, ("missing", "email"): 1200})
    assert reasons_text(reasons.most_common()) == "1,200 missing email, 1 malformed"
