"""A usual response is read as http.client and urllib3 would read it."""

from __future__ import annotations

import socket
import threading
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from hypothesis import example, given
from hypothesis import strategies as st

from integration.iterable import http_response
from integration.iterable.http_response import (
    READ_BYTES,
    Response,
    read_any_response,
    read_response,
    usual_head,
)
from tests.integration.iterable.test_transport import HEADERS, PATH, transport_to
from tests.support.scripted_server import ok, scripted_server

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 100_000
USUAL = b"HTTP/1.1 200 OK"
LENGTH = b"Content-Length: 5"
BODY = b"hello"
UNUSUAL_STATUS_LINES = [
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 103 Early Hints",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 200\x0bOK",
    b"HTTP/1.1 200 O\rK",
    b"HTTP/1.1  200 OK",
    b"HTTP/2 200",
    b"",
]
# The second length is one that some other reader might see, or a reason to ignore the first.
UNUSUAL_HEADERS = [
    b"Content-Length: 6",
    b"Content-Length: +5",
    b"Content-Length: many",
    b"Content-Length: -1",
    b"Content-Length : 3",
    b"X: 1\x0bContent-Length: 3",
    b"X: 1\x85Content-Length: 3",
    b"X: 1\x1cContent-Length: 3",
    b"X: 1\nContent-Length: 3",
    b"X: 1\rContent-Length: 3",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Content-Encoding: gzip",
    b"Connection: close",
    b"Connection: keep-alive, close",
    b" folded",
    b"no colon",
    b": no name",
]
USUAL_HEADERS = [
    b"Connection: Keep-Alive",
    b"Keep-Alive: timeout=5",
    b"Set-Cookie: a=b\r\nSet-Cookie: c=d",
    b"Retry-After: 7",
    b"Date:\tThu, 01 Jan 2026 00:00:00 GMT",
    b"X-Empty:",
    b"X-Name: \xe9 \xa0",
]
ODD_BODIES = [b"", b"hell", b"hello!", b"5\r\nhello\r\n0\r\n\r\n", ok(b"another")]


def wire_of(*lines: bytes, end: bytes = b"\r\n") -> bytes:
    """A response with these lines before its body."""
    return end.join([*lines, b"", BODY])


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """A response with up to three things that are unusual."""
    status_line = draw(st.sampled_from([USUAL, USUAL, *UNUSUAL_STATUS_LINES]))
    odd = st.sampled_from([*UNUSUAL_HEADERS, *USUAL_HEADERS * 2, LENGTH])
    headers = draw(st.permutations([LENGTH, *draw(st.lists(odd, max_size=2))]))
    end = draw(st.sampled_from([b"\r\n"] * 9 + [b"\n"]))
    body = draw(st.sampled_from([BODY] * 5 + ODD_BODIES))
    return wire_of(status_line, *headers, end=end).removesuffix(BODY) + body


def outcome_of(read: Callable[..., Response], wire: bytes) -> Any:
    """What a reader makes of a connection that has these bytes and ends: a response or an error."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(wire)
        theirs.shutdown(socket.SHUT_WR)
        try:
            status, headers, content, reusable = read(ours, time.monotonic() + 30, MAX_BYTES)
        except (OSError, HTTPException, urllib3.exceptions.HTTPError) as error:
            return type(error)
    return status, headers.get("date"), headers.get("retry-after"), content, reusable


@given(wires())
@example(ok(BODY))
def test_a_response_means_what_it_means_to_http_client(wire: bytes) -> None:
    """Whatever is not exactly a usual response is not taken for one."""
    assert outcome_of(read_response, wire) == outcome_of(read_any_response, wire)


@pytest.mark.parametrize(
    "status_line", [USUAL, b"HTTP/1.1 200", b"HTTP/1.1 400 Bad Request", b"HTTP/1.1 503 \xe9"]
)
@pytest.mark.parametrize("header", USUAL_HEADERS)
def test_a_usual_response_is_recognized(status_line: bytes, header: bytes) -> None:
    """Of any status; headers other than those about the body do not matter."""
    wire = wire_of(status_line, header, LENGTH)
    head = usual_head(wire)

    assert head is not None
    assert (head.status, head.end) == (int(status_line[9:12]), len(wire))


@pytest.mark.parametrize(
    "wire",
    [
        *(wire_of(status_line, LENGTH) for status_line in UNUSUAL_STATUS_LINES),
        *(wire_of(USUAL, LENGTH, header) for header in [*UNUSUAL_HEADERS, LENGTH]),
        wire_of(USUAL),
        wire_of(USUAL, b"Content-Length: 5555555555"),
        wire_of(USUAL, *[b"X: 1"] * 100, LENGTH),
        wire_of(USUAL, LENGTH, end=b"\n"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        b"",
    ],
)
def test_all_others_are_left_to_http_client(wire: bytes) -> None:
    """Even if they may mean the same; and the start of a header is not taken for the whole."""
    assert usual_head(wire) is None


def test_repeated_headers_are_joined() -> None:
    """As RFC 9110, section 5.3, says."""
    wire = b"HTTP/1.1 200 OK\r\nVary: a\r\nContent-Length: 0\r\nvary: b\r\n\r\n"
    head = usual_head(wire)

    assert head is not None
    assert head.headers == {"vary": "a, b", "content-length": "0"}


@pytest.mark.parametrize("at", [30, -3], ids=["in the head", "in the body"])
@pytest.mark.parametrize("size", [5, READ_BYTES - 50, READ_BYTES, 50_000])
@pytest.mark.parametrize("extra", [0, 20_000])
def test_a_response_may_arrive_in_two_parts(size: int, at: int, extra: int) -> None:
    """The first is not taken for the whole, and what follows the second belongs to no request."""
    body = b"0123456789" * (size // 10)
    first, second = ok(body)[:at], ok(body)[at:] + b"x" * extra

    def reply(connection: socket.socket, request: bytes) -> None:
        connection.sendall(first)
        time.sleep(0.05)
        connection.sendall(second)

    with scripted_server(reply) as server, transport_to(server.url) as transport:
        answers = [transport.send(PATH, b"{}", HEADERS) for _ in range(2)]

        assert [answer.body for answer in answers] == [body, body]
        assert server.connections == (2 if extra else 1)


def test_a_body_that_is_written_separately_is_still_usual(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many servers write headers and body one after the other."""
    monkeypatch.setattr(http_response, "read_any_response", None)
    head, body = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"{}"

    def reply(connection: socket.socket, request: bytes) -> None:
        connection.sendall(head)
        time.sleep(0.05)
        connection.sendall(body)

    with scripted_server(reply) as server, transport_to(server.url) as transport:
        assert transport.send(PATH, b"{}", HEADERS).body == body


def test_a_response_before_the_end_of_the_request_is_read() -> None:
    """A server that refuses a long body may not read it."""
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(refusal)

        thread = threading.Thread(target=refuse)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with transport_to(url) as transport:
            answer = transport.send(PATH, b" " * 40_000_000, HEADERS)
        thread.join()

    assert (answer.status, answer.body) == (413, b"{}")
