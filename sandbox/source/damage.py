"""What a fault makes of an answer."""

from __future__ import annotations

from http import HTTPStatus
from itertools import repeat
from typing import TYPE_CHECKING

import orjson

from sandbox.answers import Answer, json_answer
from sandbox.wire import After, Reply, render, reply_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.application import Request
    from sandbox.source.faults import SourceFault

_PIECES = 100
_MILLION = 1_000_000


def damaged_reply(fault: SourceFault, answer: Answer, request: Request, delay: float) -> Reply:
    """Return the reply that a fault makes of the right answer."""
    if fault.kind in _SILENT:
        return Reply(*_SILENT[fault.kind], delay)
    if fault.kind in _HALVED:
        return _half(answer, _HALVED[fault.kind], delay)
    if fault.kind == "drip":
        return _drip(answer, fault.delay_seconds)
    if fault.kind == "too_large":
        return _too_large(fault.count, delay)
    delay += fault.delay_seconds if fault.kind == "slow" else 0
    false_answer = _false_answer(fault, request)
    return reply_with(false_answer or answer, keep_alive=request.keep_alive, delay_seconds=delay)


# Bytes that are no answer, and what happens to the connection.
_SILENT = {
    "reset_before": (b"", After.RESET),
    "hang": (b"", After.KEEP),
    "malformed": (b"\x16\x03\x01 this is not HTTP\r\n\r\n", After.CLOSE),
}
_HALVED = {"reset_middle": After.RESET, "truncated": After.CLOSE}


def _half(answer: Answer, after: After, delay: float) -> Reply:
    whole = render(answer, keep_alive=False)
    half = whole[: len(whole) - len(answer.body) // 2]
    # A piece of its own for the end: what is not sent yet is lost with a reset.
    return Reply(half, after, delay, iter([b""]), piece_seconds=0.2)


def _drip(answer: Answer, piece_seconds: float) -> Reply:
    whole = render(answer, keep_alive=False)
    return Reply(b"", After.CLOSE, 0.0, _pieces(whole), piece_seconds)


def _pieces(whole: bytes) -> Iterator[bytes]:
    size = len(whole) // _PIECES + 1
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


def _too_large(megabytes: int, delay: float) -> Reply:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    stream = repeat(b" " * _MILLION, megabytes)
    return Reply(head % (megabytes * _MILLION), After.CLOSE, delay, iter(stream))


def _false_answer(fault: SourceFault, request: Request) -> Answer | None:
    """Return the well-formed answer that a fault gives instead of the right one, if it does."""
    headers = tuple(fault.headers.items())
    if fault.kind == "status":
        return _status_answer(fault, headers)
    if fault.kind == "garbage":
        return Answer(200, b'{"data": [{"id": 1}, {"id', headers=headers)
    if fault.kind == "html":
        page = b"<html><body><h1>Maintenance</h1></body></html>"
        return Answer(fault.status or 200, page, "text/html", headers)
    if fault.kind == "redirect":
        query = f"?{request.query}" if request.query else ""
        location = fault.location.replace("{path}", f"{request.path}{query}")
        return Answer(fault.status or 302, b"", headers=(*headers, ("Location", location)))
    if fault.kind == "echo_secrets":
        found = [request.headers.get(name, b"") for name in (b"authorization", b"x-api-key")]
        return json_answer({"error": b" ".join(found).decode("latin-1")}, 400)
    return None


def _status_answer(fault: SourceFault, headers: tuple[tuple[str, str], ...]) -> Answer:
    status = fault.status or 500
    if isinstance(fault.body, str):
        return Answer(status, fault.body.encode(), "text/plain; charset=utf-8", headers)
    body = fault.body if fault.body is not None else {"error": HTTPStatus(status).phrase}
    return Answer(status, orjson.dumps(body), headers=headers)
