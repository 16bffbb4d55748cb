"""Reading the response to one request, until a deadline.

A response that announces its length, as most do, is parsed here. All others are left to
http.client and urllib3: chunked or compressed ones, and those that are not quite HTTP. Beyond
what http.client does

    a response after a 1xx      is the final one; the connection is not used again
    bytes beyond a response     close the connection: they belong to no request
    the whole response          ends at the deadline, however slowly bytes arrive
"""

from __future__ import annotations

import http.client
import io
import re
from contextlib import closing
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from urllib3 import HTTPHeaderDict, HTTPResponse

from integration.iterable.receiving import receive, receive_into, seconds_until, wait_for_bytes

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

# A reader takes as much at once, so that it gets everything that was read before.
READ_BYTES = io.DEFAULT_BUFFER_SIZE
_PART_BYTES = 65_536
_MAX_HEADERS = 100
# RFC 9112, sections 4 and 5; control characters are left to http.client.
_TEXT = r"[\t -~\xa0-\xff]*"
_STATUS_LINE = re.compile(rf"HTTP/1\.1 ([2-9][0-9]{{2}})(?: {_TEXT})?")
_HEADER_LINE = re.compile(rf"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*({_TEXT})")
_LENGTH = re.compile("[0-9]{1,9}")
_END_OF_HEAD = b"\r\n\r\n"


class Response(NamedTuple):
    """A response.

    Attributes:
        headers: to be looked up in lower case.
        content: the decompressed body, or None if it is too long.
        reusable: whether the connection may be used for another request.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes | None
    reusable: bool


class Head(NamedTuple):
    """Status line and headers; `end` is where the response ends, counted from its start."""

    status: int
    headers: Mapping[str, str]
    end: int


def read_response(
    sock: socket.socket,
    deadline: float,
    max_bytes: int,
    stopping: Callable[[], bool] | None = None,
) -> Response:
    """Read a response whose body has at most `max_bytes`.

    Args:
        sock: the connection.
        deadline: on the steady clock.
        max_bytes: the maximum length of the body.
        stopping: if given, whether to stop waiting for the response.

    Raises:
        OSError: the deadline has passed, the connection ended, or the wait was stopped.
        HTTPException: http.client's error: the response is not HTTP.
        HTTPError: urllib3's error: the body cannot be read.
    """
    if stopping is not None:
        wait_for_bytes(sock, deadline, stopping)
    data = receive(sock, deadline, READ_BYTES)
    head = usual_head(data)
    if head is not None and len(data) < head.end <= READ_BYTES:
        # The server wrote the body separately.
        data += receive(sock, deadline, head.end - len(data))
    elif head is not None and len(data) < head.end:
        fill = partial(receive_into, sock, deadline, stopping)
        return _long_response(head, data, max_bytes, fill)
    if head is None or head.end != len(data):
        return read_any_response(sock, deadline, max_bytes, data, stopping)
    content = data.partition(_END_OF_HEAD)[2]
    if len(content) > max_bytes:
        return Response(head.status, head.headers, None, reusable=False)
    return Response(head.status, head.headers, content, reusable=True)


def _long_response(
    head: Head, data: bytes, max_bytes: int, fill: Callable[[memoryview], None]
) -> Response:
    """A response whose body goes on after `data`; `fill` receives the rest of it."""
    start = data.partition(_END_OF_HEAD)[2]
    length = head.end - (len(data) - len(start))
    if length > max_bytes:
        return Response(head.status, head.headers, None, reusable=False)
    content = bytearray(length)
    content[: len(start)] = start
    with memoryview(content) as whole, whole[len(start) :] as rest:
        fill(rest)
    return Response(head.status, head.headers, bytes(content), reusable=True)


def usual_head(data: bytes) -> Head | None:
    """The head of a response that announces its length, or None if anything in it is unusual."""
    head, end_of_head, _ = data.partition(_END_OF_HEAD)
    status_line, *lines = head.decode("latin-1").split("\r\n")
    status = _STATUS_LINE.fullmatch(status_line)
    if not end_of_head or status is None:
        return None
    headers = _parse_headers(lines)
    if headers is None or _needs_more(int(status[1]), headers):
        return None
    length = int(headers["content-length"])
    return Head(int(status[1]), headers, len(head) + len(end_of_head) + length)


def _parse_headers(lines: list[str]) -> dict[str, str] | None:
    """The headers with names in lower case, or None if one is unusual."""
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER_LINE.fullmatch(line)
        if match is None:
            return None
        name, value = match[1].lower(), match[2]
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers if len(lines) <= _MAX_HEADERS else None


def _needs_more(status: int, headers: dict[str, str]) -> bool:
    """Whether the end of the body or the fate of the connection depends on more than a length."""
    return (
        _LENGTH.fullmatch(headers.get("content-length", "")) is None
        or headers.get("connection", "keep-alive").lower() != "keep-alive"
        or "transfer-encoding" in headers
        or "content-encoding" in headers
        or status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
    )


def read_any_response(
    sock: socket.socket,
    deadline: float,
    max_bytes: int,
    start: bytes = b"",
    stopping: Callable[[], bool] | None = None,
) -> Response:
    """Read a response of any form; `start` is what was read of it before."""
    with closing(StreamedResponse(sock, deadline, start, stopping, method="POST")) as stream:
        stream.begin()
        headers = HTTPHeaderDict(stream.headers.items())
        response = HTTPResponse(
            stream,
            headers=headers,
            status=stream.status,
            preload_content=False,
            original_response=stream,
        )
        content = _content_of(response, max_bytes)
        complete = content is not None and stream.isclosed()
        reusable = complete and not stream.will_close and not stream.reader.has_unread
        return Response(stream.status, headers, content, reusable)


def _content_of(response: HTTPResponse, max_bytes: int) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    for part in response.stream(_PART_BYTES):
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            return None
    return b"".join(parts)


class StreamedResponse(http.client.HTTPResponse):
    """A response, read from `sock` until `deadline`; interim responses before it are skipped.

    Args:
        start: what was read of it before.
        stopping: if given, whether to stop waiting for the rest.
        options: those of the parent.
    """

    def __init__(
        self,
        sock: socket.socket,
        deadline: float,
        start: bytes = b"",
        stopping: Callable[[], bool] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(sock, **options)
        raw = self.fp.detach()
        self.reader = _ResponseReader(_ResponseStream(raw, sock, deadline, start, stopping))
        self.fp = self.reader

    def begin(self) -> None:
        """Read status and headers of the final response."""
        super().begin()
        if self.status < 200:
            self._skip_interim_responses()
            # A server that sends one may send more, which would be taken for the next response.
            self.will_close = True

    def _skip_interim_responses(self) -> None:
        # After a 101 the server speaks another protocol: no other response follows.
        while self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # type: ignore[assignment]  # so that begin() runs again
            super().begin()


class _ResponseReader(io.BufferedReader):
    """A reader that knows, once closed, whether it read more than the response."""

    has_unread = False

    def __init__(self, stream: _ResponseStream) -> None:
        super().__init__(stream, READ_BYTES)
        self._stream = stream

    def close(self) -> None:
        """Look for buffered bytes, then close."""
        if not self.closed:
            self._stream.stop()
            self.has_unread = bool(self.peek(1))
        super().close()


class _ResponseStream(io.RawIOBase):
    """Reads from a socket until a deadline; after `stop`, reads nothing."""

    def __init__(
        self,
        raw: io.RawIOBase,
        sock: socket.socket,
        deadline: float,
        start: bytes,
        stopping: Callable[[], bool] | None,
    ) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._start = start
        self._stopping = stopping
        self._stopped = False

    def readable(self) -> bool:
        """True: this is a stream to read from."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401  as in io
        """Return what was read before; then wait for bytes until the deadline."""
        if self._stopped:
            return None
        if self._start:
            size = len(self._start)
            buffer[:size], self._start = self._start, b""
            return size
        if self._stopping is not None:
            wait_for_bytes(self._sock, self._deadline, self._stopping)
        self._sock.settimeout(seconds_until(self._deadline))
        return self._raw.readinto(buffer)

    def stop(self) -> None:
        """Read nothing more from the socket."""
        self._stopped = True

    def close(self) -> None:
        """Release the socket, which is closed when its connection releases it too."""
        self._raw.close()
        super().close()
