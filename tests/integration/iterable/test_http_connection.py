"""Kept-alive connections: every call gets its own answer, and within its timeout."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.iterable.test_transport import HEADERS, PATH, transport_to
from tests.support.scripted_server import body_of, ok, scripted_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.iterable.responses import HttpResponse

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BODIES = [b'{"user":%d}' % number for number in range(8)]


def answers_for(url: str, bodies: list[bytes] = BODIES) -> list[HttpResponse]:
    """What each of several users' calls got, one after the other."""
    with transport_to(url, timeout_seconds=30) as transport:
        return [transport.send(PATH, body, HEADERS) for body in bodies]


@pytest.mark.parametrize(
    "interim",
    [HINTS, PROCESSING, HINTS * 3, CONTINUE + HINTS, HINTS + CONTINUE],
    ids=["103", "102", "three 103", "100 and 103", "103 and 100"],
)
def test_an_interim_answer_does_not_shift_answers_to_other_users(interim: bytes) -> None:
    """Each call gets its own real answer, and the connection is not reused."""
    with scripted_server(
        lambda connection, request: connection.sendall(interim + ok(body_of(request)))
    ) as server:
        answers = answers_for(server.url)

        assert [answer.body for answer in answers] == BODIES
        assert server.connections == len(BODIES)


def test_an_interim_answer_may_come_long_before_the_real_one() -> None:
    """The bytes of a 103 alone do not complete a call."""

    def reply(connection: socket.socket, request: bytes) -> None:
        connection.sendall(HINTS)
        time.sleep(0.05)
        connection.sendall(ok(body_of(request)))

    with scripted_server(reply) as server:
        assert [answer.body for answer in answers_for(server.url)] == BODIES


def test_a_100_keeps_its_connection() -> None:
    """It is the one interim answer that HTTP/1.1 has always had."""
    with scripted_server(
        lambda connection, request: connection.sendall(CONTINUE + ok(body_of(request)))
    ) as server:
        assert [answer.body for answer in answers_for(server.url)] == BODIES
        assert server.connections == 1


def test_a_change_of_protocol_fails_only_that_call() -> None:
    """After a 101 the connection uses another protocol: the next call opens a new one."""
    switched = threading.Event()

    def reply(connection: socket.socket, request: bytes) -> None:
        if switched.is_set():
            connection.sendall(ok(body_of(request)))
        else:
            switched.set()
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + ok(b"x"))

    with scripted_server(reply) as server:
        first, *others = answers_for(server.url)

    assert (first.status, first.body) == (101, b"")
    assert [answer.body for answer in others] == BODIES[1:]


@pytest.mark.parametrize(
    "extra",
    [ok(b"someone else's"), b"x", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n"],
    ids=["a second answer", "a byte", "more than is read at once"],
)
def test_bytes_after_an_answer_are_assigned_to_no_user(extra: bytes) -> None:
    """Bytes after the announced length belong to no request: the connection is closed."""
    with scripted_server(
        lambda connection, request: connection.sendall(ok(body_of(request)) + extra)
    ) as server:
        assert [answer.body for answer in answers_for(server.url)] == BODIES
        assert server.connections == len(BODIES)


def test_the_rest_of_an_unrequested_answer_is_assigned_to_no_user() -> None:
    """It starts in the bytes of an answer and ends while the next call waits for its own."""
    unasked = ok(b'{"user":"someone else"}')
    # As if the part that came with the answer did not exist: the rest is a complete answer.
    first_part = b"HTTP/1.1 200 OK\r\n\r\n"

    def reply(connection: socket.socket, request: bytes) -> None:
        if body_of(request) == BODIES[0]:
            connection.sendall(ok(BODIES[0]) + first_part)
        else:
            connection.sendall(unasked)

    with scripted_server(reply) as server:
        answers_for(server.url, BODIES[:2])

        assert server.connections == 2


def test_an_answer_between_two_calls_is_assigned_to_no_user() -> None:
    """For example a proxy's 408 for an idle connection: unexpected bytes end the connection."""
    read, written = threading.Event(), threading.Event()

    def reply(connection: socket.socket, request: bytes) -> None:
        connection.sendall(ok(body_of(request)))
        if body_of(request) == BODIES[0]:
            read.wait(30)
            connection.sendall(ok(b"unasked"))
            written.set()

    with scripted_server(reply) as server, transport_to(server.url) as transport:
        first = transport.send(PATH, BODIES[0], HEADERS)
        read.set()
        assert written.wait(30)
        second = transport.send(PATH, BODIES[1], HEADERS)

        assert [first.body, second.body] == BODIES[:2]
        assert server.connections == 2


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_unexpected_body_is_assigned_to_no_user(status: bytes) -> None:
    """The status excludes a body, so its bytes would be read as the next answer."""
    other = ok(b'{"user":"someone else"}')
    head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (status, len(other))

    def reply(connection: socket.socket, request: bytes) -> None:
        bare = body_of(request) == BODIES[0]
        connection.sendall(head + other if bare else ok(body_of(request)))

    with scripted_server(reply) as server:
        first, *others = answers_for(server.url)

    assert first.status == int(status[:3])
    assert [answer.body for answer in others] == BODIES[1:]


def trickling(parts: Iterator[bytes], ended: threading.Event) -> Callable[..., None]:
    """A reply that writes a part occasionally until the client has disconnected."""

    def reply(connection: socket.socket, request: bytes) -> None:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(0.05)
        except OSError:
            ended.set()

    return reply


def endless(start: bytes, repeated: bytes) -> Iterator[bytes]:
    """Half a minute of parts."""
    yield start
    for _ in range(600):
        yield repeated


@pytest.mark.parametrize(
    ("start", "repeated"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 ", b"2"),
        (HINTS, HINTS),
    ],
    ids=["body", "chunks", "body without an end", "header", "status line", "interim answers"],
)
def test_an_answer_that_trickles_in_is_a_timeout(start: bytes, repeated: bytes) -> None:
    """Each byte comes in time; the answer does not, and the connection is closed."""
    ended = threading.Event()
    with scripted_server(trickling(endless(start, repeated), ended)) as server:
        with transport_to(server.url, timeout_seconds=0.4) as transport:
            answer = transport.send(PATH, None, HEADERS)

        assert (answer.status, answer.error) == (None, "timeout")
        assert answer.reason == "no response within 0.4 s"
        assert ended.wait(20)


def test_a_server_that_reads_too_slowly_is_a_timeout() -> None:
    """Sending counts toward the timeout too: a body of several MB, read little by little."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        done = threading.Event()

        def read_little_by_little() -> None:
            connection, _ = server.accept()
            with connection:
                while not done.wait(0.05):
                    connection.recv(1000)

        thread = threading.Thread(target=read_little_by_little)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with transport_to(url, timeout_seconds=0.4) as transport:
            answer = transport.send(PATH, b" " * 40_000_000, HEADERS)
        done.set()
        thread.join()

    assert answer.error == "timeout"


def test_each_call_has_the_whole_time() -> None:
    """The time of one call is not subtracted from the next on the same connection."""

    def reply(connection: socket.socket, request: bytes) -> None:
        time.sleep(0.4)
        connection.sendall(ok(body_of(request)))

    with scripted_server(reply) as server, transport_to(server.url, timeout_seconds=2) as transport:
        answers = [transport.send(PATH, body, HEADERS) for body in BODIES]

        assert [answer.body for answer in answers] == BODIES
        assert server.connections == 1
