"""Faults on request: what the client sees, and whether the call took effect."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support import sandbox_api
from tests.support.sandbox_api import EMAIL

if TYPE_CHECKING:
    from tests.support.sandbox_api import Api

running_sandbox_fixture = sandbox_api.running_sandbox_fixture
api_fixture = sandbox_api.api_fixture


def raw_update(api: Api) -> bytes:
    """Return users/update as bytes, for tests that inspect the connection itself."""
    body = b'{"email":"ada@example.com"}'
    head = (
        "POST /api/users/update HTTP/1.1\r\nHost: x\r\n"
        f"Api-Key: {api.sandbox.options.api_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def fault(api: Api, kind: str, **options: Any) -> None:
    """Make the next call fail."""
    api.sandbox.faults([{"kind": kind, **options}])


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "BadParams"),
        (401, "BadApiKey"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (409, "Conflict"),
        (413, "BatchTooLarge"),
        (429, "RateLimitExceeded"),
        (503, "GenericError"),
        (599, "GenericError"),
    ],
)
def test_a_status_comes_in_the_envelope_that_fits(api: Api, status: int, code: str) -> None:
    """The call is not applied, and the next one succeeds."""
    fault(api, "status", status=status)
    answer = api.update()
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert api.users() == {}
    assert api.update().status_code == 200


def test_a_status_can_have_headers_and_a_body(api: Api) -> None:
    """A JSON body is sent as JSON and a text as text."""
    fault(api, "status", status=429, headers={"Retry-After": "2"}, body={"msg": "slow down"})
    fault(api, "status", status=502, body="Bad gateway")
    first, second = api.update(), api.update()
    assert (first.headers["Retry-After"], first.json()) == ("2", {"msg": "slow down"})
    assert (second.text, second.headers["Content-Type"]) == (
        "Bad gateway",
        "text/plain; charset=utf-8",
    )


def test_the_script_is_consumed_in_order(api: Api) -> None:
    """Each endpoint takes the first fault that matches it, `times` times."""
    api.sandbox.faults(
        [
            {"kind": "status", "status": 503, "endpoint": "users/update", "times": 2},
            {"kind": "status", "status": 502, "endpoint": "events/track"},
            {"kind": "status", "status": 500},
        ]
    )
    assert api.sandbox.stats()["faults_pending"] == 4
    assert api.track().status_code == 502
    assert [api.update().status_code for _ in range(4)] == [503, 503, 500, 200]
    assert api.sandbox.stats()["faults"] == {"status:502": 1, "status:503": 2, "status:500": 1}


def test_a_fault_can_be_meant_for_one_user(api: Api) -> None:
    """The email is compared without case; bulk calls are not affected."""
    fault(api, "status", status=503, email="Bob@Example.com")
    assert api.update().status_code == 200
    assert api.update_bulk("bob@example.com").status_code == 200
    assert api.update("BOB@example.com").status_code == 503


def test_reads_can_fail_too(api: Api) -> None:
    """A scripted fault hits any endpoint."""
    fault(api, "status", status=500, endpoint="users/getFields")
    assert api.get("users/getFields").status_code == 500


@pytest.mark.parametrize(("kind", "applied"), [("reset_before", False), ("reset_after", True)])
def test_a_reset_is_a_tcp_reset(api: Api, kind: str, applied: bool) -> None:
    """The client sees RST and not end of file, before or after the call took effect."""
    fault(api, kind)
    with api.connect() as connection:
        connection.sendall(raw_update(api))
        with pytest.raises(ConnectionResetError):
            connection.recv(1024)
    assert (EMAIL in api.users()) == applied


def test_a_connection_can_be_closed_after_the_call(api: Api) -> None:
    """The client sees the end of the stream and no answer, though the call took effect."""
    fault(api, "close_after")
    with api.connect() as connection:
        connection.sendall(raw_update(api))
        assert connection.recv(1024) == b""
    assert EMAIL in api.users()


@pytest.mark.parametrize("applied", [False, True])
def test_a_call_can_hang(api: Api, applied: bool) -> None:
    """There is never an answer; the server serves other clients meanwhile."""
    fault(api, "hang", applied=applied)
    with pytest.raises(requests.ReadTimeout):
        api.session.post(f"{api.sandbox.url}/api/users/update", json={"email": EMAIL}, timeout=0.2)
    assert (EMAIL in api.users()) == applied
    assert api.update("bob@example.com").status_code == 200


def test_an_answer_can_be_slow(api: Api) -> None:
    """The answer is correct, only late."""
    fault(api, "slow", delay_seconds=0.2)
    started = time.monotonic()
    assert api.update().json()["code"] == "Success"
    assert time.monotonic() - started >= 0.2
    assert EMAIL in api.users()


def test_an_answer_can_be_garbage(api: Api) -> None:
    """200 application/json whose body is not JSON."""
    fault(api, "garbage")
    answer = api.update()
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


@pytest.mark.parametrize(("given", "status"), [({}, 200), ({"status": 502}, 502)])
def test_an_answer_can_be_html(api: Api, given: dict[str, int], status: int) -> None:
    """A page like a proxy's, with 200 or another status."""
    fault(api, "html", **given)
    answer = api.update()
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html")
    assert answer.text.startswith("<html>")


@pytest.mark.parametrize("kind", ["malformed", "truncated"])
def test_an_answer_can_break_http(api: Api, kind: str) -> None:
    """Bytes that are not HTTP, or fewer than announced."""
    fault(api, kind)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        api.update()
    assert api.users() == {}
    assert api.sandbox.stats()["faults"] == {kind: 1}


def test_a_200_can_carry_another_code(api: Api) -> None:
    """Status first, then code."""
    fault(api, "wrong_code")
    answer = api.update()
    assert (answer.status_code, answer.json()["code"]) == (200, "GenericError")


def test_an_answer_can_echo_the_secrets(api: Api) -> None:
    """With it a client can prove that it masks them."""
    fault(api, "echo_secrets")
    answer = api.post("users/update", {"email": EMAIL}, headers={"Authorization": "Bearer abc"})
    assert answer.status_code == 400
    assert "sandbox-key" in answer.json()["msg"]
    assert "Bearer abc" in answer.json()["msg"]


def test_a_refused_call_uses_up_no_fault(api: Api) -> None:
    """Keys and limits are checked first."""
    fault(api, "status", status=503)
    assert api.post("users/update", {}, headers={"Api-Key": "wrong"}).status_code == 401
    assert api.update().status_code == 503


def test_random_faults_follow_their_seed(api: Api) -> None:
    """The same seed fails the same calls, about as many as the rates say."""

    def outcomes(seed: int) -> list[int]:
        api.sandbox.rates({"status:503": 0.2, "status:429": 0.1}, seed=seed)
        return [api.update().status_code for _ in range(200)]

    first = outcomes(1)
    assert first == outcomes(1)
    assert first != outcomes(2)
    assert 20 <= first.count(503) <= 60
    assert 5 <= first.count(429) <= 40


def test_random_faults_spare_reads(api: Api) -> None:
    """Rates apply to write calls only."""
    api.sandbox.rates({"status:500": 1.0})
    assert api.get("users/getFields").status_code == 200
    assert api.update().status_code == 500
    api.sandbox.rates({})
    assert api.update().status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        [{"kind": "nothing"}],
        [{"kind": "hang", "endpoint": "users"}],
        [{"kind": "hang", "times": 0}],
        {"rates": {"nothing": 0.5}},
        {"rates": {"hang": 2}},
        5,
    ],
)
def test_a_fault_that_does_not_exist_is_refused(api: Api, content: object) -> None:
    """A typo must not look like a fault that never occurs."""
    answer = requests.post(f"{api.sandbox.url}/_sandbox/faults", json=content, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (400, "BadParams")
    assert api.update().status_code == 200
