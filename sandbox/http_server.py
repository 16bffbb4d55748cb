"""HTTP/1.1 over asyncio: bytes to a `Request`, a `Reply` to bytes, keep-alive between."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

import httptools

from sandbox.answers import bad_params
from sandbox.application import Request
from sandbox.validation import MAX_BODY_BYTES
from sandbox.wire import After, Reply, render

if TYPE_CHECKING:
    from collections.abc import Callable

# Linger for no time at all: close() then sends RST instead of FIN.
_LINGER_ZERO = struct.pack("ii", 1, 0)
_BACKLOG = 1024
_NOT_HTTP = render(bad_params("This is not HTTP/1.1"), keep_alive=False)
_KEPT_HEADERS = frozenset(
    {b"api-key", b"authorization", b"content-type", b"host", b"range", b"x-api-key"}
)


class HttpConnection(asyncio.Protocol):
    """One client connection. Requests are answered as they come; no pipelining."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_handle",
        "_headers",
        "_loop",
        "_may_write",
        "_on_open",
        "_parser",
        "_transport",
        "_url",
    )

    def __init__(self, handle: Callable[[Request], Reply], on_open: Callable[[], None]) -> None:
        self._handle = handle
        self._on_open = on_open
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._on_open()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Drop the transport and the parser, which both refer back here."""
        self._transport = None
        del self._parser
        self._may_write.set()

    def pause_writing(self) -> None:
        """Pause a stream until its reader catches up."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Resume a stream."""
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the `on_` methods below."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._send(Reply(_NOT_HTTP, After.CLOSE))

    def on_message_begin(self) -> None:
        """Start a request."""
        self._url = b""
        self._headers = {}
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header if it is one that the sandbox uses."""
        name = name.lower()
        if name in _KEPT_HEADERS:
            self._headers[name] = value

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; what exceeds the limit is counted but not kept."""
        self._body_bytes += len(body)
        if self._body_bytes <= MAX_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer the request, now or after its delay."""
        reply = self._handle(self._request())
        self._body = []
        if reply.delay_seconds:
            self._loop.call_later(reply.delay_seconds, self._send, reply)
        else:
            self._send(reply)

    def _request(self) -> Request:
        path, _, query = self._url.decode("latin-1").partition("?")
        header = self._headers.get
        return Request(
            method=self._parser.get_method().decode(),
            path=path,
            query=query,
            api_key=header(b"api-key", b"").decode("latin-1"),
            authorization=header(b"authorization", b"").decode("latin-1"),
            content_type=header(b"content-type", b"").decode("latin-1"),
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            body_bytes=self._body_bytes,
            keep_alive=self._parser.should_keep_alive(),
            headers=self._headers,
        )

    def _send(self, reply: Reply) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if reply.payload:
            transport.write(reply.payload)
        if reply.on_sent is not None:
            reply.on_sent()
        if reply.stream is not None:
            self._loop.create_task(self._stream(reply))
        else:
            self._finish(reply)

    def _finish(self, reply: Reply) -> None:
        """Do with the connection what the reply says."""
        transport = self._transport
        if transport is None:
            return
        if reply.after is After.CLOSE:
            transport.close()
        elif reply.after is After.RESET:
            client: socket.socket = transport.get_extra_info("socket")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            transport.abort()

    async def _stream(self, reply: Reply) -> None:
        """Send a long answer piece by piece, no faster than it is read."""
        for piece in reply.stream or ():
            await self._may_write.wait()
            if self._transport is None:
                return
            self._transport.write(piece)
            if reply.piece_seconds:
                await asyncio.sleep(reply.piece_seconds)
        self._finish(reply)


async def listen(
    handle: Callable[[Request], Reply], on_open: Callable[[], None], port: int
) -> asyncio.Server:
    """Listen on a loopback port (0: any free one)."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: HttpConnection(handle, on_open), "127.0.0.1", port, backlog=_BACKLOG
    )
