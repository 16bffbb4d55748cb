"""The kind http against a real server: pages, faults, redirects, marks and resumed runs."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from integration.ingest.errors import OptionRefused, SourceError, SourceRefused, SourceUnavailable
from integration.ingest.models import Malformed
from sandbox.source import SourceProcess
from tests.support.proxy import make_certificate, make_expired_certificate
from tests.support.readers import (
    SECRET,
    NoWait,
    good,
    http_reader,
    http_source,
    ids,
    malformed,
    read,
    records,
    window,
)
from tests.support.tls_front import tls_front

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from integration.ingest.models import RawPage
    from tests.support.proxy import Certificate

STYLES = ["none", "page", "offset", "cursor", "link", "next_url"]
AUTH = {"header": "Authorization", "prefix": "Bearer ", "variable": "CRM_TOKEN"}
ALL = list(range(1, 11))


def run(
    source: SourceProcess, position: dict[str, object] | None = None, **options: Any
) -> list[RawPage]:
    """A run of the cursor style; the position passes through JSON, as in the database."""
    if position is not None:
        position = json.loads(json.dumps(position))
    return read(http_reader(http_source(source.url)), position, **options)


def queries(source: SourceProcess) -> list[str]:
    """The queries of all requests."""
    return [request["query"] for request in source.requests()]


@pytest.mark.parametrize(
    ("make", "message"),
    [(make_certificate, "self-signed"), (make_expired_certificate, "certificate has expired")],
)
def test_a_certificate_that_cannot_be_verified(
    source: SourceProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path, str], Certificate],
    message: str,
) -> None:
    """No request is sent; the message says what is wrong with it."""
    certificate = make(tmp_path, "localhost")
    if make is make_expired_certificate:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
    with tls_front(urlsplit(source.url).port or 0, certificate) as port:
        reader = http_reader(http_source(f"https://localhost:{port}"))
        with pytest.raises(SourceUnavailable, match=f"cannot be verified .*{message}"):
            read(reader)
    assert source.requests() == []


@pytest.mark.parametrize("style", STYLES)
def test_every_style_of_pagination(source: SourceProcess, style: str) -> None:
    """Each record once, and each page decodes to the same records again."""
    reader = http_reader(http_source(source.url, style))

    pages = read(reader)

    assert ids(pages) == ALL
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert all(reader.records_of(p.content, p.origin) == p.records for p in pages)
    assert pages[0].origin.startswith(f"{source.url}/{style}/customers?limit=4")


@pytest.mark.parametrize("style", STYLES)
def test_a_killed_run_continues_at_its_page(source: SourceProcess, style: str) -> None:
    """After each of its pages, in every style."""
    reader = http_reader(http_source(source.url, style))
    pages = read(reader)
    for page, after in pairwise(pages):
        assert ids(read(reader, json.loads(json.dumps(page.position)))) == ids(
            pages[after.number - 1 :]
        )


def test_only_the_first_page_of_a_new_source_has_hints(source: SourceProcess) -> None:
    """A later run may have one page, and records without a cursor."""
    pagination = {"kind": "cursor", "parameter": "cursor", "next": "paging.following"}
    reader = http_reader(http_source(source.url, pagination=pagination))

    (page,) = read(reader)

    (hint,) = page.warnings
    assert "no paging.following, so only one page is read" in hint
    assert [page.warnings for page in read(reader, page.position)] == [()]
    assert [list(page.warnings) for page in run(source)] == [[], [], []]


def test_the_next_run_asks_for_what_has_changed(source: SourceProcess) -> None:
    """From the highest cursor, less the overlap; inclusive."""
    position = run(source)[-1].position
    source.touch("customers", 2, "2026-01-31T12:00:00Z")

    pages = run(source, position)

    assert ids(pages) == [8, 9, 10, 1, 2]
    assert queries(source)[-2] == "limit=4&updated_since=2026-01-30T23%3A59%3A58Z"
    assert pages[-1].position == {"mark": ["iso", 1769860800000000], "run": None}


def test_the_mark_does_not_exceed_the_start_of_the_run(source: SourceProcess) -> None:
    """A source whose clock is ahead would hide what changes until then."""
    source.touch("customers", 1, "2027-01-01T00:00:00Z")
    position = run(source)[-1].position
    assert position["mark"] == ["iso", int(window().started_at.timestamp() * 1_000_000)]


def test_the_mark_of_a_resumed_run_does_not_exceed_the_start_of_the_first_one(
    source: SourceProcess,
) -> None:
    """What changed since then may have been on a page that was read before."""
    first = run(source)[0]
    source.touch("customers", 3, "2026-02-01T12:00:00Z")
    later = replace(window(), started_at=datetime(2026, 2, 2, tzinfo=UTC))

    pages = list(http_reader(http_source(source.url)).pages(first.position, later))

    assert ids(pages)[-3:] == [1, 2, 3]
    assert pages[-1].position["mark"] == ["iso", int(window().started_at.timestamp() * 1_000_000)]


@pytest.mark.parametrize("is_sorted", [True, False])
def test_the_mark_moves_at_the_end_or_page_by_page(source: SourceProcess, is_sorted: bool) -> None:
    """Page by page only if the source sorts its records by the cursor."""
    reader = http_reader(http_source(source.url, sorted=is_sorted))
    marks = [page.position["mark"] for page in read(reader)]
    assert (marks[0] is not None) == is_sorted
    assert marks[-1] == ["iso", 1769817600000000]


def test_nothing_new_is_a_page_without_records(source: SourceProcess) -> None:
    """Or with the records of the overlap; the mark stays."""
    position = run(source)[-1].position
    source.configure(customers=0)
    (page,) = run(source, position)
    assert (list(page.records), page.is_last) == ([], True)
    assert page.position == position


def test_a_full_refresh_asks_for_everything(source: SourceProcess) -> None:
    """Also when another run is under way."""
    assert ids(run(source, run(source)[0].position, full_refresh=True)) == ALL
    assert "updated_since" not in queries(source)[-1]


def test_a_stopped_full_refresh_is_not_continued(source: SourceProcess) -> None:
    """The next run asks for what has changed since the mark."""
    position = run(source)[-1].position
    stopped = run(source, position, full_refresh=True)[0].position
    assert ids(run(source, stopped)) == [8, 9, 10]


def test_since_and_until_narrow_a_run(source: SourceProcess) -> None:
    """--until leaves records out of the page; the mark stays below it."""
    until = datetime(2026, 1, 30, 23, 59, 57, tzinfo=UTC)
    since = datetime(2026, 1, 30, 23, 59, 52, tzinfo=UTC)
    reader = http_reader(http_source(source.url))

    pages = read(reader, since=since, until=until)

    assert ids(pages) == [2, 3, 4, 5, 6]
    assert all(reader.records_of(p.content, p.origin) == p.records for p in pages)
    assert ids(read(reader, pages[-1].position)) == [4, 5, 6, 7, 8, 9, 10]


def test_since_beyond_the_mark_does_not_move_it(source: SourceProcess) -> None:
    """What lies between was not read."""
    early = datetime(2026, 1, 30, 23, 59, 54, tzinfo=UTC)
    position = run(source, until=early)[-1].position
    since = datetime(2026, 1, 30, 23, 59, 58, tzinfo=UTC)
    after = run(source, position, since=since)
    assert ids(after) == [8, 9, 10]
    assert after[-1].position["mark"] == position["mark"]


def test_since_without_a_cursor_is_an_error(source: SourceProcess) -> None:
    """The source cannot be asked for it."""
    reader = http_reader(http_source(source.url, cursor=None))
    with pytest.raises(OptionRefused, match="--since and --until need a cursor"):
        read(reader, since=window().started_at)


@pytest.mark.parametrize("style", STYLES)
def test_a_limit_ends_the_run(source: SourceProcess, style: str) -> None:
    """The next run continues after its last record."""
    reader = http_reader(http_source(source.url, style))
    pages = read(reader, limit=6)
    assert ids(pages) == ALL[:6]
    assert pages[-1].is_last
    assert all(reader.records_of(p.content, p.origin) == p.records for p in pages)
    rest = read(reader, pages[-1].position)
    assert ids(rest) == ALL[6:]
    assert rest[-1].position["run"] is None
    assert all(reader.records_of(p.content, p.origin) == p.records for p in rest)


@pytest.mark.parametrize("limit", [1, 3, 4])
@pytest.mark.parametrize("style", STYLES)
def test_runs_with_a_limit_make_progress(source: SourceProcess, style: str, limit: int) -> None:
    """Also within a page: together they read each record once, and the mark is that of one run."""
    reader = http_reader(http_source(source.url, style))
    complete = read(reader)[-1].position
    found: list[list[object]] = []
    position: dict[str, object] | None = None
    while len(found) <= len(ALL):
        pages = read(reader, json.loads(json.dumps(position)), limit=limit)
        assert all(reader.records_of(p.content, p.origin) == p.records for p in pages)
        position = pages[-1].position
        found.append(ids(pages))
        if position["run"] is None:
            break
    assert [one for some in found for one in some] == ALL
    assert position is not None
    assert position["mark"] == complete["mark"]


def test_a_page_that_begins_differently_is_read_from_its_beginning(source: SourceProcess) -> None:
    """After a run with a limit; otherwise a record that moved to its beginning would be lost."""
    reader = http_reader(http_source(source.url))
    position = read(reader, limit=3)[-1].position
    run_ = dict(position["run"])  # type: ignore[call-overload]
    assert run_["part"][0] == 3
    position["run"] = run_ | {"part": [3, "0" * 32]}
    assert ids(read(reader, position)) == ALL


def test_a_limit_counts_the_records_before_until(source: SourceProcess) -> None:
    """The next run skips what was left out, too."""
    reader = http_reader(http_source(source.url))
    until = datetime(2026, 1, 30, 23, 59, 58, tzinfo=UTC)
    all_ = ids(read(reader, until=until))
    first = read(reader, until=until, limit=2)
    rest = read(reader, first[-1].position, until=until)
    assert (ids(first), ids(rest)) == (all_[:2], all_[2:])


def test_a_token_that_has_expired_restarts_the_run(
    source: SourceProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning."""
    position = run(source)[0].position
    source.faults({"kind": "status", "status": 410})

    assert ids(run(source, position)) == ALL

    assert "Starting at the first page instead" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        lambda run: {**run, "place": {"page": 1}},
        lambda run: {**run, "started_at": "x"},
        lambda run: {"place": {}},
        lambda run: 7,
    ],
)
def test_a_checkpoint_of_another_kind_restarts_the_run(source: SourceProcess, change: Any) -> None:
    """The configuration of the source may have changed since."""
    position = run(source)[0].position
    assert ids(run(source, {**position, "run": change(position["run"])})) == ALL


@pytest.mark.parametrize("style", STYLES[1:])
def test_a_killed_run_continues_with_another_page_size(source: SourceProcess, style: str) -> None:
    """Where the pages are numbered, at the first page; a token says where the next one begins."""
    position = read(http_reader(http_source(source.url, style)))[0].position
    smaller = http_source(source.url, style, page_size={"parameter": "limit", "value": 3})
    expected = ALL if style in {"page", "offset"} else ALL[4:]
    assert ids(read(http_reader(smaller), json.loads(json.dumps(position)))) == expected


@pytest.mark.parametrize("style", STYLES[1:])
def test_a_page_that_repeats_the_one_before_a_kill_is_noticed(
    source: SourceProcess, style: str
) -> None:
    """What the first page after the kill had to have would be left out."""
    reader = http_reader(http_source(source.url, style))
    position = json.loads(json.dumps(read(reader)[0].position))
    source.faults({"kind": "endless"})
    (page,) = read(reader, position)
    assert "sent the same page again" in str(page.error)
    assert ids(read(reader, page.position)) == ALL


@pytest.mark.parametrize("kind", ["reset_before", "reset_middle", "truncated"])
@pytest.mark.parametrize("skip", [0, 1])
def test_a_lost_answer_is_requested_again(source: SourceProcess, kind: str, skip: int) -> None:
    """The page counts the requests that were repeated, and the time spent waiting."""
    source.faults({"kind": kind, "skip": skip, "times": 2})
    pause = NoWait()
    pages = read(http_reader(http_source(source.url), pause))
    assert ids(pages) == ALL
    assert [page.retries for page in pages] == [2 * (page.number == skip + 1) for page in pages]
    assert pages[skip].seconds_waited == pytest.approx(sum(pause.waits))
    assert 3 <= sum(pause.waits) <= 4


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_temporary_status_is_retried(
    source: SourceProcess, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """And logged."""
    source.faults({"kind": "status", "status": status})
    assert ids(run(source)) == ALL
    assert f"Retryable error {status} from source crm. Retrying in 1." in caplog.text


@pytest.mark.parametrize(
    ("headers", "waits"), [({"Retry-After": "3"}, [3.0]), ({}, [pytest.approx(1.1, abs=0.2)])]
)
def test_a_429_waits_for_as_long_as_it_says(
    source: SourceProcess, headers: dict[str, str], waits: list[float]
) -> None:
    """Else for the backoff; it does not count as an attempt."""
    source.faults({"kind": "status", "status": 429, "headers": headers})
    pause = NoWait()
    reader = http_reader(http_source(source.url), pause, max_attempts=1)
    pages = reader.pages(None, window())
    # The pace holds back all requests for that time; a test does not wait for it.
    reader._client._limiter._sleep = lambda _: None
    reader._client._limiter.slow_down = lambda *_: None  # type: ignore[method-assign]
    assert ids(list(pages)) == ALL
    assert pause.waits == waits


def test_a_429_lowers_the_pace(source: SourceProcess) -> None:
    """For all requests that follow."""
    source.faults({"kind": "status", "status": 429, "headers": {"Retry-After": "0.1"}})
    reader = http_reader(http_source(source.url, requests_per_second=100))
    next(reader.pages(None, window()))
    assert reader._client._limiter.calls_per_second < 90


def test_a_source_that_limits_the_rate_for_too_long_is_unavailable(source: SourceProcess) -> None:
    """Rather than waited for."""
    source.faults({"kind": "status", "status": 429, "headers": {"Retry-After": "3600"}})
    with pytest.raises(SourceUnavailable, match="lower requests_per_second, or run later"):
        run(source)


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_a_source_that_is_too_slow_is_unavailable(source: SourceProcess, kind: str) -> None:
    """After all attempts; the timeout is for the whole answer."""
    source.faults({"kind": kind, "skip": 1, "times": 2, "delay_seconds": 0.1})
    reader = http_reader(http_source(source.url), timeout_seconds=0.5, max_attempts=2)
    pages = reader.pages(None, window())
    assert ids([next(pages)]) == ALL[:4]
    with pytest.raises(SourceUnavailable, match=r"no response within 0.5 s \(2 attempts\)"):
        next(pages)


def test_nothing_listens() -> None:
    """The message says what to do, and the exit code is that of an unavailable source."""
    with pytest.raises(SourceUnavailable, match="is up and that the source's url is") as caught:
        read(http_reader(http_source("http://127.0.0.1:9")))
    assert caught.value.exit_code == 69


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_end_the_run(source: SourceProcess, status: int) -> None:
    """Exit code 77; the message names the variable and not the secret."""
    source.faults({"kind": "status", "status": status, "body": f"no {SECRET}"})
    with pytest.raises(SourceRefused, match="check CRM_TOKEN, and header and") as caught:
        read(http_reader(http_source(source.url, auth=AUTH)))
    assert caught.value.exit_code == 77
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("header", [AUTH, {"header": "X-Api-Key", "variable": "CRM_TOKEN"}])
def test_credentials_are_sent_in_their_header(
    source: SourceProcess, header: dict[str, str]
) -> None:
    """Not in the address."""
    source.configure(token=SECRET)
    assert ids(read(http_reader(http_source(source.url, auth=header)))) == ALL
    assert SECRET not in str(source.requests())


def test_no_secret_leaves_the_reader(
    source: SourceProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in an error, an origin, a position or a log line, even if the source echoes it."""
    caplog.set_level(logging.DEBUG)
    reader = http_reader(http_source(source.url, auth=AUTH))
    source.faults({"kind": "status", "status": 503}, {"kind": "echo_secrets"})
    with pytest.raises(SourceError, match=r"Bearer \*\*\*") as caught:
        read(reader)
    assert SECRET not in f"{caught.value!r} {caplog.text} {reader!r} {vars(reader)!r}"
    assert SECRET not in repr(reader._client._credentials)


def test_an_address_with_the_secret_is_not_stored(source: SourceProcess) -> None:
    """The checkpoint is no place for it."""
    body = {"data": [{"id": 1}], "next": f"/next_url/customers?token={SECRET}"}
    source.faults({"kind": "status", "status": 200, "body": body})
    (page,) = read(http_reader(http_source(source.url, "next_url", auth=AUTH)))
    assert "has the secret" in str(page.error)
    assert SECRET not in f"{page.position} {page.error} {page!r}"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "garbage"}, "did not answer with JSON (unexpected end of data"),
        ({"kind": "html"}, "did not answer with JSON (an HTML page)"),
        ({"kind": "malformed"}, "the response is not HTTP"),
        ({"kind": "status", "status": 404}, "answered with status 404"),
        ({"kind": "status", "status": 200, "body": {"items": []}}, "the answer has items"),
        ({"kind": "status", "status": 200, "body": []}, 'no list at records = "data"'),
        ({"kind": "status", "status": 200, "body": {"data": {}}}, "it is a dict"),
        ({"kind": "too_large", "count": 3}, "the response is longer than 2 MB"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_an_answer_that_cannot_be_used_ends_the_run(
    source: SourceProcess, fault: dict[str, Any], message: str
) -> None:
    """What was read before counts; the same answer would come again, so there is no retry."""
    source.faults({"skip": 1, **fault})
    reader = http_reader(http_source(source.url), max_bytes=2_000_000)
    pages = reader.pages(None, window())
    first = next(pages)
    with pytest.raises(SourceError) as caught:
        next(pages)
    assert message in str(caught.value)
    assert caught.value.exit_code == 69
    assert source.stats()["requests"] == 2
    assert ids(run(source, first.position)) == ALL[4:]


def test_a_page_that_repeats_the_last_one_ends_the_run(source: SourceProcess) -> None:
    """A source without an end must not be read forever."""
    source.faults({"kind": "endless", "times": 100})
    pages = run(source)
    assert ids(pages) == ALL[:4] * 2
    assert pages[-1].is_last
    assert "sent the same page again: check the pagination" in str(pages[-1].error)
    assert source.stats()["requests"] == 2


@pytest.mark.parametrize("style", ["page", "offset"])
def test_numbered_pages_that_never_end_are_noticed(source: SourceProcess, style: str) -> None:
    """A source that ignores the number sends the first page for each."""
    source.faults({"kind": "endless", "times": 100})
    pages = read(http_reader(http_source(source.url, style)))
    assert "sent the same page again" in str(pages[-1].error)


@pytest.mark.parametrize("style", ["page", "offset", "cursor"])
def test_the_run_after_a_repeated_page_starts_anew(source: SourceProcess, style: str) -> None:
    """The first page came instead of the third, whose records were not read."""
    source.faults({"kind": "endless", "skip": 2, "times": 2})
    reader = http_reader(http_source(source.url, style))
    pages = read(reader)
    assert ids(pages) == [*ALL[:8], *ALL[:4], *ALL[:4]]
    assert pages[-1].position == {"mark": None, "run": None}
    assert ids(read(reader, pages[-1].position)) == ALL


def test_a_token_that_was_seen_before_ends_the_run(source: SourceProcess) -> None:
    """The page that names it counts; the next run starts at the beginning."""
    source.faults({"kind": "repeat_token", "skip": 1})
    pages = run(source)
    assert ids(pages) == ALL[:8]
    assert pages[-1].is_last
    assert "names a next page that was read before" in str(pages[-1].error)
    assert pages[-1].position == {"mark": None, "run": None}
    assert ids(run(source, pages[-1].position)) == ALL


@pytest.mark.parametrize("style", ["page", "offset", "cursor", "link", "next_url"])
def test_pages_may_be_short(source: SourceProcess, style: str) -> None:
    """A short page is not the last one; with an offset, the records that came are counted."""
    if style != "page":
        source.faults({"kind": "shrink", "times": 3})
    else:
        source.configure(max_page_size=3)
    assert ids(read(http_reader(http_source(source.url, style)))) == ALL


@pytest.mark.parametrize("style", ["cursor", "link", "next_url"])
def test_records_that_change_between_pages_are_not_lost(source: SourceProcess, style: str) -> None:
    """They come again at the end, with their new content."""
    source.faults({"kind": "change", "skip": 1, "count": 3})
    found = read(http_reader(http_source(source.url, style)))
    assert sorted(set(map(str, ids(found)))) == sorted(map(str, ALL))
    assert ids(found)[-3:] == [1, 2, 3]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_origin_is_followed(source: SourceProcess, status: int) -> None:
    """With the credentials; the origin of the page is what answered."""
    source.faults(
        {"kind": "redirect", "status": status, "location": "/cursor/customers?limit=3"},
        {"kind": "redirect", "status": status, "location": f"{source.url}/none/customers"},
    )
    pages = read(http_reader(http_source(source.url, auth=AUTH)))
    assert pages[0].origin == f"{source.url}/none/customers"
    assert all(request["has_credentials"] for request in source.requests())


def test_a_redirect_to_another_origin_is_not_followed(source: SourceProcess) -> None:
    """The credentials would go there."""
    with SourceProcess() as other:
        for location in (f"{other.url}{{path}}", "//127.0.0.2{path}", "https://127.0.0.1{path}"):
            source.faults({"kind": "redirect", "location": location})
            with pytest.raises(SourceError, match="where the credentials must not go"):
                read(http_reader(http_source(source.url, auth=AUTH)))
        assert other.requests() == []


@pytest.mark.parametrize("style", ["link", "next_url"])
def test_a_next_page_of_another_origin_is_not_requested(source: SourceProcess, style: str) -> None:
    """The page that names it counts."""
    url = "http://elsewhere.example/x"
    body: object = [{"id": 1}] if style == "link" else {"data": [{"id": 1}], "next": url}
    headers = {"Link": f'<{url}>; rel="next"'}
    source.faults({"kind": "status", "status": 200, "headers": headers, "body": body})
    (page,) = read(http_reader(http_source(source.url, style)))
    assert ids([page]) == [1]
    assert "crm at" in str(page.error)
    assert "http://elsewhere.example" in str(page.error)


@pytest.mark.parametrize(("times", "follows"), [(5, True), (6, False)])
def test_redirects_are_followed_five_times(
    source: SourceProcess, times: int, follows: bool
) -> None:
    """Then it is a loop."""
    source.faults({"kind": "redirect", "times": times})
    if follows:
        assert ids(run(source)) == ALL
        return
    with pytest.raises(SourceError, match="redirects again and again"):
        run(source)


@pytest.mark.parametrize("location", ["", "http://[", "http:///x", "ftp://127.0.0.1/", "/ü /"])
def test_a_redirect_to_nowhere_is_an_error(source: SourceProcess, location: str) -> None:
    """Not a crash."""
    headers = {"Location": location.encode().decode("latin-1")}
    source.faults({"kind": "status", "status": 302, "headers": headers})
    with pytest.raises(SourceError, match="crm"):
        run(source)


def test_records_that_are_no_objects_are_kept(source: SourceProcess) -> None:
    """As malformed, at their place."""
    body = {"data": [{"id": 1}, "text", None, [1], 2**53], "paging": {}}
    source.faults({"kind": "status", "status": 200, "body": body})
    pages = run(source)
    assert [bad.text for bad in malformed(pages)] == ['"text"', "null", "[1]", str(2**53)]
    assert records(pages)[1] == Malformed("not a JSON object", '"text"')
    assert good(pages) == [{"id": 1}]


def test_a_stop_ends_the_pages(source: SourceProcess) -> None:
    """Without an error, and without calling the last page the last."""
    pause = NoWait()
    pages = http_reader(http_source(source.url), pause).pages(None, window())
    first = next(pages)
    pause.stops = True
    assert list(pages) == []
    assert not first.is_last


def test_pages_are_requested_at_the_pace_of_the_source(source: SourceProcess) -> None:
    """The shared limiter waits between requests."""
    reader = http_reader(http_source(source.url, requests_per_second=20))
    started = time.monotonic()
    assert len(read(reader)) == 3
    assert time.monotonic() - started >= 0.08


def test_the_next_page_is_requested_before_a_page_is_used(source: SourceProcess) -> None:
    """On the same connection; its answer is under way while the page is looked at."""
    pages = http_reader(http_source(source.url)).pages(None, window())
    next(pages)
    give_up = time.monotonic() + 10
    while len(source.requests()) < 2 and time.monotonic() < give_up:
        time.sleep(0.01)
    assert len(source.requests()) == 2
    assert ids([*pages]) == ALL[4:]
    assert len(source.requests()) == 3


@pytest.mark.parametrize("options", [{"limit": 4}, {"limit": 3}])
def test_no_page_beyond_a_limit_is_requested(source: SourceProcess, options: Any) -> None:
    """Not even in advance."""
    assert len(run(source, **options)) == 1
    assert len(source.requests()) == 1


def test_a_page_that_is_requested_in_advance_waits_for_its_turn(source: SourceProcess) -> None:
    """No pace, no request before it."""
    reader = http_reader(http_source(source.url, requests_per_second=4))
    pages = reader.pages(None, window())
    next(pages)
    assert len(source.requests()) == 1
    reader.close()


@pytest.mark.parametrize("kind", ["hang", "drip"])
@pytest.mark.parametrize("skip", [0, 1])
def test_a_stop_does_not_wait_for_an_answer(source: SourceProcess, kind: str, skip: int) -> None:
    """Nor for the rest of one; the pages before it are there."""
    source.configure(customers=3000)
    source.faults({"kind": kind, "skip": skip, "delay_seconds": 1})
    pause = NoWait()
    size = {"parameter": "limit", "value": 1000}
    reader = http_reader(http_source(source.url, page_size=size), pause, timeout_seconds=30)
    timer = threading.Timer(0.5, lambda: setattr(pause, "stops", True))
    timer.start()
    started = time.monotonic()
    assert len(read(reader)) == skip
    assert time.monotonic() - started < 5
    reader.close()


def test_an_answer_that_comes_in_advance_is_retried(source: SourceProcess) -> None:
    """As any other."""
    source.faults({"kind": "status", "status": 503, "skip": 1}, {"kind": "truncated", "skip": 1})
    pages = run(source)
    assert ids(pages) == ALL
    assert sum(page.retries for page in pages) == 2


def test_an_answer_may_have_a_byte_order_mark(source: SourceProcess) -> None:
    """It is no part of the JSON."""
    body = b'\xef\xbb\xbf{"data": [{"id": 1}, {"id": 12345678901234567890123}]}'
    source.faults({"kind": "status", "status": 200, "body": body.decode()})
    reader = http_reader(http_source(source.url))
    (page,) = read(reader)
    assert ids([page]) == [1, 12345678901234567890123]
    assert page.content == body
    assert reader.records_of(page.content, page.origin) == page.records
