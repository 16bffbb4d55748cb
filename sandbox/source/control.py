"""The mock source's own paths: what it was asked, and how to change it. They need no token."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import orjson
from pydantic import TypeAdapter, ValidationError

from sandbox.answers import Answer, json_answer
from sandbox.control import object_of, peak_memory_bytes
from sandbox.source.faults import FAULT_KINDS, SourceFault
from sandbox.source.styles import STYLES
from sandbox.wire import reply_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.application import Request
    from sandbox.source.application import SourceApplication
    from sandbox.wire import Reply

PATHS = {
    **{f"GET /{style}/ENTITY": effect for style, effect in STYLES.items()},
    "GET /files/ENTITY.csv": "a download; also .jsonl, .csv.gz and .jsonl.gz",
}
CONTROL_PATHS = {
    "GET /": "this page",
    "GET /_sandbox/stats": "counts of requests, answers, faults and connections",
    "GET /_sandbox/requests?limit=N": "the last N requests, oldest first",
    "POST /_sandbox/faults": "a list of faults",
    "POST /_sandbox/clear": "forget the faults still to come",
    "POST /_sandbox/touch": '{"entity", "count", "at"}: change the records that come first',
    "POST /_sandbox/configure": "change options by name",
    "POST /_sandbox/reset": "forget changes, counts and faults",
}
_PREFIX = "/_sandbox/"
_SCRIPT = TypeAdapter(list[SourceFault])


class SourceControl:
    """Answers the mock source's own paths, and hands everything else to its API."""

    def __init__(self, application: SourceApplication) -> None:
        self._application = application
        self._posts: dict[str, Callable[[object], object]] = {
            "faults": self._faults,
            "clear": self._clear,
            "touch": self._touch,
            "configure": self._configure,
            "reset": self._reset,
        }

    def handle(self, request: Request) -> Reply:
        """Answer any request."""
        if request.path == "/":
            answer = Answer(200, _page().encode(), "text/html; charset=utf-8")
        elif request.path.startswith(_PREFIX):
            answer = self._answer(request)
        else:
            return self._application.handle(request)
        return reply_with(answer, keep_alive=request.keep_alive)

    def _answer(self, request: Request) -> Answer:
        name = request.path[len(_PREFIX) :]
        try:
            if request.method == "GET" and name == "stats":
                return json_answer(self._stats())
            if request.method == "GET" and name == "requests":
                limit = int(parse_qs(request.query).get("limit", ["100"])[0])
                requests = self._application.requests
                return json_answer(list(islice(requests, max(0, len(requests) - limit), None)))
            if request.method == "POST" and name in self._posts:
                return json_answer(self._posts[name](orjson.loads(request.body or b"null")))
        except (ValidationError, TypeError, ValueError) as error:
            return json_answer({"error": str(error)}, 400)
        return json_answer({"error": f"No such path: {request.path}"}, 404)

    def _stats(self) -> dict[str, Any]:
        application = self._application
        return {
            "requests": application.answers.total(),
            "answers": application.answers,
            "faults": application.injected,
            "faults_pending": application.faults.pending,
            "connections_opened": application.connections_opened,
            "cpu_seconds": time.process_time(),
            "peak_memory_bytes": peak_memory_bytes(),
        }

    def _faults(self, content: object) -> object:
        self._application.faults.add(_SCRIPT.validate_python(content))
        return {"faults_pending": self._application.faults.pending}

    def _clear(self, _content: object) -> object:
        self._application.faults.clear()
        return {"faults_pending": 0}

    def _touch(self, content: object) -> object:
        wanted = object_of(content)
        at = wanted.get("at")
        moment = datetime.now(UTC) if at is None else datetime.fromisoformat(str(at))
        if moment.tzinfo is None:
            raise ValueError("at: a time zone is expected")
        count = int(wanted.get("count", 1))
        touched = self._application.data.touch(str(wanted.get("entity")), count, moment)
        return {"touched": [number + 1 for number in touched]}

    def _configure(self, content: object) -> object:
        changes = object_of(content)
        self._application.configure(self._application.options.changed(changes))
        return {"configured": sorted(changes)}

    def _reset(self, _content: object) -> object:
        self._application.reset()
        return {"reset": True}


def _page() -> str:
    tables = [("Paths", PATHS), ("Faults on demand", FAULT_KINDS), ("Control", CONTROL_PATHS)]
    parts = ["<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>"]
    parts.append("<title>Mock source</title></head><body><h1>Mock source</h1>")
    for title, rows in tables:
        parts.append(f"<h2>{title}</h2><table>")
        cells = ((escape(name), escape(effect)) for name, effect in rows.items())
        parts += [f"<tr><td>{name}</td><td>{effect}</td></tr>" for name, effect in cells]
        parts.append("</table>")
    return "\n".join([*parts, "</body></html>"])
