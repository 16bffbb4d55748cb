"""What goes over the wire: an answer as bytes, and how a fault damages it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

from sandbox.answers import Answer, code_for, envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.faults import Fault

TRUNCATED_BYTES_MISSING = 1000


class After(Enum):
    """What happens to the connection once everything is sent."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes to send, when, and what happens next. Without bytes and KEEP: never an answer.

    `stream` follows `payload`, with `piece_seconds` after each of its pieces. `on_sent` is called
    once the payload is on its way.
    """

    payload: bytes
    after: After = After.KEEP
    delay_seconds: float = 0.0
    stream: Iterator[bytes] | None = None
    piece_seconds: float = 0.0
    on_sent: Callable[[], None] | None = None


def reply_with(answer: Answer, *, keep_alive: bool, delay_seconds: float = 0.0) -> Reply:
    """Return the reply that delivers an answer undamaged."""
    after = After.KEEP if keep_alive else After.CLOSE
    return Reply(render(answer, keep_alive=keep_alive), after, delay_seconds)


def render(answer: Answer, *, keep_alive: bool) -> bytes:
    """Return an answer as HTTP/1.1."""
    head = _head(answer.status, answer.content_type, answer.headers, keep_alive)
    return b"%s%d\r\n\r\n%s" % (head, len(answer.body), answer.body)


@lru_cache(maxsize=256)
def _head(
    status: int,
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    keep_alive: bool,  # noqa: FBT001 - a key of the cache
) -> bytes:
    lines = [f"HTTP/1.1 {status} {_reason(status)}", f"Content-Type: {content_type}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "Content-Length: "]).encode()


def stream_head(content_type: str) -> bytes:
    """Return the head of an answer of unknown length, which ends with the connection."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n".encode()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def spoiled_reply(
    fault: Fault, answer: Answer, secrets: tuple[str, str], reply: Reply
) -> tuple[Reply, int | None]:
    """Return the damaged reply, and the status that the client sees.

    Args:
        fault: what goes wrong.
        answer: the correct answer (meaningful only when the call is applied).
        secrets: the request's Api-Key and Authorization headers.
        reply: the undamaged reply.
    """
    delay = reply.delay_seconds
    keep_alive = reply.after is After.KEEP
    if fault.kind in _SILENT:
        return Reply(b"", _SILENT[fault.kind], delay), None
    if fault.kind == "malformed":
        return Reply(b"\x16\x03\x01 this is not HTTP\r\n\r\n", After.CLOSE, delay), None
    if fault.kind == "slow":
        return Reply(reply.payload, reply.after, delay + fault.delay_seconds), answer.status
    if fault.kind == "truncated":
        head, _, body = render(answer, keep_alive=False).partition(b"\r\n\r\n")
        longer = b"Content-Length: %d" % (len(body) + TRUNCATED_BYTES_MISSING)
        head = head[: head.index(b"Content-Length")] + longer
        return Reply(head + b"\r\n\r\n" + body, After.CLOSE, delay), answer.status
    false_answer = _false_answer(fault, secrets)
    false_reply = reply_with(false_answer, keep_alive=keep_alive, delay_seconds=delay)
    return false_reply, false_answer.status


_SILENT = {
    "reset_before": After.RESET,
    "reset_after": After.RESET,
    "close_after": After.CLOSE,
    "hang": After.KEEP,
}


def _false_answer(fault: Fault, secrets: tuple[str, str]) -> Answer:
    """Return the well-formed HTTP answer that a fault gives instead of the correct one."""
    headers = tuple(fault.headers.items())
    if fault.kind == "garbage":
        return Answer(fault.status or 200, b"{\x00\xff not json", headers=headers)
    if fault.kind == "html":
        return Answer(fault.status or 200, _html_page(fault.status or 200), "text/html", headers)
    if fault.kind == "wrong_code":
        return envelope(fault.status or 200, "GenericError", "Something failed", headers=headers)
    if fault.kind == "echo_secrets":
        message = f"Bad request with Api-Key {secrets[0]} and Authorization {secrets[1]}"
        return envelope(fault.status or 400, "BadParams", message, headers=headers)
    return _status_answer(fault, headers)


def _status_answer(fault: Fault, headers: tuple[tuple[str, str], ...]) -> Answer:
    status = fault.status or 500
    if isinstance(fault.body, str):
        return Answer(status, fault.body.encode(), "text/plain; charset=utf-8", headers)
    if fault.body is not None:
        return Answer(status, orjson.dumps(fault.body), headers=headers)
    return envelope(status, code_for(status), _reason(status), headers=headers)


def _html_page(status: int) -> bytes:
    title = escape(f"{status} {_reason(status)}")
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>".encode()
