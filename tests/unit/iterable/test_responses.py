"""What a response of Iterable means for its call."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from integration.iterable.responses import (
    Classification,
    Expected,
    HttpResponse,
    classify,
    clock_difference,
)
from integration.journal.schema import result_json

if TYPE_CHECKING:
    from integration.core.models import ErrorKind
    from integration.iterable.retry import Retry

NOW = datetime(2026, 1, 13, 14, 30, 45, tzinfo=UTC)
SUCCESS = b'{"msg":"","code":"Success","params":null}'

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "code": json_values | st.just("Success"),
        "msg": json_values,
        "params": json_values | st.fixed_dictionaries({"rateLimitReset": json_values}),
        "successCount": json_values,
    },
)

bodies = st.binary() | (json_values | envelopes).map(lambda value: json.dumps(value).encode())


def classified(
    http: HttpResponse, expected: Expected = "code", now: datetime = NOW
) -> Classification:
    """What a response means, for a single call unless said otherwise."""
    return classify(http, expected, now)


def retry_after(body: bytes, header: str | None = None, date: str | None = None) -> float | None:
    """The wait that a 429 asks for."""
    return classified(HttpResponse(429, body, header, date)).retry_after_seconds


class TestOutcome:
    """Status first, then code."""

    @pytest.mark.parametrize("status", [200, 201, 202])
    def test_a_2xx_with_the_code_success_is_a_success(self, status: int) -> None:
        """Both are needed; what was answered is kept."""
        outcome = classified(HttpResponse(status, SUCCESS))
        assert (outcome.error, outcome.retry) == (None, "no")
        assert outcome.response == {"msg": "", "code": "Success", "params": None}

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b'{"code":"BadParams","msg":"no"}', "client_error"),
            (b'{"code":"success"}', "client_error"),
            (b'{"code":"Success","msg":"page_view is disallowed from tracking"}', "client_error"),
            (b'{"msg":"ok"}', "invalid_response"),
            (b'{"code":null}', "invalid_response"),
            (b"{}", "invalid_response"),
            (b"[]", "invalid_response"),
            (b'"Success"', "invalid_response"),
            (b"null", "invalid_response"),
            (b"", "invalid_response"),
            (b"<html>Success</html>", "invalid_response"),
            (b'{"code":"Success"', "invalid_response"),
            (b'\xff{"code":"Success"}', "invalid_response"),
            (b"[" * 100_000, "invalid_response"),
        ],
    )
    def test_a_200_without_success_is_a_failure(self, body: bytes, error: ErrorKind) -> None:
        """Another code or a disallowed event is Iterable's no; the rest is not Iterable's."""
        outcome = classified(HttpResponse(200, body))
        assert (outcome.error, outcome.retry) == (error, "no")

    @pytest.mark.parametrize(
        ("status", "error", "retry"),
        [
            (408, "timeout", "after backoff"),
            (500, "server_error", "after backoff"),
            (502, "server_error", "after backoff"),
            (503, "server_error", "after backoff"),
            (504, "server_error", "after backoff"),
            (501, "server_error", "no"),
            (429, "rate_limited", "after rate limit"),
            (400, "client_error", "no"),
            (401, "client_error", "no"),
            (403, "client_error", "no"),
            (404, "client_error", "no"),
            (409, "client_error", "no"),
            (413, "client_error", "no"),
            (300, "invalid_response", "no"),
            (301, "invalid_response", "no"),
            (100, "invalid_response", "no"),
        ],
    )
    @pytest.mark.parametrize("body", [SUCCESS, b"<html>sorry</html>", b""])
    def test_another_status_is_a_failure_whatever_the_code(
        self, status: int, error: ErrorKind, retry: Retry, body: bytes
    ) -> None:
        """Success has been seen on errors: the status goes first."""
        outcome = classified(HttpResponse(status, body))
        assert (outcome.error, outcome.retry) == (error, retry)

    @pytest.mark.parametrize(
        ("error", "retry"),
        [
            ("timeout", "after backoff"),
            ("connection_error", "after backoff"),
            ("invalid_response", "no"),
        ],
    )
    def test_without_an_answer_the_reason_is_kept(self, error: ErrorKind, retry: Retry) -> None:
        """What may pass is tried again; who does not speak HTTP will not learn it."""
        outcome = classified(HttpResponse(None, error=error, reason="because"))
        assert (outcome.error, outcome.retry, outcome.response) == (error, retry, "because")

    def test_a_text_is_cut(self) -> None:
        """A page of HTML in the results would hide them; broken UTF-8 is shown as such."""
        outcome = classified(HttpResponse(502, b"\xff" + "ä".encode() * 10_000))
        assert outcome.response == "\ufffd" + "ä" * 499

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b'{"successCount":1,"failCount":1}', None),
            (b'{"successCount":0,"failCount":1000}', None),
            (b'{"successCount":"1"}', None),
            (b'{"successCount":1,"code":"Success"}', None),
            (b'{"successCount":1,"code":"GenericError"}', "client_error"),
            (b'{"failCount":1}', "invalid_response"),
            (SUCCESS, "invalid_response"),
            (b"[]", "invalid_response"),
            (b"<html>", "invalid_response"),
        ],
    )
    def test_a_bulk_answer_has_counts_in_place_of_a_code(
        self, body: bytes, error: ErrorKind | None
    ) -> None:
        """Whose records failed, and whether the counts can be right, is read elsewhere."""
        assert classified(HttpResponse(200, body), "counts").error == error

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b"{}", None),
            (b'{"user":{}}', None),
            (b"[]", "invalid_response"),
            (b"<html>", "invalid_response"),
        ],
    )
    def test_a_reading_call_answers_any_object(self, body: bytes, error: ErrorKind | None) -> None:
        """What is read has no code; an unknown user is an empty object."""
        assert classified(HttpResponse(200, body), "object").error == error

    def test_a_refused_bulk_call_is_judged_by_its_status(self) -> None:
        """A bulk call fails like any other."""
        assert (
            classified(HttpResponse(503, b'{"successCount":1}'), "counts").retry == "after backoff"
        )

    @given(st.none() | st.integers(), bodies, st.booleans())
    @example(200, b"1e999", False)
    @example(200, b'{"code":"\\ud800"}', False)
    def test_no_answer_raises(self, status: int | None, body: bytes, bulk: bool) -> None:
        """Whatever a proxy or a broken server says becomes an outcome that JSON can hold."""
        outcome = classified(
            HttpResponse(status, body, error=None if status else "timeout"),
            "counts" if bulk else "code",
        )
        json.dumps(outcome.response)
        in_200s = status is not None and 200 <= status < 300
        assert outcome.error is not None or in_200s
        assert outcome.retry == "no" or not in_200s


class TestRetryAfter:
    """What a 429 asks for."""

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("2", 2.0),
            ("0", 0.0),
            ("1.5", 1.5),
            (" 7 ", 7.0),
            (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
            (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0.0),
            ("Tue, 13 Jan 2026 15:31:00 +0100", 15.0),
            ("Tue, 13 Jan 2026 14:31:00 -0000", 15.0),
        ],
    )
    def test_retry_after_is_seconds_or_a_date(self, header: str, seconds: float) -> None:
        """RFC 9110 allows both; a date that has passed asks for nothing."""
        assert retry_after(b"", header) == seconds

    @pytest.mark.parametrize("hours_ahead", [2, -24])
    def test_a_moment_is_measured_against_the_answers_own_date(self, hours_ahead: int) -> None:
        """Both are the server's clock, however wrong this machine's is."""
        server_time = NOW + timedelta(hours=hours_ahead)
        date = format_datetime(server_time, usegmt=True)
        moment = server_time + timedelta(seconds=30)
        header = format_datetime(moment, usegmt=True)
        body = orjson.dumps({"params": {"rateLimitReset": moment.timestamp()}})

        assert retry_after(b"", header, date) == 30
        assert retry_after(body, None, date) == 30

    @pytest.mark.parametrize("date", [None, "", "yesterday"])
    def test_without_a_date_a_moment_is_measured_against_the_local_clock(
        self, date: str | None
    ) -> None:
        """There is no better one."""
        header = format_datetime(NOW + timedelta(seconds=30), usegmt=True)
        assert retry_after(b"", header, date) == 30

    @pytest.mark.parametrize(
        ("reset", "seconds"),
        [
            (3, 3.0),
            (0.5, 0.5),
            ("4", 4.0),
            (NOW.timestamp() + 9, 9.0),
            (NOW.timestamp() - 9, 0.0),
            (-1, None),
            (True, None),
            (None, None),
            ([], None),
            ("soon", None),
            ("inf", None),
        ],
    )
    def test_rate_limit_reset_is_seconds_or_a_moment(
        self, reset: object, seconds: float | None
    ) -> None:
        """Iterable's newer answers have it in `params`; an invalid value is ignored."""
        body = json.dumps({"code": "RateLimitExceeded", "params": {"rateLimitReset": reset}})
        assert retry_after(body.encode()) == seconds

    def test_the_header_takes_precedence_over_the_body(self) -> None:
        """The standard header counts, if there is one."""
        body = b'{"params":{"rateLimitReset":5}}'
        assert retry_after(body, "2") == 2
        assert retry_after(body) == 5

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "soon",
            "-5",
            "nan",
            "inf",
            "Tue, 13 Foo 2026 14:31:00 GMT",
            "Tue, 99999999999999999999 Jan 2026 14:31:00 GMT",
            "1 Jan 2026 1:1:1 -99999999999999",
        ],
    )
    def test_an_invalid_header_is_ignored_in_favour_of_the_body(self, header: str) -> None:
        """An invalid header counts as none."""
        body = b'{"params":{"rateLimitReset":5}}'
        assert retry_after(body, header) == 5

    @given(bodies, st.none() | st.text() | st.from_regex(r"\d{1,30} Jan \d{1,30} \d+:\d+:\d+ .*"))
    @example(b'{"params":{"rateLimitReset":1e308}}', None)
    def test_no_429_raises(self, body: bytes, header: str | None) -> None:
        """Whatever it asks for is None or a number of seconds that is not negative."""
        seconds = retry_after(body, header, date=header)
        assert seconds is None or seconds >= 0
        assert isinstance(clock_difference(header, NOW), str)


def test_a_long_error_body_is_truncated() -> None:
    """Otherwise it would be in the journal once for every user of a bulk call."""
    body = orjson.dumps({"code": "BadParams", "msg": "x" * 20_000, "params": ["y"] * 5_000})

    outcome = classified(HttpResponse(400, body), "counts")

    assert outcome.response == {"code": "BadParams", "msg": "x" * 500}


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("start", "end"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["list", "object"])
@pytest.mark.parametrize("depth", [253, 254, 300, 1000, 2000])
def test_an_answer_of_any_depth_can_be_shown_and_written(
    status: int, start: bytes, end: bytes, depth: int
) -> None:
    """Nested deeper than a result can hold, it is kept as text, as if it were not JSON."""
    body = start * depth + b"1" + end * depth

    outcome = classified(HttpResponse(status, body), "object")

    assert orjson.loads(result_json(outcome.result(attempts=1)))["response"] == outcome.response
    assert isinstance(outcome.response, str) is (depth > 253)
    assert len(str(outcome.response)) <= 5_000


@pytest.mark.parametrize(
    ("seconds_ahead", "complaint"),
    [
        (7200, "this machine's clock is 7200 s behind Iterable's"),
        (-90, "this machine's clock is 90 s ahead of Iterable's"),
        (20, ""),
        (-20, ""),
    ],
)
def test_a_clock_that_is_wrong_is_told_by_how_much(seconds_ahead: int, complaint: str) -> None:
    """A Date has whole seconds and is a moment old: a small difference is normal."""
    date = format_datetime(NOW + timedelta(seconds=seconds_ahead), usegmt=True)
    assert clock_difference(date, NOW) == complaint


@pytest.mark.parametrize("date", [None, "", "soon"])
def test_an_answer_without_a_date_says_nothing_of_the_clock(date: str | None) -> None:
    """Nor one with nonsense in its place."""
    assert clock_difference(date, NOW) == ""


REFUSED_TOKEN = b'{"code":"InvalidJwtPayload","msg":"Invalid JWT: The token has expired"}'
TWO_HOURS_AHEAD = format_datetime(NOW + timedelta(hours=2), usegmt=True)


@pytest.mark.parametrize("status", [200, 401])
def test_a_token_that_is_refused_for_the_clock_stops_the_run(status: int) -> None:
    """Whatever the status, the code says that it is the token."""
    stop_reason = classified(HttpResponse(status, REFUSED_TOKEN, None, TWO_HOURS_AHEAD)).stop_reason

    assert stop_reason is not None
    assert stop_reason.exit_code == 77
    assert "this machine's clock is 7200 s behind Iterable's" in stop_reason.text


@pytest.mark.parametrize(
    ("body", "date"),
    [(REFUSED_TOKEN, None), (b'{"code":"BadApiKey"}', TWO_HOURS_AHEAD), (SUCCESS, TWO_HOURS_AHEAD)],
)
def test_the_clock_is_blamed_for_a_refused_token_only(body: bytes, date: str | None) -> None:
    """Without a date there is no difference to see; another code has another reason."""
    for status in (200, 401):
        assert classified(HttpResponse(status, body, None, date)).stop_reason is None


@pytest.mark.parametrize("status", [None, 407])
def test_what_the_transport_says_of_all_calls_stops_the_run(status: int | None) -> None:
    """The certificate or the proxy has to be fixed first, and the call is not retried."""
    http = HttpResponse(status, error=None if status else "connection_error", stop_reason="fix it")
    outcome = classified(http)

    assert outcome.stop_reason is not None
    assert (outcome.stop_reason.text, outcome.stop_reason.exit_code) == ("fix it", 69)
    assert outcome.retry == "no"


@pytest.mark.parametrize("status", [200, 400, 408, 503])
def test_only_a_429_asks_for_a_wait(status: int) -> None:
    """The header of another response is not obeyed."""
    assert classified(HttpResponse(status, SUCCESS, "5")).retry_after_seconds is None


@pytest.mark.parametrize(
    ("http", "label"),
    [
        (HttpResponse(503), "503"),
        (HttpResponse(429), "429"),
        (HttpResponse(None, error="timeout"), "timeout"),
    ],
)
def test_a_retry_is_counted_by_status_or_error(http: HttpResponse, label: str) -> None:
    """As the results file names it."""
    assert classified(http).label == label
