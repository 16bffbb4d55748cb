"""A request to the mock source in, a reply out: credentials, faults, pages and files."""

from __future__ import annotations

import base64
import os
import time
from collections import Counter, deque
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from sandbox.answers import Answer, json_answer
from sandbox.source.damage import damaged_reply
from sandbox.source.data import SourceData
from sandbox.source.downloads import Downloads
from sandbox.source.faults import SourceFault, SourceFaults
from sandbox.source.pages import Pages
from sandbox.source.styles import STYLES, BadQueryError, Query
from sandbox.wire import reply_with

if TYPE_CHECKING:
    from sandbox.application import Request
    from sandbox.source.options import SourceOptions
    from sandbox.wire import Reply

MAX_REQUESTS_KEPT = 10_000
_UNAUTHORIZED = json_answer({"error": "The token is missing or wrong"}, 401)
_FILES = "files"


class SourceApplication:
    """A mock source behind its API."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        self._clear()

    def _clear(self) -> None:
        self.data = SourceData(self.options)
        self.faults = SourceFaults()
        self.answers: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.requests: deque[dict[str, Any]] = deque(maxlen=MAX_REQUESTS_KEPT)
        self.connections_opened = 0
        self._downloads = Downloads(self.data)
        self._pages = Pages(self.data)

    def configure(self, options: SourceOptions) -> None:
        """Switch to other options; the data is generated again from them."""
        self.options = options
        self.data = SourceData(options)
        self._downloads = Downloads(self.data)
        self._pages = Pages(self.data)

    def reset(self) -> None:
        """Forget changes, counts and faults; the options stay."""
        self._clear()

    def connection_opened(self) -> None:
        """Count a connection."""
        self.connections_opened += 1

    def handle(self, request: Request) -> Reply:
        """Answer a request, or fail it as the faults say."""
        started = time.perf_counter()
        refused = not self._is_authorized(request)
        fault = None if refused else self.faults.next_for(request.path)
        if fault is not None and fault.kind == "change":
            entity = request.path.rpartition("/")[2].partition(".")[0]
            self.data.touch(entity, fault.count, datetime.now(UTC))
        answer = _UNAUTHORIZED if refused else self._answer(request, fault)
        record = self._record(request, answer, fault)
        delay = max(0.0, self.options.latency - (time.perf_counter() - started))
        if fault is not None:
            return damaged_reply(fault, answer, request, delay)
        reply = reply_with(answer, keep_alive=request.keep_alive, delay_seconds=delay)
        return replace(reply, on_sent=lambda: record.update(answered_unix_time=time.time()))

    def _is_authorized(self, request: Request) -> bool:
        token = self.options.token
        given = (request.headers.get(b"authorization"), request.headers.get(b"x-api-key"))
        return not token or f"Bearer {token}".encode() == given[0] or token.encode() == given[1]

    def _answer(self, request: Request, fault: SourceFault | None) -> Answer:
        kind, _, name = request.path.strip("/").partition("/")
        if kind == _FILES:
            range_ = "" if self.options.no_ranges else request.headers.get(b"range", b"").decode()
            return self._downloads.answer(name, range_) or _not_found(request.path)
        table = self.data.tables.get(name)
        if kind not in STYLES or table is None or request.method != "GET":
            return _not_found(request.path)
        try:
            return self._pages.answer(table, self._query(request, kind, fault))
        except BadQueryError as error:
            return json_answer({"error": str(error)}, 400)

    def _query(self, request: Request, style: str, fault: SourceFault | None) -> Query:
        parameters = dict(parse_qsl(request.query, keep_blank_values=True))
        host = request.headers.get(b"host", b"127.0.0.1").decode("latin-1")
        query = Query(style, f"http://{host}{request.path}", parameters, 1)
        limit = query.number("limit", self.options.page_size)
        limit = max(1, min(limit, self.options.max_page_size))
        kind = fault.kind if fault else ""
        token = None
        if kind == "endless":
            token = base64.urlsafe_b64encode(b"2000-01-01T00:00:00+00:00 -%d" % _random()).decode()
        elif kind == "repeat_token":
            token = parameters.get("cursor")
        return Query(
            style=style,
            base=query.base,
            parameters=parameters,
            limit=max(1, limit // 2) if kind == "shrink" else limit,
            repeats=kind == "endless",
            token=token,
        )

    def _record(
        self, request: Request, answer: Answer, fault: SourceFault | None
    ) -> dict[str, Any]:
        label = fault.label if fault else None
        self.answers[str(answer.status)] += 1
        if label:
            self.injected[label] += 1
        record = {
            "unix_time": time.time(),
            "answered_unix_time": None,
            "path": request.path,
            "query": request.query,
            "range": request.headers.get(b"range", b"").decode("latin-1"),
            "host": request.headers.get(b"host", b"").decode("latin-1"),
            "has_credentials": not {b"authorization", b"x-api-key"}.isdisjoint(request.headers),
            "status": answer.status,
            "fault": label,
        }
        self.requests.append(record)
        return record


def _random() -> int:
    return int.from_bytes(os.urandom(6)) + 1


def _not_found(path: str) -> Answer:
    return json_answer({"error": f"No such path: {path}"}, 404)
