"""The sandbox's own paths: what it received, and how to configure it. They need no key."""

from __future__ import annotations

import resource
import sys
import time
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

import orjson
from pydantic import TypeAdapter, ValidationError

from sandbox.answers import Answer, bad_params, json_answer, not_found
from sandbox.events import event_as_json
from sandbox.faults import Fault, FaultRates
from sandbox.page import page
from sandbox.wire import After, Reply, reply_with, stream_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sandbox.application import Application, Request
    from sandbox.project import Project

CONTROL_PATHS = {
    "GET /": "this page",
    "GET /_sandbox/state": "every user and event, with how often each was applied",
    "GET /_sandbox/stats": "counts of calls, answers, items, faults and connections",
    "GET /_sandbox/calls?limit=N": "the last N write calls, oldest first",
    "POST /_sandbox/faults": "a list of faults, or {rates, seed}",
    "POST /_sandbox/configure": "change options by name",
    "POST /_sandbox/reset": "forget users, events, counts and faults",
    "POST /_sandbox/users/EMAIL": "overwrite fields of a profile, uncounted",
}
_PREFIX = "/_sandbox/"
_USERS_PREFIX = "users/"
_STREAM_BATCH = 1_000
_SCRIPT = TypeAdapter(list[Fault])
_RATES = TypeAdapter(FaultRates)


class Control:
    """Answers the sandbox's own paths, and hands everything else to the API."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._posts: dict[str, Callable[[object], object]] = {
            "faults": self._faults,
            "configure": self._configure,
            "reset": self._reset,
        }

    def handle(self, request: Request) -> Reply:
        """Answer any request."""
        if request.path == "/" and request.method == "GET":
            content = page(self._application, CONTROL_PATHS)
            answer = Answer(200, content.encode(), "text/html; charset=utf-8")
        elif not request.path.startswith(_PREFIX):
            return self._application.handle(request)
        elif request.method == "GET" and request.path == _PREFIX + "state":
            stream = state_as_json(self._application.project)
            return Reply(stream_head("application/json"), After.CLOSE, stream=stream)
        else:
            answer = self._answer(request)
        return reply_with(answer, keep_alive=request.keep_alive)

    def _answer(self, request: Request) -> Answer:
        name = request.path[len(_PREFIX) :]
        try:
            if request.method == "GET" and name == "stats":
                return json_answer(self._stats())
            if request.method == "GET" and name == "calls":
                return json_answer(self._calls(request.query))
            if request.method == "POST" and name in self._posts:
                return json_answer(self._posts[name](orjson.loads(request.body or b"null")))
            if request.method == "POST" and name.startswith(_USERS_PREFIX):
                return json_answer(self._overwrite(name, orjson.loads(request.body)))
        except (ValidationError, TypeError, ValueError) as error:
            return bad_params(str(error))
        return not_found(request.path)

    def _stats(self) -> dict[str, Any]:
        project = self._application.project
        return {
            **self._application.record.as_json(),
            "users": len(project.users.by_email),
            "events": len(project.events.by_id),
            "duplicate_users_in_call": project.duplicate_users_in_call,
            "faults_pending": self._application.faults.pending,
            "cpu_seconds": time.process_time(),
            "peak_memory_bytes": peak_memory_bytes(),
        }

    def _calls(self, query: str) -> list[dict[str, Any]]:
        limit = int(parse_qs(query).get("limit", ["100"])[0])
        return [call._asdict() for call in self._application.record.last_calls(limit)]

    def _faults(self, content: object) -> object:
        if isinstance(content, dict):
            self._application.faults.set_rates(_RATES.validate_python(content))
        else:
            self._application.faults.add(_SCRIPT.validate_python(content))
        return {"faults_pending": self._application.faults.pending}

    def _configure(self, content: object) -> object:
        changes = object_of(content)
        self._application.configure(self._application.options.changed(changes))
        return {"configured": sorted(changes)}

    def _reset(self, _content: object) -> object:
        self._application.reset()
        return {"reset": True}

    def _overwrite(self, name: str, content: object) -> object:
        email = unquote(name[len(_USERS_PREFIX) :]).lower()
        self._application.project.users.overwrite(email, object_of(content))
        return self._application.project.users.read(email)


def object_of(content: object) -> dict[str, Any]:
    """Return the body when it is a JSON object."""
    if not isinstance(content, dict):
        raise TypeError("A JSON object is expected")
    return content


def peak_memory_bytes() -> int:
    """Return this process's peak resident memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def state_as_json(project: Project) -> Iterator[bytes]:
    """Return every user and event as pieces of one JSON document."""
    # A copy of the references: calls that come in while it is read must not disturb it.
    users = list(project.users.by_email.items())
    events = list(project.events.by_id.items())
    yield b'{"users":{'
    yield from _members(
        (email, {"email": email, "dataFields": orjson.Fragment(user.data), "updates": user.updates})
        for email, user in users
    )
    yield b'},"events":{'
    yield from _members(
        (event_id, {**event_as_json(event_id, event), "updates": event.updates})
        for event_id, event in events
    )
    yield b"}}"


def _members(pairs: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[bytes]:
    """Return the members of a JSON object, many to a piece, without its braces."""
    iterator, separator = iter(pairs), b""
    while batch := dict(islice(iterator, _STREAM_BATCH)):
        yield separator + orjson.dumps(batch)[1:-1]
        separator = b","
