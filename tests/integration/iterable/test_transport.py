"""Real HTTP to the sandbox: every way in which an answer can be missing or invalid."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from integration.core.redaction import SecretMask
from integration.iterable.transport import Transport
from sandbox.options import SandboxOptions
from sandbox.process import SandboxProcess
from tests.support.users import pending_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.iterable.responses import HttpResponse

HEADERS = {"Api-Key": "sandbox-key"}
PATH = "/api/users/update"


@contextmanager
def transport_to(url: str, **options: Any) -> Iterator[Transport]:
    """A transport, closed at the end."""
    arguments: dict[str, Any] = {
        "timeout_seconds": 10,
        "connections": 2,
        "mask": SecretMask(),
    } | options
    with closing(Transport(url, **arguments)) as transport:
        yield transport


def post(url: str, **options: Any) -> HttpResponse:
    """One users/update call."""
    with transport_to(url, **options) as transport:
        return transport.send(PATH, pending_user().profile, HEADERS)


def test_an_answer_has_status_body_and_retry_after(sandbox: SandboxProcess) -> None:
    """Whatever the status, it is an answer and not an exception."""
    headers = {"Retry-After": "7"}
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 429, "headers": headers}])

    answer = post(sandbox.url)

    assert (answer.status, answer.retry_after, answer.error) == (429, "7", None)
    assert b"RateLimitExceeded" in answer.body


def test_connections_are_kept_alive(sandbox: SandboxProcess) -> None:
    """Ten calls one after the other need one connection."""
    before = sandbox.stats()["connections_opened"]
    with transport_to(sandbox.url) as transport:
        for _ in range(10):
            assert transport.send(PATH, pending_user().profile, HEADERS).status == 200

    # Reading the statistics twice opens additional connections.
    assert sandbox.stats()["connections_opened"] - before <= 2


@pytest.mark.parametrize(
    ("fault", "error", "reason"),
    [
        ({"kind": "reset_before"}, "connection_error", "ConnectionResetError"),
        ({"kind": "reset_after"}, "connection_error", "ConnectionResetError"),
        ({"kind": "close_after"}, "connection_error", "RemoteDisconnected"),
        ({"kind": "truncated"}, "connection_error", "IncompleteRead"),
        ({"kind": "malformed"}, "invalid_response", "the response is not HTTP"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_a_missing_answer_is_named(
    sandbox: SandboxProcess, fault: dict[str, Any], error: str, reason: str
) -> None:
    """A network fault becomes an answer without a status, with a kind and a reason."""
    sandbox.faults([{"endpoint": "*", **fault}])

    answer = post(sandbox.url)

    assert (answer.status, answer.error) == (None, error)
    assert reason in answer.reason


def test_an_answer_that_does_not_come_is_a_timeout(sandbox: SandboxProcess) -> None:
    """The wait lasts as long as the timeout, and the reason says how long that was."""
    sandbox.faults([{"endpoint": "*", "kind": "hang"}])

    answer = post(sandbox.url, timeout_seconds=0.5)

    assert (answer.status, answer.error) == (None, "timeout")
    assert answer.reason == "no response within 0.5 s"


def test_a_closed_port_is_a_connection_error() -> None:
    """Nothing listens: the connection is refused."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        answer = post(f"http://127.0.0.1:{unused.getsockname()[1]}")

    assert answer.error == "connection_error"
    assert "refused" in answer.reason


def test_a_server_that_accepts_and_says_nothing_is_a_timeout() -> None:
    """A listening socket without a server behind it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer = post(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=0.2)

    assert answer.error == "timeout"


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde", "invalid"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", "invalid"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "connection"),
    ],
    ids=["not gzip", "no chunk", "half a chunk"],
)
def test_a_body_that_cannot_be_read_is_no_answer(wire: bytes, error: str) -> None:
    """Broken encodings are answers that are not HTTP; an early end is a lost connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_once, args=(server, wire))
        thread.start()
        answer = post(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()

    assert answer.error is not None
    assert answer.error.startswith(error)


def test_an_answer_that_repeats_the_key_is_masked() -> None:
    """A key that the server echoes never leaves the module."""
    wire = b"HTTP/1.1 400 Bad\r\nContent-Length: 24\r\n\r\nyour key is hidden-key-9!"
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_once, args=(server, wire))
        thread.start()
        mask = SecretMask(["hidden-key-9"])
        answer = post(f"http://127.0.0.1:{server.getsockname()[1]}", mask=mask)
        thread.join()

    assert answer.body == b"your key is ***"


def test_https_to_a_server_without_tls_is_a_connection_error(sandbox: SandboxProcess) -> None:
    """A TLS failure is a connection failure; nothing is sent in plain text."""
    answer = post(sandbox.url.replace("http://", "https://"))

    assert answer.error == "connection_error"
    assert sandbox.calls() == []


def test_a_proxy_is_not_used_for_this_machine(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy could not reach the loopback, where the mock server is."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert post(sandbox.url).status == 200


def answer_once(server: socket.socket, wire: bytes) -> None:
    """Accept one connection, read one request, write these bytes, close."""
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(wire)


def answer_to(wire: bytes, **options: Any) -> HttpResponse:
    """What one call makes of these bytes, however late they come."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_once, args=(server, wire))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        answer = post(url, **{"timeout_seconds": 60.0} | options)
        thread.join()
    return answer


def with_body(body: bytes) -> bytes:
    """A rejection with this body."""
    return b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    "written",
    [rb"a\/b+c==", rb"a/b\u002bc\u003d\u003d", rb"\u0061/b\u002Bc\u003D="],
    ids=["slash", "signs", "letter and upper case"],
)
def test_a_key_that_the_json_escapes_is_masked(written: bytes) -> None:
    """Decoded from JSON, the key would reappear in the journal and in the results."""
    body = b'{"code":"BadApiKey","msg":"bad key %b"}' % written

    answer = answer_to(with_body(body), mask=SecretMask(["a/b+c=="]))

    assert json.loads(answer.body)["msg"] == "bad key ***"


@pytest.mark.parametrize("body", [rb"C:\dir not JSON", rb'{"msg":"\x"}', b'{"msg":"\\ud800"}'])
def test_a_body_that_is_not_json_is_unchanged(body: bytes) -> None:
    """A backslash alone does not make it JSON."""
    assert answer_to(with_body(body)).body == body


def test_a_key_at_the_end_of_a_long_reason_is_masked_before_it_is_cut() -> None:
    """A truncated key would not be recognized by the mask."""
    key = "0123456789abcdef" * 2

    answer = answer_to(b"x" * 155 + key.encode() + b"\r\n", mask=SecretMask([key]))

    assert answer.error == "invalid_response"
    assert len(answer.reason) == 200
    assert key[:4] not in answer.reason


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b" " * 20_000_000, b""),
        (gzip.compress(b" " * 100_000_000), b"Content-Encoding: gzip\r\n"),
    ],
    ids=["plain", "gzip"],
)
def test_an_answer_that_is_too_long_is_not_read_completely(body: bytes, encoding: bytes) -> None:
    """A few KB may expand to more than the memory; the connection is closed."""
    head = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (encoding, len(body))
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        transport_to(
            f"http://127.0.0.1:{server.getsockname()[1]}", timeout_seconds=60.0
        ) as transport,
    ):
        thread = threading.Thread(target=answer_until_closed, args=(server, head + body))
        thread.start()
        answer = transport.send(PATH, None, HEADERS)
        thread.join(60)

        assert not thread.is_alive()
    assert (answer.status, answer.error) == (None, "invalid_response")
    assert answer.reason == "the response is longer than 16 MB"


@pytest.mark.parametrize(("size", "status"), [(1000, 400), (1001, None)])
def test_an_answer_may_be_as_long_as_the_limit(
    monkeypatch: pytest.MonkeyPatch, size: int, status: int | None
) -> None:
    """Not a byte more."""
    monkeypatch.setattr("integration.iterable.transport.MAX_RESPONSE_BYTES", 1000)

    assert answer_to(with_body(b"x" * size)).status == status


def answer_until_closed(server: socket.socket, wire: bytes) -> None:
    """Accept one connection, read one request, write these bytes, wait for the client to close."""
    connection, _ = server.accept()
    with connection, suppress(ConnectionError):
        connection.recv(65536)
        connection.sendall(wire)
        connection.recv(1)


def test_concurrent_calls_keep_one_connection_each() -> None:
    """Four concurrent callers, repeatedly: four connections, none of them closed."""
    callers, rounds = 4, 5
    together = threading.Barrier(callers, timeout=60)

    def call_repeatedly(transport: Transport) -> list[int | None]:
        statuses = []
        for _ in range(rounds):
            together.wait()
            statuses.append(transport.send(PATH, pending_user().profile, HEADERS).status)
        return statuses

    with (
        SandboxProcess(SandboxOptions(latency=0.05)) as sandbox,
        transport_to(sandbox.url, connections=callers, timeout_seconds=60) as transport,
        ThreadPoolExecutor(callers) as pool,
    ):
        answered = list(pool.map(call_repeatedly, [transport] * callers))
        opened = sandbox.stats()["connections_opened"]

    assert answered == [[200] * rounds] * callers
    # One more to read the statistics.
    assert opened <= callers + 1


def fetched(wire: bytes, **options: Any) -> HttpResponse:
    """What one fetch makes of these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_until_closed, args=(server, wire))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with transport_to(url, timeout_seconds=60.0, mask=SecretMask(["hidden-key-9"])) as client:
            answer = client.fetch("/page?n=1", HEADERS, options.get("max_bytes", 1_000_000))
        thread.join(60)
    return answer


def test_a_fetched_body_is_exactly_as_it_was_sent() -> None:
    """Compressed files and other encodings included; headers are found by name."""
    body = b"hidden-key-9 \xff\x00 \\u0041"
    head = b"HTTP/1.1 200 OK\r\nLink: </2>; rel=next\r\nContent-Length: %d\r\n\r\n" % len(body)

    answer = fetched(head + body)

    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["link"] == "</2>; rel=next"


def test_a_fetched_refusal_is_masked() -> None:
    """It is logged, unlike the body of a success."""
    assert fetched(with_body(b"your key is hidden-key-9")).body == b"your key is ***"


@pytest.mark.parametrize(("size", "status"), [(2_000_000, 200), (2_000_001, None)])
def test_a_fetched_body_has_a_limit_of_its_own(size: int, status: int | None) -> None:
    """The page of a source may be longer than a response of Iterable."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size

    answer = fetched(head + b"x" * size, max_bytes=2_000_000)

    assert answer.status == status
    assert answer.reason == ("" if status else "the response is longer than 2 MB")
